from tests.connectors.contract import player

__all__ = ["player"]

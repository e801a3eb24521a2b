"""The sandbox, for its own tests."""

from tests.sandbox_fixture import sandbox

__all__ = ["sandbox"]

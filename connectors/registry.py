"""Which connectors there are: one line each."""

from functools import cache

from connectors.base import Connector
from connectors.vendors import builtin, cleeng, recurly, sendgrid

CONNECTORS: tuple[type[Connector], ...] = (
    builtin.BuiltIn,
    cleeng.Cleeng,
    recurly.Recurly,
    sendgrid.SendGrid,
)


@cache
def _by_key() -> dict[str, Connector]:
    return {declared.key: declared() for declared in CONNECTORS}


def all_connectors() -> list[Connector]:
    """Return every connector, in the order of the registry."""
    return list(_by_key().values())


def connector(key: str) -> Connector:
    """Return the connector with this key.

    Raises:
        KeyError: there is none.

    """
    return _by_key()[key]


def connector_or_none(key: str) -> Connector | None:
    """Return the connector with this key, or None when it has been taken out since."""
    return _by_key().get(key)

"""A kept secret never goes to a newly typed host: what a vendor's address is made of asks for the secrets again."""

import importlib
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from connectors.base import Connector
from connectors.http import base_url
from connectors.registry import all_connectors
from tests.connectors.contract import ActionContract
from tests.connectors.forwarder_contract import ForwarderContract

# Its tests play another protocol, and no scenarios.
OF_NO_CONTRACT = {"smtp": {"security": "smtps", "host": "mail.example.com", "port": "", "user": "ann"}}
CALLING_OUT = [declared for declared in all_connectors() if declared.needs_connection and declared.calls_out]


class Read(dict[str, Any]):
    """Settings that remember which of them were read."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        super().__init__(settings)
        self.names: set[str] = set()

    def __getitem__(self, name: str) -> Any:
        self.names.add(name)
        return super().__getitem__(name)

    def get(self, name: str, default: Any = None) -> Any:
        self.names.add(name)
        return super().get(name, default)


def settings_of(declared: Connector) -> Iterator[Mapping[str, Any]]:
    """The settings with which the vendor's own tests call it."""
    if declared.key in OF_NO_CONTRACT:
        yield OF_NO_CONTRACT[declared.key]
        return
    tests = importlib.import_module(f"tests.connectors.vendors.test_{declared.key}")
    for member in vars(tests).values():
        if isinstance(member, type) and issubclass(member, (ActionContract, ForwarderContract)):
            scenario = getattr(member, "scenario", None)
            if scenario is not None and scenario.connector.key == declared.key:
                yield scenario.settings


@pytest.mark.parametrize("declared", CALLING_OUT, ids=lambda declared: declared.key)
def test_what_a_vendors_address_is_made_of_chooses_the_account(declared: Connector) -> None:
    known = [Read(settings) for settings in settings_of(declared)]
    assert known
    for settings in known:
        for host in ("", *declared.hosts(settings)):
            base_url(declared, settings, host)
    read = {name for settings in known for name in settings.names}
    choosing = {name for name, field in declared.Settings.base_fields.items() if getattr(field, "is_identity", False)}
    assert read <= choosing

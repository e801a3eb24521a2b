"""The requests of a vendor's scenarios, as they really leave."""

from types import ModuleType

from connectors.runner import probe
from tests.connectors.contract import ActionContract, Player, Scenario
from tests.connectors.fake_vendor import Heard


def scenarios(*modules: ModuleType) -> list[Scenario]:
    """Return the scenarios of vendors' tests."""
    return [
        member.scenario
        for module in modules
        for member in vars(module).values()
        if isinstance(member, type) and issubclass(member, ActionContract) and hasattr(member, "scenario")
    ]


def name(scenario: Scenario) -> str:
    """Name a scenario in a test's id."""
    return f"{scenario.connector.key}-{scenario.action.key}-{scenario.message[:30]}"


def requests_of(scenario: Scenario, player: Player) -> list[Heard]:
    """Play a scenario and its connection's test, and return what the vendor heard."""
    player.vendor.expect(*scenario.calls)
    player.play(scenario)
    player.vendor.expect(*scenario.probe)
    assert probe(scenario.connector(), scenario.settings).passed
    player.vendor.assert_played()
    return player.vendor.heard

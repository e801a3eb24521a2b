from connectors.runner import Result
from connectors.vendors.builtin import BuiltIn, Redirect
from tests.connectors.contract import ActionContract, Player, Scenario

THANKS = "https://example.com/thanks?a=b#c"


class TestRedirect(ActionContract):
    scenario = Scenario(
        BuiltIn,
        Redirect,
        calls=(),
        result=Result.HANDED_OVER,
        message=f"Redirects to {THANKS}",
        settings={},
        traits={},
        inputs={"url": THANKS},
        instruction={"kind": "redirect", "url": THANKS},
    )

    def test_only_an_address_is_one(self, player: Player) -> None:
        for wrong in ("javascript:alert(1)", "data:text/html,x", "ftp://example.com/a", "//", "not an address"):
            outcome, _ = player.play(self.scenario, inputs={"url": wrong})
            assert outcome.result is Result.REJECTED

"""An App whose prompt sets two actions in motion, and the sandbox that carries them out and counts."""

from datetime import timedelta
from typing import Any
from uuid import uuid4

from django.utils import timezone

from connectors.models import Connection
from engage.tenancy.models import App
from prompts import executions, recovery, versions
from prompts.models import CLAIMABLE, Attempt, Execution, PromptEvent, State
from tests import factories
from tests.crash.victim import report
from tests.sandbox_fixture import RunningSandbox

SUBSCRIPTION = 710000001  # active, and without a coupon
ROUNDS = 15
CHECK, KEY, NATURAL, NEVER, TOKEN = "check", "key", "natural", "never", "token"
"""How the first action may be repeated; TOKEN: by a key, and signed by an access token."""
EFFECTS = {
    CHECK: ("coupon_applied", str(SUBSCRIPTION)),
    KEY: ("credited", "c-1"),
    NATURAL: ("plans_set", "c-1"),
    NEVER: ("gift_sent", "c-1"),
    TOKEN: ("credited", "c-1"),
}
NEXT_EFFECT = ("flags_set", "c-1")


class Street:
    """One person, one answer, two actions in order; the second goes when the first is done."""

    def __init__(self, app: App, sandbox: RunningSandbox, kind: str) -> None:
        self.app, self.sandbox, self.kind = app, sandbox, kind
        self.prompt = factories.PromptFactory(app=app, key="stay", limit="none")
        traits = {"cleeng_subscription_id": str(SUBSCRIPTION), "customer": "c-1", "plan": "gold"}
        self.person = factories.SubscriberFactory(app=app, user_id="ann", traits=traits)
        self.account, action = self._first()
        fixed = {"coupon": {"from": "fixed", "value": "SAVE20"}} if kind == CHECK else {}
        self._bind(0, self.account, action, fixed)
        self._bind(1, self._endpoint("Flag", "PUT", "flags", "NATURAL"), "call", {})
        versions.publish(self.prompt, by="tests")
        self.event_id = uuid4()

    def _first(self) -> tuple[Connection, str]:
        match self.kind:
            case "check":
                return self._connect("cleeng", {"environment": "sandbox"}, api_key=self.sandbox.token), "apply_coupon"
            case "key":
                return self._endpoint("Credit", "POST", "credits", "KEY"), "call"
            case "natural":
                return self._endpoint("Plan", "PUT", "plans", "NATURAL", body='{"plan": "%plan%"}'), "call"
            case "never":
                return self._endpoint("Gift", "POST", "gifts", "NEVER"), "call"
        return self._connect("ticketed", {}), "credit"

    def _connect(self, connector: str, settings: dict[str, Any], **secrets: str) -> Connection:
        name = settings.get("name", "")
        made: Connection = factories.ConnectionFactory(
            app=self.app, connector=connector, name=name, settings=settings, secrets=secrets
        )
        return made

    def _endpoint(self, name: str, method: str, path: str, replay: str, body: str = "{}") -> Connection:
        url = f"https://api.example.com/{path}/%customer%"
        return self._connect(
            "api",
            {"name": name, "method": method, "url": url, "body": body, "replay": replay, "key_hours": 24},
        )

    def _bind(self, position: int, account: Connection, action: str, inputs: dict[str, Any]) -> None:
        factories.BindingFactory(
            prompt=self.prompt,
            connector=account.connector,
            action=action,
            connection=account,
            position=position,
            inputs=inputs,
        )

    def report(self) -> PromptEvent:
        """Report the answer; again under the same id where nobody knows whether it came, as `engage.js` does."""
        report(self.app.key, self.event_id)
        return PromptEvent.objects.get(event_id=self.event_id)

    def states(self) -> list[str]:
        """How the two executions stand."""
        return list(
            Execution.objects.filter(event__event_id=self.event_id).order_by("position").values_list("state", flat=True)
        )

    def effects(self) -> tuple[int, int]:
        """How often each of the two happened, as the sandbox counted."""
        found = [(effect["what"], effect["whom"]) for effect in self.sandbox.effects()]
        assert set(found) <= {EFFECTS[self.kind], NEXT_EFFECT}
        return found.count(EFFECTS[self.kind]), found.count(NEXT_EFFECT)

    def go_on(self) -> None:
        """Let another worker and its sweep go on until nothing is left to be done by itself."""
        for _ in range(ROUNDS):
            time_passes()
            recovery.sweep()
            executions.work("another")
            if not Execution.objects.filter(state__in=[*CLAIMABLE, State.RUNNING]).exists():
                return

    def nothing_is_stored_of_its_write(self) -> bool:
        """Whether the first action has an attempt whose write had begun and whose answer is not stored."""
        tried = Attempt.objects.filter(execution__position=0, write_begun_at__isnull=False)
        return tried.filter(finished_at=None, outcome="lost", body=None).exists()


def time_passes() -> None:
    """Let leases and pauses be over, and everything that waits be due."""
    past = timezone.now() - timedelta(seconds=1)
    Execution.objects.filter(state=State.RUNNING).update(lease_until=past)
    Execution.objects.filter(state__in=CLAIMABLE).update(due_at=past)
    Connection.objects.filter(closed_until__gt=past).update(closed_until=past)

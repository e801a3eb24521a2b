"""The people who answer: what they are promised, and what they send. Django must be set up."""

import json
import time
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from uuid import UUID, uuid5

from connectors.models import Connection
from connectors.sandbox.worlds import cleeng
from engage.tenancy.models import ApiKey, App, Company, DeliveryMode, KeyKind
from prompts import versions
from prompts.models import Binding, OnError, Prompt, PromptStatus
from sync.models import Subscriber

FIRST_SUBSCRIPTION = 720000000
NAMES = UUID("5f0c8f0e-6f55-4c39-9d0b-0d1f4fbb6a55")
SENDERS = 8
AGAIN_AFTER = 0.3  # seconds
PATIENCE = 5.0  # seconds for which an answer is waited for
TWICE = 10  # every so many people's app reports again what was accepted

CHECK, KEY, NATURAL, NEVER = "check", "key", "natural", "never"
PROMPTS: tuple[tuple[str, str, OnError], ...] = (
    (CHECK, NEVER, OnError.STOP),
    (KEY, NATURAL, OnError.STOP),
    (NATURAL, CHECK, OnError.STOP),
    (NEVER, KEY, OnError.CONTINUE),
)
"""What follows an answer: two actions, by how they may be repeated, and what becomes of the second when the first fails."""
ENDPOINTS = {KEY: ("POST", "credits"), NATURAL: ("PUT", "plans"), NEVER: ("POST", "gifts")}
WHAT = {CHECK: "coupon_applied", KEY: "credited", NATURAL: "plans_set", NEVER: "gift_sent"}


def promised(person: int) -> list[tuple[str, str]]:
    """Return what must happen once each after a person's answer: what, and to whom, as the sandbox counts it."""
    return [
        (WHAT[kind], str(FIRST_SUBSCRIPTION + person) if kind == CHECK else f"c{person}")
        for kind in PROMPTS[person % len(PROMPTS)][:2]
    ]


def event_id(seed: int, person: int) -> UUID:
    """Return the id of a person's answer."""
    return uuid5(NAMES, f"{seed} {person}")


def settle_in(people: int, sandbox: str) -> str:
    """Make the App, its accounts and its people, here and at the vendors; returns a secret API key."""
    app = App.objects.create(
        company=Company.objects.create(name="Drill"), key="drill", name="Drill", delivery_mode=DeliveryMode.LIVE
    )
    accounts = {CHECK: _connect(app, "cleeng", {"environment": "sandbox"}, api_key=cleeng.TOKEN)}
    for kind, (method, path) in ENDPOINTS.items():
        url = f"https://api.example.com/{path}/%customer%"
        settings = {"name": path, "method": method, "url": url, "body": "{}", "replay": kind.upper(), "key_hours": 24}
        accounts[kind] = _connect(app, "api", settings)
    for number, (*kinds, on_error) in enumerate(PROMPTS):
        prompt = Prompt.objects.create(
            app=app, key=f"p{number}", name=f"P{number}", title="?", status=PromptStatus.LIVE
        )
        for position, kind in enumerate(kinds):
            Binding.objects.create(
                prompt=prompt,
                interaction="accept",
                connector=accounts[kind].connector,
                action="apply_coupon" if kind == CHECK else "call",
                connection=accounts[kind],
                inputs={"coupon": {"from": "fixed", "value": "SAVE20"}} if kind == CHECK else {},
                position=position,
                on_error=on_error,
                daily_limit=10**6,
            )
        versions.publish(prompt, by="the drill")
    numbers = range(people)
    Subscriber.objects.bulk_create(
        [Subscriber(app=app, user_id=f"u{person}", traits=_traits(person)) for person in numbers], batch_size=1000
    )
    waiting = iter(numbers)
    while some := list(islice(waiting, 1000)):
        rows = [
            {"subscriptionId": FIRST_SUBSCRIPTION + person, "customerId": 640000001, "offerId": "S531000002_US"}
            for person in some
        ]
        send(f"{sandbox}/_sandbox/seed", {"cleeng": {"subscriptions": rows}})
    return ApiKey.make(app, KeyKind.SECRET)[1]


def _connect(app: App, connector: str, settings: dict[str, object], **secrets: str) -> Connection:
    name = str(settings.get("name", ""))
    account = Connection(app=app, connector=connector, name=name, settings=settings, active=True, health="healthy")
    account.seal(secrets)
    account.save(force_insert=True)
    return account


def _traits(person: int) -> dict[str, str]:
    return {"customer": f"c{person}", "cleeng_subscription_id": str(FIRST_SUBSCRIPTION + person)}


def send(url: str, body: object, **headers: str) -> int:
    """Send JSON; returns the status.

    Raises:
        OSError: it was refused, or nobody answered.

    """
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json", **headers})  # noqa: S310
    with urllib.request.urlopen(request, timeout=PATIENCE) as answer:  # noqa: S310 - addresses of this drill
        return int(answer.status)


class Crowd:
    """Everybody answers once, evenly in some seconds; an answer that got no 2xx is reported again under its id."""

    def __init__(self, people: int, seconds: float, seed: int, web: str, api_key: str) -> None:
        self.people, self.seconds, self.seed = people, seconds, seed
        self.web, self.headers = web, {"Authorization": f"Bearer {api_key}"}
        self.accepted: set[int] = set()

    def answer(self, out_of_time: Callable[[], bool]) -> None:
        """Let everybody answer; returns when all are accepted, or time is up."""
        began = time.monotonic()
        with ThreadPoolExecutor(SENDERS) as senders:
            for person in range(self.people):
                time.sleep(max(0.0, began + self.seconds * person / self.people - time.monotonic()))
                senders.submit(self._report, person, out_of_time)

    def _report(self, person: int, out_of_time: Callable[[], bool]) -> None:
        told = {
            "event_id": str(event_id(self.seed, person)),
            "prompt": f"p{person % len(PROMPTS)}",
            "interaction": "accept",
            "user_id": f"u{person}",
        }
        for _ in range(2 if person % TWICE == 0 else 1):
            while not out_of_time():
                try:
                    send(f"{self.web}/api/v1/events", told, **self.headers)
                except OSError:
                    time.sleep(AGAIN_AFTER)
                else:
                    self.accepted.add(person)
                    break

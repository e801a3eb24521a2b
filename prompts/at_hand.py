"""What an event needs of the database before it is stored, in one statement."""

from functools import cache
from typing import NamedTuple

from django.db.models import BigAutoField, CharField

from connectors.models import Connection
from connectors.registry import forwarder_keys
from engage.prepared import Given, Prepared
from engage.tenancy.models import App
from prompts import forwarding
from prompts.models import Prompt, PromptVersion
from sync.models import Subscriber


class AtHand(NamedTuple):
    """What was found for a report: its prompt and the version that is shown now, its subscriber, and where events go."""

    prompt: Prompt | None
    version: PromptVersion | None
    subscriber: Subscriber | None
    targets: list[forwarding.Target]


def look(app: App, key: str, user_id: str) -> AtHand:
    """Return what there is of a prompt, by its key, and of a subscriber, by the id that the App sends."""
    rows = _statement(tuple(forwarder_keys()))(app=app.pk, key=key, user_id=user_id)
    version, subscriber, _ = rows[0]
    # A prompt that was never published has no version.
    prompt = version.prompt if version else Prompt.objects.filter(app=app, key=key, archived_at=None).first()
    return AtHand(prompt, version, subscriber, forwarding.targets(row[2] for row in rows if row[2]))


@cache
def _statement(forwarders: tuple[str, ...]) -> Prepared:
    app, key, user_id = Given("app", BigAutoField()), Given("key", CharField()), Given("user_id", CharField())
    return Prepared(
        lambda: PromptVersion.objects.select_related("prompt").filter(
            prompt__app=app, prompt__key=key, prompt__archived_at=None, superseded_at=None
        ),
        lambda: Subscriber.objects.filter(app=app, user_id=user_id),
        lambda: Connection.objects.filter(app=app, active=True, connector__in=forwarders),
    )

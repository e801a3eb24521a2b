"""Delete a subscriber and everything that is known of them: a privacy request.

It is refused while anything of theirs is open. A write may be on its way to a vendor, or its answer may be lost, and without
the execution nobody could find out any more whether money moved; so a person settles or closes what is open first (the
engine's rule: open executions and what they need are never deleted).
"""

from collections import Counter, defaultdict

from django.db import transaction
from django.db.models import Q
from django.http import HttpRequest
from django.utils import timezone

from engage.audit.models import Entry
from engage.audit.record import record
from prompts.models import OPEN, BatchBody, Execution, PromptEvent, State
from sync.models import InboundMessage, RejectedRow, Subscriber
from sync.rejected import speaking_of

NAMELESS = "a subscriber who was deleted"
MOST_NAMED = 200  # values that are looked for among rejected rows


class StillOpen(Exception):
    """Executions of the subscriber are open. `states` says how many in which state."""

    def __init__(self, states: dict[str, int]) -> None:
        super().__init__("Executions of this subscriber are open.")
        self.states = states


def open_of(subscriber: Subscriber) -> dict[str, int]:
    """Return how many of a subscriber's executions are open: state's label -> number."""
    open_ones = Q(state__in=OPEN) | Q(state=State.HANDED_OVER, due_at__gt=timezone.now())
    states = Execution.objects.filter(open_ones, subscriber=subscriber).values_list("state", flat=True)
    return dict(Counter(str(State(state).label) for state in states))


def erase(subscriber: Subscriber, request: HttpRequest) -> None:
    """Delete a subscriber: traits, events, executions with their attempts, limits, vendors' messages, rejected rows.

    In the history a nameless entry says that it was done, and older entries about this subscriber lose the name. What a
    vendor, the App or a file says of this person later makes a new subscriber.

    Raises:
        StillOpen: something of theirs is not at its end; nothing was deleted.
        Subscriber.DoesNotExist: somebody else was faster.

    """
    with transaction.atomic():
        # The events first, as whoever changes executions does (`settlement.changing`): nothing of theirs is run again meanwhile.
        list(PromptEvent.objects.select_for_update().filter(subscriber=subscriber.pk).order_by("pk").values_list("pk"))
        person = Subscriber.objects.select_for_update().get(pk=subscriber.pk)
        states = open_of(person)
        if states:
            raise StillOpen(states)
        _forget_payloads(person)
        InboundMessage.objects.filter(subscriber=person).delete()
        speaking_of(RejectedRow.objects.filter(run__app=person.app_id), _said_of(person)).delete()
        Entry.objects.filter(app=person.app_id, kind="subscriber", object_id=str(person.pk)).update(
            label=NAMELESS, changes={}
        )
        record("deleted on request", person, request=request, label=NAMELESS)
        person.delete()


def _forget_payloads(person: Subscriber) -> None:
    """Take this person's part out of what was sent in batches with other people's events."""
    forwards = Execution.objects.filter(subscriber=person, batch__isnull=False)
    theirs: dict[int, set[str]] = defaultdict(set)
    for batch, pk in forwards.values_list("batch", "pk"):
        theirs[batch].add(str(pk))
    for body in BatchBody.objects.select_for_update().filter(batch__in=theirs).iterator(chunk_size=100):
        body.payloads = {pk: payload for pk, payload in body.payloads.items() if pk not in theirs[body.pk]}
        body.save(update_fields=["payloads"])


def _said_of(person: Subscriber) -> list[str]:
    texts = [value for value in person.traits.values() if isinstance(value, str) and "@" in value]
    return [person.user_id, *texts][:MOST_NAMED]

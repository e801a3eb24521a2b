"""What an attempt writes down while it runs: before each write that it begins, and every exchange."""

from dataclasses import asdict
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid5

from django.conf import settings
from django.db.models import BigAutoField, DurationField, Exists, OuterRef, PositiveIntegerField, QuerySet, UUIDField
from django.db.models.functions import Now

from connectors.bodies import Body
from connectors.failures import LostClaim
from connectors.journal import Exchange, Step
from connectors.runner import Diverged
from engage import crash
from engage.prepared import Given, PreparedUpdate
from prompts.models import Attempt, Execution, State


def held() -> QuerySet[Execution]:
    """The execution `execution`, while it runs with `fence`: as prepared statements name it."""
    given = Given("execution", UUIDField()), Given("fence", PositiveIntegerField())
    return Execution.objects.filter(pk=given[0], fence=given[1], state=State.RUNNING)


def _in_time() -> QuerySet[Attempt]:
    """The attempt `attempt`, while so much is left of its claim that nobody can be about to return the lease.

    Whoever does may have looked for the attempt before it was stored, so the claim counts, and not when the attempt began.
    """
    leased = held().filter(pk=OuterRef("execution_id"), lease_until__gt=Now() + Given("left", DurationField()))
    return Attempt.objects.filter(Exists(leased), pk=Given("attempt", BigAutoField()), outcome="")


_begin_write = PreparedUpdate(_in_time)
_NOW = Now()

PEOPLE = UUID("6c1a2b0e-53c1-4d0c-9b6e-0d5b6f2f7a41")
"""The namespace of the names that vendors know our subscribers by. Another one would make strangers of all of them."""


class AttemptJournal:
    """The journal of one attempt (see `connectors.journal.Journal`).

    Every write of the database here names the fence, so that a worker that lost its claim changes nothing.
    """

    def __init__(self, execution: Execution, attempt: Attempt) -> None:
        self.deadline = float(settings.ENGAGE_ATTEMPT_TIMEOUT)
        self.tag = str(execution.pk)
        # Of our own number, which says nothing to anybody else; a subscriber who was deleted and comes back has another one.
        self.person = str(uuid5(PEOPLE, f"{execution.app_id}/{execution.subscriber_id}"))
        self.exchanges: list[Exchange] = []
        self._execution = execution
        self.attempt = attempt
        self._steps: dict[str, Any] = dict(execution.steps)
        self._next: dict[str, Any] = {}  # steps that are stored when their write begins

    def step(self, name: str, method: str, url: str, query: Any, body: Body | None) -> Step:
        """Return the step as an earlier attempt that may have acted sent it; else this one, to be stored with the write.

        Where nothing can have happened yet, the same request keeps its key and another one gets a new one.

        Raises:
            Diverged: that attempt went to another URL (another account, `prompts.preconditions` has told already).

        """
        stored = self._steps.get(name, {"generation": 1, "sent": None})
        sent, generation = stored["sent"], stored["generation"]
        if sent and self._execution.may_have_acted:
            if (sent["method"], sent["url"]) != (method, url):
                raise Diverged
            before = sent["body"] and Body(**sent["body"])
            return Step(generation, method, url, sent["query"], before, repeats=True)
        request = {"method": method, "url": url, "query": query, "body": body and asdict(body)}
        if sent and sent != request:
            generation += 1
        self._next[name] = {"generation": generation, "sent": request}
        return Step(generation, method, url, query, body)

    def idempotency_key(self, name: str, step: Step) -> str:
        """Return the same key for the same step of the same execution, until the vendor refused it for good."""
        return str(uuid5(self._execution.pk, f"{name}/{step.generation}"))

    def write_begins(self, exchange: Exchange) -> None:
        """Confirm the fence, and store "write begun" with what a repeat needs.

        One statement, and of the attempt's row, which whoever returns the lease changes first: one of the two comes too late.

        Raises:
            LostClaim: somebody else has the execution, or the time to write since its claim is over.

        """
        execution, attempt = self._execution, self.attempt
        steps = {**self._steps, **self._next}
        needed = {
            "steps": steps,
            "traits": execution.traits,
            "connection_generation": execution.connection_generation,
        }
        claim = {"execution": execution.pk, "fence": attempt.fence, "attempt": attempt.pk}
        crash.point("write.next")
        begun = {"write_begun_at": _NOW, "write_begun_with": needed}
        # What leaves now has ended when the lease has: an attempt lasts no longer than this.
        left = timedelta(seconds=settings.ENGAGE_LEASE - settings.ENGAGE_ATTEMPT_TIMEOUT)
        if _begin_write(begun, left=left, **claim) != 1:
            raise LostClaim
        self._steps, self._next = steps, {}

    def answered(self, exchange: Exchange) -> None:
        """Keep the exchange; it is stored when the attempt is completed."""
        self.exchanges.append(exchange)

    def refused(self, name: str) -> None:
        """The next attempt of this step is another request, under another key.

        Not so where an earlier attempt may have acted: a refusal of the repeat says nothing about that one, and only a
        person does (`prompts.decisions`).
        """
        if not self._execution.may_have_acted:
            self._steps[name] = {"generation": self._steps[name]["generation"] + 1, "sent": None}

    @property
    def steps(self) -> dict[str, Any]:
        """The steps as the attempt leaves them."""
        return self._steps

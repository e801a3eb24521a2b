"""What an attempt writes down while it runs: before each write that it begins, and every exchange."""

from datetime import timedelta
from typing import Any
from uuid import uuid5

from django.conf import settings
from django.db.models import Exists, OuterRef, Value
from django.db.models.functions import Now

from connectors.failures import LostClaim
from connectors.http import Exchange, Step
from connectors.runner import Diverged
from prompts.models import Attempt, Execution, State


class AttemptJournal:
    """The journal of one attempt (see `connectors.http.Journal`).

    Every write of the database here names the fence, so that a worker that lost its claim changes nothing.
    """

    def __init__(self, execution: Execution, attempt: Attempt) -> None:
        self.deadline = float(settings.ENGAGE_ATTEMPT_TIMEOUT)
        self.exchanges: list[Exchange] = []
        self._execution = execution
        self._attempt = attempt
        self._steps: dict[str, Any] = dict(execution.steps)
        self._unsaved = False

    def step(self, name: str, method: str, url: str, query: Any, body: Any) -> Step:
        """Return the step as an earlier attempt that may have acted stored it; else this one, to be stored with the write.

        Raises:
            Diverged: that attempt went to another URL, or to the account as it was before.

        """
        stored = self._steps.get(name)
        if stored and stored.get("sent") is not None:
            step = Step(*(stored["sent"][part] for part in ("generation", "method", "url", "query", "body")))
            if (step.method, step.url) != (method, url):
                raise Diverged
            return step
        step = Step(stored["generation"] if stored else 1, method, url, query, body)
        self._steps[name] = {"generation": step.generation, "sent": vars(step)}
        self._unsaved = True
        return step

    def idempotency_key(self, name: str, step: Step) -> str:
        """Return the same key for the same step of the same execution, until the vendor refused it for good."""
        return str(uuid5(self._execution.pk, f"{name}/{step.generation}"))

    def write_begins(self, exchange: Exchange) -> None:
        """Confirm the fence, and store "write begun".

        Raises:
            LostClaim: somebody else has the execution, or the attempt's time is over.

        """
        held = Execution.objects.filter(pk=self._execution.pk, fence=self._attempt.fence, state=State.RUNNING)
        if self._unsaved:
            kept = {"steps": self._steps, "traits": self._execution.traits}
            if held.update(**kept) != 1:
                raise LostClaim
            self._unsaved = False
        begun = Attempt.objects.filter(
            Exists(held.filter(pk=OuterRef("execution_id"))),
            pk=self._attempt.pk,
            started_at__gt=Now() - Value(timedelta(seconds=self.deadline)),
        ).update(write_begun_at=Now())
        if begun != 1:
            raise LostClaim

    def answered(self, exchange: Exchange) -> None:
        """Keep the exchange; it is stored when the attempt is completed."""
        self.exchanges.append(exchange)

    def refused(self, name: str) -> None:
        """The next attempt of this step is another request, under another key."""
        self._steps[name] = {"generation": self._steps[name]["generation"] + 1, "sent": None}

    @property
    def steps(self) -> dict[str, Any]:
        """The steps as the attempt leaves them."""
        return self._steps

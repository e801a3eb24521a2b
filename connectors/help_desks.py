"""What help desks share: changing all tickets that somebody has, by jobs of the vendor's. A subclass for each vendor says how."""

from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import ClassVar

from connectors.answers import Answer
from connectors.base import Action, Json, Pending, Replay, Values
from connectors.failures import LONGEST_WORDS, Rejected
from connectors.http import Api

NAMED = 10
"""Tickets that a sentence names."""


class OnTickets(Action):
    """What is done to all tickets of a requester. Every write is named by its tickets.

    So a repeat after some of them were changed is another request, and is not taken for the first one.
    """

    replay = Replay.CHECK
    tickets_at_once: ClassVar[int] = 100  # that one request may name
    requesters: ClassVar[str]  # what the vendor calls one of those who ask: "contact"

    def requester(self, api: Api, user: Json) -> str:
        """Return the vendor's id of a person; raise Rejected where there is none."""
        raise NotImplementedError

    def tickets(self, api: Api, requester: str) -> Iterable[Answer]:
        """Return the requester's tickets that this can be done to."""
        raise NotImplementedError

    def send(self, api: Api, ids: Sequence[int], inputs: Values, step: str) -> str:
        """Ask for it, of these tickets. Returns the job's id."""
        raise NotImplementedError

    def job(self, api: Api, number: str) -> Answer:
        """Return a job as the vendor shows it; see `connectors.http.shown()`."""
        raise NotImplementedError

    def has_ended(self, job: Answer) -> bool:
        """Whether a job is over, however it ended; raise Undocumented where that is not to be told."""
        raise NotImplementedError

    def succeeded(self, jobs: Sequence[Answer]) -> int:
        """Return of how many tickets the jobs say that it is done."""
        return 0

    def why(self, jobs: Sequence[Answer]) -> Iterable[object]:
        """Return the words, where there are any, with which the jobs say why tickets were left out."""
        return ()

    def wish(self, inputs: Values) -> Json:
        """Return the members that the tickets should have. None: they should not be there."""
        return {}

    def what(self, inputs: Values) -> str:
        """Say what is wished, as a sentence begins."""
        return "; ".join(
            f"{name.removesuffix('_id').capitalize()} {value}" for name, value in self.wish(inputs).items()
        )

    def left(self, api: Api, requester: str, wish: Json) -> list[int]:
        """Return the numbers of the tickets that are not as wished."""
        rows = (
            row
            for row in self.tickets(api, requester)
            if not wish or any(row[name] != value for name, value in wish.items())
        )
        return sorted({int(row.amount("id")) for row in rows})

    def nothing_left(self, requester: str, inputs: Values) -> str:
        """Say that all is as wished."""
        return f"{self.what(inputs)}: nothing is left to do for {self.requesters} {requester}"

    def already_done(self, api: Api, user: Json, inputs: Values) -> str | None:
        """Nothing is left to do."""
        requester = self.requester(api, user)
        left = self.left(api, requester, self.wish(inputs))
        return None if left else self.nothing_left(requester, inputs)

    def perform(self, api: Api, user: Json, inputs: Values) -> str | Pending:
        """Ask for it. The vendor answers with jobs."""
        requester, wish = self.requester(api, user), self.wish(inputs)
        left = self.left(api, requester, wish)
        if not left:
            return self.nothing_left(requester, inputs)
        jobs = []
        for first in range(0, len(left), self.tickets_at_once):
            ids = left[first : first + self.tickets_at_once]
            named = sha256(repr(ids).encode()).hexdigest()[:16]
            jobs.append(self.send(api, ids, inputs, f"tickets-{named}"))
        what = f"{self.what(inputs)}: {len(left)} {'ticket' if len(left) == 1 else 'tickets'}"
        job = {"jobs": jobs, "requester": requester, "wish": wish, "count": len(left), "last": left[-1], "what": what}
        return Pending(job, f"{api.connector.label} has queued it ({what})")

    def follow_up(self, api: Api, job: Json) -> str | Pending:
        """Ask for the jobs. Where they do not say of every ticket that it is done, the tickets themselves are looked at."""
        vendor, jobs = api.connector.label, [self.job(api, number) for number in job["jobs"]]
        if not all(self.has_ended(one) for one in jobs):
            return Pending(job, f"{vendor} is at it ({job['what']})")
        done = f"{job['what']} (job {', '.join(job['jobs'])})"
        if self.succeeded(jobs) >= job["count"]:
            return done
        # Those that came since have higher numbers.
        left = [number for number in self.left(api, job["requester"], job["wish"]) if number <= job["last"]]
        if not left:
            return done
        some = ", ".join(map(str, left[:NAMED])) + (", …" if len(left) > NAMED else "")
        words = dict.fromkeys(text for text in self.why(jobs) if isinstance(text, str) and text)
        why = "; ".join(words)[:LONGEST_WORDS] or "it does not say why"
        raise Rejected(f"{job['what']}. {vendor} left out {len(left)} ({some}): {why}")


def number_in(inputs: Values, name: str) -> int | None:
    """Return a chosen id as the number that it is; None where nothing is chosen."""
    return int(inputs[name]) if inputs[name] else None


def name_of(user: Json) -> str:
    """Return a person's name out of the traits first_name and last_name; empty where neither is known."""
    names = (user.get(part) for part in ("first_name", "last_name"))
    return " ".join(name.strip() for name in names if isinstance(name, str) and name.strip())

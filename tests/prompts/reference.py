"""What docs/engine.md promises, told a second time in as few lines as possible. Nothing of it is the engine's.

A world of vendors and a list of executions, carried out one after the other. Times are seconds since the clock's beginning.
"""

from collections import Counter
from dataclasses import dataclass, field

CHECK, KEY, NATURAL, NEVER = "check", "key", "natural", "never"
STOP, CONTINUE = "stop", "continue"
DELAYS = (5.0, 30.0, 120.0)
LEASE, LOOKS_AFTER, OVERTAKEN_AFTER = 60.0, 30.0, 3600.0
SHOWS_AFTER = 29.4977  # a write is shown to readers no later than this; no sum of the steps of a test comes near to it
SLOTS = 4  # of an account; there is one for each kind of action

# How a vendor answers a write; only where it answers is there a moment after the answer.
OK, REFUSED, BUSY, TROUBLE, PAGE = "ok", "refused", "busy", "trouble", "page"
LOST, BROKEN = "lost", "broken"  # no answer: it happened, it did not
BLIND = "blind"  # the look before the write fails
ANSWERS = (OK, REFUSED, BUSY, TROUBLE, PAGE, LOST, BROKEN, BLIND)
ACTS = {OK, PAGE, LOST}
SPEAKS = {OK, REFUSED, BUSY, TROUBLE, PAGE}

# Where a worker dies.
BEFORE_TRYING = ("claim.made", "attempt.stored")
AROUND_THE_WRITE = ("write.next", "write.begun", "write.sent", "write.answered")
SETTLING = ("settle.next", "settle.written", "settle.decided", "settle.committed")
DEATHS = (*BEFORE_TRYING, *AROUND_THE_WRITE, *SETTLING)

OPEN_ENDED = {"queued", "waiting"}
NOTHING_HAPPENED = {"skipped", "rejected", "gave_up", "closed"}


@dataclass(frozen=True)
class Plan:
    """What becomes of one try: how the vendor answers, where the worker dies, what happens before the answer is stored."""

    answer: str = OK
    dies: str = ""
    late: "Late | None" = None


@dataclass(frozen=True)
class Late:
    """The answer comes when the lease is over: the sweep has been there, and perhaps another worker with its own try."""

    other: Plan | None = None


@dataclass
class Row:
    """An execution."""

    event: int
    person: int
    kind: str
    on_error: str
    created: float
    state: str = "blocked"
    stopped: bool = False  # skipped, because an earlier one of its event stopped it
    due: float | None = None
    tries: int = 0
    acted: bool = False
    # While it runs, or since its worker died:
    lease: float = 0.0
    claims: int = 0
    tried: bool = False
    begun: bool = False
    writes: dict[int, tuple[float, bool]] = field(default_factory=dict)
    """Of each claim that began a write: when it ended, and whether the vendor refused it."""


class Died(Exception):
    """The worker ends here."""


@dataclass
class Reference:
    """The executions, and the vendors' world."""

    now: float = 0.0
    rows: list[Row] = field(default_factory=list)
    effects: Counter[tuple[str, int]] = field(default_factory=Counter)
    calls: list[tuple[str, int]] = field(default_factory=list)
    """What was asked of the vendors, in order: "look" or the kind of the write, and for whom."""
    under_key: set[int] = field(default_factory=set)  # rows whose present key the vendor knows
    looked_for: dict[int, float] = field(default_factory=dict)  # person -> since when there is what a look is for

    # --- what is done to it -----------------------------------------------------------------------------------------------

    def report(self, person: int, actions: tuple[tuple[str, str], ...]) -> None:
        """A person answers; these actions follow."""
        event = max((row.event for row in self.rows), default=-1) + 1
        self.rows += [Row(event, person, kind, on_error, self.now) for kind, on_error in actions]
        self._go_on(event)

    def claimable(self) -> list[Row]:
        """What a worker may take now: what is due, where the account has a slot free and does not serve that person just now."""
        served = {(row.kind, row.person) for row in self.rows if row.state == "running"}
        busy = {kind for kind, times in Counter(kind for kind, _ in served).items() if times >= SLOTS}
        return [
            row
            for row in self.rows
            if row.state in OPEN_ENDED
            and row.due is not None
            and row.due <= self.now
            and row.kind not in busy
            and (row.kind, row.person) not in served
        ]

    def carry_out(self, row: Row, plan: Plan) -> None:
        """A worker takes a row and does what it can."""
        row.state, row.lease, row.claims = "running", self.now + LEASE, row.claims + 1
        row.tried = row.begun = False
        try:
            self._passes("claim.made", plan)
            if row.tries and self._is_overtaken(row):
                self._settle(row, row.claims, plan, "skipped", acted=row.acted)
                return
            if wait := self._not_shown_for(row, itself=row.tries == 0):
                self._settle(row, row.claims, plan, "waiting", acted=row.acted, wait=wait)
                return
            row.tried = True
            self._passes("attempt.stored", plan)
            self._try(row, plan)
        except Died:
            pass

    def sweep(self) -> None:
        """Return the leases that are over: their workers died."""
        for row in self.rows:
            if row.state != "running" or row.lease >= self.now:
                continue
            row.tries += row.tried
            row.acted = row.acted or row.begun
            if row.begun and row.kind == NEVER:
                row.state, row.due = "uncertain", None
            elif row.tries > len(DELAYS):
                row.state, row.due = "uncertain" if row.acted else "gave_up", None
            else:
                row.state = "waiting"
                row.due = self.now + (LOOKS_AFTER if row.begun and row.kind == CHECK else 0)
            self._go_on(row.event)

    def run_again(self, row: Row) -> bool:
        """A person lets what did not happen run again; returns whether that is possible."""
        if row.state not in {"skipped", "rejected", "gave_up"}:
            return False
        row.state, row.due, row.tries, row.stopped = "queued", self.now, 0, False
        self._go_on(row.event)
        return True

    def decide(self, row: Row, decision: str) -> bool:
        """A person says what became of an uncertain one."""
        if row.state != "uncertain":
            return False
        if decision == "happened":
            row.state, row.acted = "done", False
        elif decision == "close":
            row.state = "closed"
        else:
            self._next_try(row)
            row.tries, row.acted = 0, False
            self.under_key.discard(id(row))
        self._go_on(row.event)
        return True

    def try_now(self, row: Row) -> bool:
        """A person does not wait for the next try."""
        if row.state != "waiting":
            return False
        self._next_try(row)
        self._go_on(row.event)
        return True

    def stop_trying(self, row: Row) -> bool:
        """A person wants no further try."""
        if row.state not in OPEN_ENDED:
            return False
        row.state, row.due = "uncertain" if row.acted else "closed", None
        self._go_on(row.event)
        return True

    def _next_try(self, row: Row) -> None:
        """At once, or when a look shows what was just written."""
        wait = self._not_shown_for(row, itself=True)
        row.state, row.due = "waiting" if wait else "queued", self.now + wait

    def _not_shown_for(self, row: Row, *, itself: bool) -> float:
        """For how long a look may not show yet what was written."""
        if row.kind != CHECK:
            return 0.0
        same = (other for other in self.rows if (other.kind, other.person) == (row.kind, row.person))
        writes = (write for other in same if itself or other is not row for write in other.writes.values())
        return max([0.0, *(ended + LOOKS_AFTER - self.now for ended, is_refused in writes if not is_refused)])

    # --- what follows -----------------------------------------------------------------------------------------------------

    def _try(self, row: Row, plan: Plan) -> None:
        claim = row.claims
        if row.kind == CHECK:
            self.calls.append(("look", row.person))
            if plan.answer == BLIND:
                self._again(row, claim, plan, acted=row.acted)
                return
            if self._is_shown(row.person):
                self._settle(row, claim, plan, "done")
                return
            self.calls.append(("look", row.person))
        self._passes("write.next", plan)
        row.begun = True
        row.writes[claim] = self.now, False
        self._passes("write.begun", plan)
        self.calls.append((row.kind, row.person))
        answer = OK if plan.answer == BLIND else plan.answer
        if answer in ACTS:
            self._happen(row)
        acted_before = row.acted
        if answer in SPEAKS:
            self._passes("write.sent", plan)
            if plan.late is not None:
                self._meanwhile(row, plan.late)
            self._passes("write.answered", plan)
        self._read(row, claim, plan, answer, acted_before=acted_before)

    def _read(self, row: Row, claim: int, plan: Plan, answer: str, *, acted_before: bool) -> None:
        """What an answer means."""
        if answer == OK:
            self._settle(row, claim, plan, "done")
        elif answer == BUSY:
            self._again(row, claim, plan, acted=acted_before)
        elif answer == REFUSED and not acted_before:
            self._settle(row, claim, plan, "rejected")
        elif answer in {REFUSED, PAGE}:
            is_seen = False
            if row.kind == CHECK:
                self.calls.append(("look", row.person))
                is_seen = self._is_shown(row.person)
            self._settle(row, claim, plan, "done" if is_seen else "uncertain", acted=not is_seen)
        elif row.kind == NEVER:
            self._settle(row, claim, plan, "uncertain", acted=True)
        else:
            self._again(row, claim, plan, acted=True, this_one=True)

    def _again(self, row: Row, claim: int, plan: Plan, *, acted: bool, this_one: bool = False) -> None:
        """Another try, as long as there are any."""
        made = row.tries + 1
        if made > len(DELAYS):
            self._settle(row, claim, plan, "uncertain" if acted else "gave_up", acted=acted)
            return
        wait = DELAYS[made - 1]
        if this_one and row.kind == CHECK:
            wait = max(wait, LOOKS_AFTER)
        self._settle(row, claim, plan, "waiting", acted=acted, wait=wait)

    def _settle(
        self, row: Row, claim: int, plan: Plan, state: str, *, acted: bool = False, wait: float | None = None
    ) -> None:
        """Store an outcome. Whoever lost the claim meanwhile changes nothing, but for a success that nobody knew of."""
        for point in SETTLING[:-1]:
            self._passes(point, plan)
        if claim in row.writes:
            row.writes[claim] = self.now, state == "rejected"
        is_mine = row.claims == claim and row.state == "running"
        is_news = state == "done" and row.state in {*OPEN_ENDED, "uncertain"}
        if is_mine or is_news:
            row.tries += row.tried if is_mine else 0
            row.state, row.acted = state, acted
            row.due = None if wait is None else self.now + wait
            self._go_on(row.event)

    def _meanwhile(self, row: Row, late: Late) -> None:
        """The lease runs out under the worker's hands."""
        self.now += LEASE + 1
        self.sweep()
        self.now += 1
        if late.other is not None and row in self.claimable():
            self.carry_out(row, late.other)

    def _passes(self, point: str, plan: Plan) -> None:
        if plan.dies == point:
            raise Died

    def _is_overtaken(self, row: Row) -> bool:
        """Whether a state would be set in place of the one that a later answer has set since, or may have."""
        later = (
            other
            for other in self.rows
            if (other.kind, other.person) == (row.kind, row.person)
            and other.created > row.created
            and (other.acted or other.state in {"done", "uncertain"})
        )
        return row.kind == NATURAL and self.now - row.created >= OVERTAKEN_AFTER and any(later)

    def _happen(self, row: Row) -> None:
        """The vendor carries it out: a key once, a state where it is another one, anything else each time."""
        known = id(row) in self.under_key if row.kind == KEY else bool(self.effects[NATURAL, row.person])
        if row.kind in {CHECK, NEVER} or not known:
            self.effects[row.kind, row.person] += 1
        if row.kind == KEY:
            self.under_key.add(id(row))
        if row.kind == CHECK:
            self.looked_for.setdefault(row.person, self.now)

    def _is_shown(self, person: int) -> bool:
        """Whether the vendor's readers see it."""
        return person in self.looked_for and self.now - self.looked_for[person] >= SHOWS_AFTER

    def _go_on(self, event: int) -> None:
        """Let those go whose turn it is, and stop those that come behind a failure."""
        before: list[Row] = []
        for row in (row for row in self.rows if row.event == event):
            if row.state == "blocked" or row.stopped:
                failed = any(
                    one.on_error == STOP and one.state in NOTHING_HAPPENED and not one.stopped for one in before
                )
                kept = any(self._keeps_waiting(one) for one in before)
                wanted = "skipped" if failed else "blocked" if kept else "queued"
                if wanted == "queued":
                    row.due = self.now
                row.state, row.stopped = wanted, wanted == "skipped"
            before.append(row)

    @staticmethod
    def _keeps_waiting(row: Row) -> bool:
        if row.state == "done" or row.state in NOTHING_HAPPENED:
            return False
        was_tried = row.tries > 0 and row.state not in {"running", "queued", "blocked"}
        return row.on_error == STOP or not was_tried

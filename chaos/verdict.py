"""What was promised beside what the vendors counted. Django must be set up."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from chaos import crowd
from prompts.models import Attempt, AttemptBody, Execution, State

Exchange = dict[str, Any]
KILLED = "what came back is not stored"
NO_ANSWER = "no answer"
TROUBLE = "an error of the vendor's"
PAGE = "a page in place of data"


@dataclass
class Verdict:
    """What became of the accepted answers' actions."""

    executions: int = 0
    uncertain: Counter[str] = field(default_factory=Counter)
    """How many executions a person is asked about, by why nobody knows."""
    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    unfounded: list[str] = field(default_factory=list)
    """Uncertain, although no write had begun, or although its answer is stored."""


def judge(accepted: Iterable[int], effects: Iterable[tuple[str, str]]) -> Verdict:
    """Compare.

    Lost is what did not happen and is neither left to a person (`uncertain`) nor waits behind such an action; and what is
    called done without having happened. Doubled is what happened more than once.

    Args:
        accepted: the people whose answer got a 2xx.
        effects: what happened at the vendors, and to whom.

    """
    happened, verdict = Counter(effects), Verdict(Execution.objects.count())
    verdict.doubled = [f"{what} {whom}: {times} times" for (what, whom), times in happened.items() if times > 1]
    rows: dict[str, list[Execution]] = {}
    for row in Execution.objects.select_related("subscriber").order_by("position"):
        rows.setdefault(row.subscriber.user_id, []).append(row)
    for person in accepted:
        promised, mine = crowd.promised(person), rows.get(f"u{person}", [])
        if len(mine) != len(promised):
            verdict.lost.append(f"u{person}: {len(mine)} executions")
            continue
        asked = False
        for effect, row in zip(promised, mine, strict=True):
            asked = asked or row.state == State.UNCERTAIN
            is_open = row.state == State.UNCERTAIN or (row.state == State.BLOCKED and asked)
            if not is_open and (row.state != State.DONE or not happened[effect]):
                verdict.lost.append(
                    f"{effect[0]} {effect[1]}: {row.state} ({row.reason}), happened {happened[effect]} times"
                )
    for row in Execution.objects.filter(state=State.UNCERTAIN):
        why = _why_unknown(row)
        verdict.uncertain[why or "unfounded"] += 1
        if why is None:
            verdict.unfounded.append(f"{row}: {row.message}")
    return verdict


def lost_answers(requests: Iterable[Exchange]) -> Counter[str]:
    """Count the writes whose answer the vendors kept to themselves or spoilt, by how.

    Args:
        requests: as the sandbox wrote them down, each with the `fault` that it met.

    """
    found: Counter[str] = Counter()
    for request in requests:
        if (fault := request.get("fault")) and request["method"] != "GET":
            silent = fault["then"] != "answer"
            found[NO_ANSWER if silent else _what_is_wrong(fault["status"], fault["raw"] or fault["body"])] += 1
    del found[""]  # a 429 says that nothing happened
    return found


def _why_unknown(execution: Execution) -> str | None:
    """Return why nobody knows what came of an execution; None where its attempts say it, or never began a write."""
    begun = Attempt.objects.filter(execution=execution, write_begun_at__isnull=False).order_by("-pk")
    bodies = dict(AttemptBody.objects.filter(attempt__in=begun).values_list("attempt", "exchanges"))
    reasons: list[str] = []
    for attempt in begun:
        writes = [exchange for exchange in bodies.get(attempt.pk, []) if exchange["kind"] == "write"]
        if any(_says(write) for write in writes):
            return None
        reasons += [_what_is_wrong(write["status"], write["answer"]) for write in writes] or [KILLED]
    return next(filter(None, reasons), None)


def _says(exchange: Exchange) -> bool:
    """Whether it has an answer that counts: data, and not an error of the server."""
    return exchange["status"] is not None and 200 <= exchange["status"] < 300 and isinstance(exchange["answer"], dict)


def _what_is_wrong(status: int | None, answer: object) -> str:
    """Return what an answer to a write does not say; empty where it says that nothing happened."""
    if status is None:
        return NO_ANSWER
    if status >= 500:
        return TROUBLE
    return PAGE if status < 300 and not isinstance(answer, dict) else ""

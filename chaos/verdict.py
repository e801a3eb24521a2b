"""What was promised beside what the vendors counted. Django must be set up."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from chaos import crowd
from prompts.models import Attempt, AttemptBody, Execution, State


@dataclass
class Verdict:
    """What became of the accepted answers' actions."""

    executions: int = 0
    uncertain: int = 0
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
        verdict.uncertain += 1
        if not _is_unknown(row):
            verdict.unfounded.append(f"{row}: {row.message}")
    return verdict


def _is_unknown(execution: Execution) -> bool:
    """Whether an attempt began a write, and no answer is stored that says what came of it."""
    begun = Attempt.objects.filter(execution=execution, write_begun_at__isnull=False)
    bodies = AttemptBody.objects.filter(attempt__in=begun)
    return begun.exists() and not any(_says(exchange) for body in bodies for exchange in body.exchanges)


def _says(exchange: dict[str, object]) -> bool:
    """Whether an exchange is a write with an answer that counts: data, and not an error of the server."""
    status = exchange["status"]
    is_data = isinstance(exchange["answer"], dict)
    return exchange["kind"] == "write" and isinstance(status, int) and 200 <= status < 300 and is_data

"""A connection pauses: what waits for it waits on, without a try spent, and comes back spread out.

All of it is moved by one statement. One by one, each would be claimed only to find that it is not its turn, and the claims of
a long queue would keep the workers from everybody else's.
"""

from uuid import UUID

from django.conf import settings
from django.db import connection

from connectors import clock
from prompts import bell
from prompts.models import Execution, Reason, State

A_SECOND = 10
"""How many executions come back in a second after a pause."""
SPREAD_AT_MOST = 60.0  # seconds

_COUNT = """
SELECT COUNT(*) FROM prompts_execution
WHERE connection_id = %s AND state IN ('queued', 'waiting') AND NOT is_forward AND due_at < {until}
"""
_POSTPONE = """
UPDATE prompts_execution SET state = 'waiting', reason = %s, message = %s, due_at = {spread}
WHERE id IN (
    SELECT id FROM prompts_execution
    WHERE connection_id = %s AND state IN ('queued', 'waiting') AND NOT is_forward AND due_at < {until} {skip_locked}
) AND state IN ('queued', 'waiting')
"""
_BRING_BACK = """
UPDATE prompts_execution SET due_at = {spread}
WHERE id IN (
    SELECT id FROM prompts_execution
    WHERE connection_id = %s AND state = 'waiting' AND reason = %s AND NOT is_forward AND NOT may_have_acted {skip_locked}
) AND state = 'waiting'
"""


def bring_back(connection_id: UUID) -> int:
    """Let what was postponed come due now, spread out: the pause is over. Returns how many.

    What may have happened already keeps its time: a look at the vendor must not come too early.
    """
    rows = Execution.objects.filter(
        connection=connection_id, state=State.WAITING, reason=Reason.PAUSED, is_forward=False, may_have_acted=False
    )
    waiting = rows.count()
    if not waiting:
        return 0
    sql = _BRING_BACK.format(spread=clock.later(seconds=f"{clock.chance()} * %s"), skip_locked=_skip_locked())
    key = Execution._meta.pk.get_db_prep_value(connection_id, connection)
    with connection.cursor() as cursor:
        cursor.execute(sql, [_window(waiting), key, Reason.PAUSED])
        moved = int(cursor.rowcount)
    bell.ring_on_commit()
    return moved


def postpone(connection_id: UUID, seconds: float, sentence: str) -> int:
    """Let what a connection's queue holds come due again in `seconds`, spread out. Returns how many were moved.

    Args:
        sentence: why, for people.

    """
    key = Execution._meta.pk.get_db_prep_value(connection_id, connection)
    with connection.cursor() as cursor:
        cursor.execute(_COUNT.format(until=clock.later()), [key, seconds])
        waiting: int = cursor.fetchone()[0]
        if not waiting:
            return 0
        sql = _POSTPONE.format(
            spread=clock.later(seconds=f"%s + {clock.chance()} * %s"),
            until=clock.later(),
            skip_locked=_skip_locked(),
        )
        cursor.execute(sql, [Reason.PAUSED, sentence, seconds, _window(waiting), key, seconds])
        return int(cursor.rowcount)


def _window(waiting: int) -> float:
    """Return over how many seconds so many come back."""
    return min(waiting / A_SECOND, SPREAD_AT_MOST) / settings.ENGAGE_TIME_SCALE


def _skip_locked() -> str:
    """Two pauses at the same moment would lock the rows in any order: each leaves alone what the other has."""
    return "FOR UPDATE SKIP LOCKED" if connection.features.has_select_for_update_skip_locked else ""

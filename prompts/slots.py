"""How many executions of a connection run at once: its slots. SQL for the claim, from the vendors' declarations.

A vendor that hangs keeps its slots busy, and no other thread of any worker.
"""

from django.conf import settings

from connectors import clock
from connectors.registry import all_connectors


def of(column: str) -> str:
    """Return an expression: the slots of the connector that `column` names. It has no parameters.

    A vendor that carries out fewer requests together than we would send gets fewer.
    """
    most: int = settings.ENGAGE_SLOTS
    fewer = {each.key: each.at_once for each in all_connectors() if each.at_once is not None and each.at_once < most}
    if not fewer:
        return str(most)
    # Keys are made of a-z, 0-9 and _ alone: `connectors.checks` sees to it.
    cases = " ".join(f"WHEN '{key}' THEN {int(at_once)}" for key, at_once in sorted(fewer.items()))
    return f"CASE {column} {cases} ELSE {most} END"


def at_work() -> str:
    """Return a query: the ids of the connections of which something is running. It has no parameters."""
    return "SELECT connection_id FROM prompts_execution WHERE state = 'running' AND slot IS NOT NULL AND connection_id IS NOT NULL"


def unavailable() -> str:
    """Return a query: the ids of the connections of which every slot is taken, or which pause. It has no parameters."""
    return f"""
        SELECT connection_id FROM prompts_execution
        WHERE state = 'running' AND slot IS NOT NULL AND connection_id IS NOT NULL
        GROUP BY connection_id, connector HAVING COUNT(*) >= {of("connector")}
        UNION ALL SELECT id FROM connectors_connection WHERE closed_until > {clock.now()}"""  # noqa: S608 - ours alone

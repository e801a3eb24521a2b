"""Ring for executions: `engage.bell`, with what a worker looks at first."""

from uuid import UUID

from engage import bell

WORK, FORWARD = "prompts.work", "prompts.forward"


def ring_on_commit(execution_id: UUID | None = None) -> None:
    """Ring once the transaction at hand is committed; `execution_id` is what the worker looks at first."""
    bell.ring_on_commit(WORK, *_first(execution_id))


def ring(execution_id: UUID | None = None) -> None:
    """Ring now, or keep quiet while the broker is away."""
    bell.ring(WORK, *_first(execution_id))


def ring_for_forwards(connection_id: UUID) -> None:
    """Ring for a connection's events that wait to be forwarded, or keep quiet while the broker is away."""
    bell.ring(FORWARD, str(connection_id))


def _first(execution_id: UUID | None) -> tuple[str, ...]:
    return (str(execution_id),) if execution_id else ()

"""What a newcomer does at each vendor's world: a module each, called by the connector's key, with its `TRIES`.

And `UNPROVEN`, where a test of the connection proves not all of its secrets: the names of those.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from connectors.runner import Result
from connectors.sandbox.people import AVA, Person


@dataclass(frozen=True)
class Try:
    """An action, and what the world shows of it afterwards.

    Args:
        action: its key.
        inputs: as a designer fills the form in; what is chosen from a catalogue must be in it.
        effect: what the world writes down, once; empty where the client acts, and nobody is called.
        who: for whom.
        result: what comes of it at once.
        later: seconds that a pending job needs of the world's time.
        report: what the app says afterwards, where it is the app that carries the action out.
        on_device: whether the world's device carries it out, and says what the app reports.
        settings: over what the world's `setup()` says.
        ends: what comes of it after jobs and reports.

    """

    action: str
    inputs: Mapping[str, Any] = field(default_factory=dict)
    effect: str = ""
    who: Person = AVA
    result: Result = Result.DONE
    later: float = 0.0
    report: Mapping[str, Any] | None = None
    on_device: bool = False
    settings: Mapping[str, Any] = field(default_factory=dict)
    ends: Result = Result.DONE

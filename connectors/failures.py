"""What can go wrong with a vendor, named by what happens next. Texts are sentences for the person who must act.

A connector raises these; `connectors.runner` turns them into an Outcome. Nothing else leaves a connector on purpose.
"""

from typing import TYPE_CHECKING

from django.db import InterfaceError, OperationalError

if TYPE_CHECKING:
    from connectors.answers import Answer

LONGEST_WORDS = 500  # characters of a vendor's own that a sentence repeats


class Failure(Exception):
    """Base of everything that a vendor, its answer or a person's data can cause."""

    def __init__(self, message: str, *, code: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.code = code  # the vendor's own code, for filters and support
        self.status = 0  # the HTTP status that it was read from, where there was one
        self.answer: Answer | None = None  # the vendor's answer, where there was one: it may say more than the words


class Missing(Failure):
    """A trait or input that the action needs is not there: the execution is skipped."""


class Rejected(Failure):
    """The vendor (or our own look before) says no for good, in words for the designer."""


class BadCredentials(Failure):
    """The vendor does not accept our key: the connection needs attention and its executions wait for it."""


class Temporary(Failure):
    """It may work later. `after` is the vendor's own wish, in seconds."""

    def __init__(self, message: str, *, after: float | None = None, code: str = "", sent: bool = True) -> None:
        super().__init__(message, code=code)
        self.after = after
        self.sent = sent  # False: nothing of the request can have reached the vendor (no connection, or a 429)


class Paused(Temporary):
    """It is not this connection's turn: its rate, or a pause that the vendor asked for. Nothing was sent, nothing is spent."""

    def __init__(self, message: str = "", *, after: float) -> None:
        super().__init__(message or "The vendor's limit leaves no room just now.", after=after, sent=False)


class Undocumented(Failure):
    """The vendor answered, and not with what its documentation says: never success."""


class AlreadyDone(Failure):
    """The vendor says that it is as we wanted it already: done, and nothing was done twice."""


class NotAllowed(Failure):
    """The door refuses the request: a private address, an over-large answer, a path that cannot be quoted."""


class LostClaim(Exception):
    """The worker is not (or no longer) allowed to go on with the execution: nothing more may be sent."""


def refused(vendor: str, words: str = "", *, code: str = "") -> Rejected:
    """Return a vendor's definite no, in its own words as far as it has any."""
    return Rejected(f"{vendor} refused: {words[:LONGEST_WORDS] or code or 'it does not say why'}", code=code)


NOT_THE_VENDORS = (LostClaim, OperationalError, InterfaceError)
"""What no vendor has caused: the claim is lost, or our own database is away. No outcome follows from these: whoever makes outcomes
of exceptions lets them pass, and what was claimed comes back with its lease."""

"""The vocabulary in which a vendor's reading of traits is declared.

A connector that can be read sets `pulls`. `sync.pulls` runs them at night and by button, and imports what they read as it
imports a file. Nothing here touches the network or the database.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

from django import forms

from connectors.base import Values

if TYPE_CHECKING:
    from connectors.http import Api

One = TypeVar("One")
"""Something of a vendor's: an Answer, or an object that a vendor's SDK made of one."""
MOST_PAGES = 1_000_000
"""Of one list: what does not end before is a list that goes round."""
BY_TRAIT, BY_USER_ID = "trait", "user_id"
SETTING = "traits_for"
RANK = "rank"
"""The column that says which row of an account counts."""
TYPES = frozenset({"text", "number", "boolean"})
AGES = 1e11
"""Seconds, more than any time has: so that states count before ages."""


@dataclass(frozen=True)
class Row:
    """What a vendor says of one of its accounts.

    Args:
        id: of the account, as the id traits hold it.
        user_id: what the App's own user id would be, where that is the vendor's.
        traits: name -> value, of `Pull.traits`; None, or one that is missing, takes the trait away.
        rank: of several rows of an account the one with the highest counts, and of equal ones the last.

    """

    id: str
    user_id: str
    traits: Mapping[str, Any]
    rank: float = 0.0


@dataclass(frozen=True)
class Pull:
    """A list of the vendor's that becomes traits.

    Args:
        label: what is read, for people ("Subscriptions").
        id_column: what the vendor calls the id of a row ("account").
        found_by: the traits that hold it at the subscribers, in order of preference.
        traits: every trait that a row may have, and its type: "text", "number" or "boolean".
        rows: reads the rows page by page; with a moment, only what changed since. `Api.pages(..., most=MOST_PAGES)`.
        tells_changes: whether the vendor can be asked for that; otherwise everything is read each time.

    """

    label: str
    id_column: str
    found_by: tuple[str, ...]
    traits: Mapping[str, str]
    rows: "Callable[[Api, datetime | None], Iterator[Row]]"
    tells_changes: bool = False


def rank_in(states: Sequence[str], state: str, at: float) -> float:
    """Return the rank by which the newest of the first of these states that any has counts; below 0 for another state.

    Args:
        states: those that are told of, in order of what they say of today.
        state: of what is ranked.
        at: when it was made, in seconds since 1970.

    """
    return (len(states) - states.index(state)) * AGES + at if state in states else -1.0


def telling(rows: Iterable[One], rank: Callable[[One], float]) -> One | None:
    """Return which of an account's rows is told of: that of the highest rank, of equal ones the last; None where none has one."""
    known = sorted((row for row in rows if rank(row) >= 0), key=rank)
    return known[-1] if known else None


def traits_choice(vendor: str, *, trait: str, user_id: str = "") -> forms.ChoiceField:
    """Return the setting `traits_for`: whether a vendor is read at night, and how a row finds its subscriber.

    Args:
        vendor: its name.
        trait: the id traits in words ("account_code or account_number").
        user_id: what the App's user ids would be ("account codes"); empty where its rows tell nothing that an App could use.

    """
    choices = [("", f"Do not read traits at {vendor}"), (BY_TRAIT, f"Read them; the trait {trait} says who it is")]
    how = ""
    if user_id:
        choices.append((BY_USER_ID, f"Read them; our user ids are {vendor}'s {user_id}"))
        how = (
            f"Choose the trait where a file or your server brings {vendor}'s ids; choose the user ids only where your app signs "
            f"people in with {vendor}'s {user_id}. "
        )
    return forms.ChoiceField(
        choices=choices,
        required=False,
        label="Traits every night",
        help_text=f"Reads what {vendor} knows into your subscribers' traits, at 02:00 of the App's time zone. {how}"
        "Nobody is added: rows of people that Engage does not know are counted and passed over.",
    )


def way_of(settings: Values) -> str:
    """Return how rows find their subscribers (BY_TRAIT, BY_USER_ID); empty where nothing is to be read."""
    chosen = settings.get(SETTING)
    return chosen if chosen in (BY_TRAIT, BY_USER_ID) else ""

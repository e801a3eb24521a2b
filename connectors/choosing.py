"""Who and what an action is about: ids and addresses out of traits, and the one row that is meant. Nothing is guessed."""

import re
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from django.core.exceptions import ValidationError
from django.core.validators import validate_email

from connectors.answers import Answer
from connectors.base import CatalogueField, Values
from connectors.failures import Rejected
from connectors.http import Api
from connectors.placeholders import fill_traits

Row = TypeVar("Row")
"""Something of a vendor's: an Answer, or an object that a vendor's SDK made of one."""


def email_in(known: Values, name: str = "email_address") -> str:
    """Return the e-mail address that a trait holds.

    Raises:
        Rejected: it holds something else. (A blank one would find every account that has none.)

    """
    address = str(known[name]).strip()
    try:
        validate_email(address)
    except ValidationError:
        raise Rejected(f"The trait {name} holds no e-mail address.") from None
    return address


def text_in(known: Values, name: str, pattern: str, what: str) -> str:
    """Return the text that a trait holds, if all of it fits `pattern` (a regular expression).

    Raises:
        Rejected: it does not, or is neither text nor whole number; `what` says what it is not ("id of Stripe's").

    """
    value = known[name]
    text = str(value).strip() if isinstance(value, (str, int)) and not isinstance(value, bool) else ""
    if re.fullmatch(pattern, text):
        return text
    raise Rejected(f"The trait {name} holds no {what}.")


def whole_number_in(known: Values, name: str, what: str) -> str:
    """Return the whole number that a trait holds, as text: a CSV or JSON may have made 640000001.0 of it.

    Raises:
        Rejected: it holds something else; `what` says what it is not.

    """
    value = known[name]
    text = str(value).strip() if isinstance(value, (str, int, float)) else ""
    return text_in({name: re.sub(r"\.0+\Z", "", text)}, name, "[0-9]+", what)


def filled_in(template: str, user: Values, what: str) -> str:
    """Return a designer's text with traits filled in, without blanks around it.

    Raises:
        Rejected: nothing is left of it; `what` says of what ("subject").

    """
    text = fill_traits(template, user).strip()
    require(text, f"The {what} is empty once it is filled in.")
    return text


def require(fact: object, otherwise: str) -> None:
    """Go on only where this is so.

    Raises:
        Rejected: it is not; `otherwise` is the sentence that says why.

    """
    if not fact:
        raise Rejected(otherwise)


def on_first(rows: Sequence[Row], wanted: Iterable[str], of: Callable[[Row], list[str]]) -> Sequence[Row]:
    """Return the rows that are on the first of the wanted (plans, offers, prices) that any row is on; all, where none is wanted.

    Args:
        rows: subscriptions, or their items.
        wanted: in order of preference; an empty one is none.
        of: reads what a row is on.

    """
    chosen = [one for one in wanted if one]
    found = ([row for row in rows if one in of(row)] for one in chosen)
    return next((some for some in found if some), []) if chosen else rows


def only_with(catalogue: str, what: str) -> CatalogueField:
    """Return the input that says which of several subscriptions is meant: the one with this `what` ("plan")."""
    told = f"Needed where people have several subscriptions: the one with this {what} is meant."
    return CatalogueField(catalogue, required=False, label=f"Only with {what}", help_text=told)


def at_address(rows: Iterable[Answer], address: str) -> list[Answer]:
    """Return the rows whose `email` is exactly this, whatever the case of its letters: a search finds more than was asked for."""
    return [row for row in rows if str(row.get("email") or "").casefold() == address.casefold()]


def id_at_address(api: Api, rows: Iterable[Answer], address: str, what: str) -> str:
    """Return the id of the one row that has this address.

    Raises:
        Rejected: there is none, or there are several; `what` says what they are ("contact").

    """
    one = only_one(api, at_address(rows, address), whose=address, what=what, named=lambda row: row.fill("{id}"))
    return one.fill("{id}")


def only_one(
    api: Api,
    candidates: Sequence[Row],
    *,
    whose: str,
    what: str,
    named: Callable[[Row], str],
    others: Sequence[Row] = (),
    over: Sequence[Row] = (),
) -> Row:
    """Return the one candidate.

    Args:
        whose: who has it, as a sentence begins ("Customer 7").
        what: what it is, in the singular ("subscription").
        named: a row in a few words, so that a person finds it.
        others: the rows that are no candidates; told where there is no candidate.
        over: where there is no candidate, the first of these will do: what has ended already, so that who ends it again finds it.

    Raises:
        Rejected: there is none, or there are several and nothing says which.

    """
    if len(candidates) == 1:
        return candidates[0]
    if over and not candidates:
        return over[0]
    told = f" ({', '.join(map(named, rows))})" if (rows := candidates or others) else ""
    if candidates:
        raise Rejected(f"{whose} has several {what}s at {api.connector.label}{told}; none is chosen by guessing.")
    raise Rejected(f"{whose} has no matching {what} at {api.connector.label}{told}.")

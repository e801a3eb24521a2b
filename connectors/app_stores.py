"""What app stores share: a purchase that a person makes on a device of theirs. A subclass for each store says of what."""

import re
from datetime import timedelta
from typing import ClassVar

from connectors.base import Action, Confirmed, HandedOver, Json, Replay, Values
from connectors.choosing import require
from connectors.failures import Rejected
from connectors.http import Api


class InAppPurchase(Action):
    """What is bought in the app: the instruction for it, what the app then reports, and what the store shows of that.

    The action's key is what the instruction calls the operation: "purchase", "upgrade" or "downgrade".
    """

    replay = Replay.NATURAL
    replay_proof = (
        "The instruction sends nothing; what is bought, the store's own sheet asks the person, and we only look."
    )
    settles_within = timedelta(days=2)
    store: ClassVar[str]  # as the instruction names it
    reports: ClassVar[tuple[str, ...]]  # what the app reports, by the names that `claimed()` reads

    def wanted(self, api: Api, user: Json, inputs: Values) -> tuple[str, Json]:
        """Return the product, and what the instruction says of it beyond what all of them say; raise Rejected."""
        raise NotImplementedError

    def perform(self, api: Api, user: Json, inputs: Values) -> HandedOver:
        """Hand it over; it is open until the app has reported, and the store has shown it."""
        product, told = self.wanted(api, user, inputs)
        what = {"kind": "purchase", "store": self.store, "operation": self.key}
        instruction = {**what, **told, "report": {"fields": list(self.reports)}}
        return HandedOver(instruction, f"To be bought in the app: {product}", wants_report=True)


def in_words(state: str) -> str:
    """Return a state of a store's as people say it: "billing grace period"."""
    return state.lower().replace("_", " ")


def reported(detail: Json, name: str, pattern: str, whose: str) -> str:
    """Return a text of the app's report, all of which fits `pattern`.

    Raises:
        Rejected: there is none; `whose` it would be ("Roku's").

    """
    value = detail.get(name)
    text = value if isinstance(value, str) else ""
    require(re.fullmatch(pattern, text), f"The report holds no {name} of {whose}.")
    return text


def no_purchase(no: Rejected) -> Rejected:
    """Return a store's word that it has no such purchase as the end of the app's report, which a refused question is not."""
    return Rejected(no.message, code=no.code)


def purchased(product: str, traits: Json, *, subject: str, receipt: str, later: str = "") -> Confirmed:
    """Return what a store shows of a purchase.

    Args:
        product: what was bought.
        traits: what it says of the person.
        subject: of the traits (`Confirmed.subject`).
        receipt: the store's name of the purchase.
        later: when it takes effect ("on 3 May 2027"); empty: it has. A change that comes later is a wish, which the person may
            take back and have again: it is no purchase of its own yet, and has no receipt.

    """
    told = f"{product} takes effect {later}." if later else f"{product} is bought."
    return Confirmed(told, traits, subject, "" if later else receipt)

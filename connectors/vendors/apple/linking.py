"""Whose a purchase is: one made outside of the app, or before Engage, gets the person's account token."""

from django import forms

from connectors.base import Action, Json, Replay, Values, all_of
from connectors.choosing import require
from connectors.failures import Undocumented
from connectors.http import Api
from connectors.vendors.apple.subscriptions import APP_STORE, original_of, transaction

DOCS = "https://developer.apple.com/documentation/appstoreserverapi/set-app-account-token"
ANOTHERS = "The purchase has another account token, which is left as it is unless the action says to replace it."


class SetAppAccountToken(Action):
    """Write the person's account token on a purchase, after a look at the one that it has."""

    key, label = "set_app_account_token", "Link purchase to the person"
    description = (
        "Writes the person's account token on a purchase that has none, such as one made by an offer code in the App Store. "
        "It is the token that purchases in Engage's prompts carry, and it goes along with every renewal."
    )
    needs = all_of("apple_original_transaction_id")
    replay = Replay.CHECK
    replay_proof = f"{DOCS}: sets or resets the token, which the signed transaction then shows"
    check_at = "App Store Connect shows no account tokens. Run it again: it looks first, and sets the same one."
    part = APP_STORE

    class Inputs(forms.Form):
        """Whether a token that is there may go."""

        replace = forms.BooleanField(
            required=False,
            label="Replace another token",
            help_text="Your own servers may know the purchase by the token that it has. Unless ticked, that one stays.",
        )

    def already_done(self, api: Api, user: Json, inputs: Values) -> str | None:
        """Read the token that the purchase has."""
        bought = transaction(api, original_of(user))
        token = str(bought.get("appAccountToken") or "").lower()
        if token == api.person:
            return _linked(bought.text("transactionId"))
        require(not token or inputs["replace"], ANOTHERS)
        return None

    def perform(self, api: Api, user: Json, inputs: Values) -> str:
        """Set it. Apple answers with nothing ("200 OK: Request succeeded")."""
        original = original_of(user)
        answer = api.put(
            "inApps", "v1", "transactions", original, "appAccountToken", json={"appAccountToken": api.person}
        )
        if answer.with_status(200).data is not None:
            raise Undocumented("Apple answered with something, where it is documented to answer with nothing.")
        return _linked(original)


def _linked(number: str) -> str:
    return f"Purchase {number} is linked to the person"

"""Legacy: free days by moving the next bill, which a connection offers only where its settings say so.

Roku's reference had it until 2026, and has it no more; the request is that of the older one and of clients written by it.
UNVERIFIED whether Roku still answers it, so it is off, and says so.
"""

from datetime import timedelta

from django import forms

from connectors.base import Action, Json, Replay, Values, all_of
from connectors.choosing import require
from connectors.failures import Undocumented
from connectors.http import Api
from connectors.vendors.roku.managing import CHECK_AT
from connectors.vendors.roku.purchases import DOCS, moment_in, purchase, state, transaction_of

SETTING, LABEL = "legacy_bill_cycle", "Give free days by moving the bill (legacy)"


def legacy_choice() -> forms.BooleanField:
    """Return the setting that offers it."""
    return forms.BooleanField(
        label=LABEL,
        required=False,
        help_text="Roku's present reference no longer has this request: it may be refused, or stop working at any time. Try it "
        "with a beta app first. A service credit gives free time in the documented way.",
    )


class UpdateBillCycle(Action):
    """Move the next bill."""

    key, label = "update_bill_cycle", "Give free days"
    description = (
        "Moves the next bill of a running subscription into the future. Legacy: Roku's reference no longer has it."
    )
    needs = all_of("roku_transaction_id")
    # The date is in the request as it was stored before it first left, and a repeat sends that one: also where Roku shows the
    # moved date by then.
    replay = Replay.NATURAL
    replay_proof = f"{DOCS} as it was before 2026: newBillCycleDate is a date, and no number of days to add"
    check_at = CHECK_AT

    class Inputs(forms.Form):
        """How long."""

        days = forms.IntegerField(label="Days", min_value=1, max_value=365, help_text="1 to 365.")

    def perform(self, api: Api, user: Json, inputs: Values) -> str:
        """Read until when it is paid for, and move the bill by so many days. Roku's answer shows no date."""
        shown, days = purchase(api, transaction_of(user)), inputs["days"]
        product, ends = shown.text("productId"), moment_in(shown, "expirationDate")
        require(state(shown) == "active", f"{product} does not renew, so it has no next bill.")
        if ends is None:
            raise Undocumented("Roku does not show until when it is paid for.")
        wish = {
            "transactionId": shown.text("transactionId"),
            "newBillCycleDate": f"{ends + timedelta(days=days):%Y-%m-%d}",
        }
        api.post("update-bill-cycle", json=wish).shows("status", 0)
        return f"Roku accepted {days} free day{'s' * (days > 1)} of {product} before its next bill"

    def unavailable(self, settings: Values) -> str:
        """It is off unless somebody has switched it on."""
        return (
            "" if settings.get(SETTING) else f"Roku's reference no longer has it. “{LABEL}” under Settings offers it."
        )

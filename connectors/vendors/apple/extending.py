"""What the server may do with a subscription: give days. It can neither end, change nor refund one; only the person can."""

from datetime import datetime, timedelta

from django import forms

from connectors.app_stores import in_words
from connectors.base import Action, Json, Pending, Replay, Values, all_of
from connectors.choosing import require
from connectors.failures import Temporary, Undocumented
from connectors.http import Api
from connectors.times import MILLISECOND, day_in_words
from connectors.vendors.apple.subscriptions import APP_STORE, Subscription, original_of, subscription

DOCS = "https://developer.apple.com/documentation/appstoreserverapi/extend-a-subscription-renewal-date"
REASONS = [(1, "Customer satisfaction"), (3, "A service issue or outage"), (2, "Another reason"), (0, "None said")]
TO_THE_MINUTE = timedelta(minutes=1)


class Extend(Action):
    """Move the next renewal, by a read before and a look at the date afterwards."""

    key, label = "extend", "Give free days"
    description = "Moves the next renewal of a running subscription into the future. Apple allows it twice in 365 days."
    needs = all_of("apple_original_transaction_id")
    # Apple names `requestIdentifier` as a mark by which an extension is known, and nowhere as a protection from a second one.
    replay = Replay.NEVER
    replay_proof = f"{DOCS}: adds days to the renewal date"
    settles_within = timedelta(hours=2)
    check_at = "In App Store Connect, a subscription is not shown; compare the person's renewal date on their device."
    part = APP_STORE

    class Inputs(forms.Form):
        """How long, and why."""

        days = forms.IntegerField(label="Days", min_value=1, max_value=90, help_text="1 to 90.")
        reason = forms.TypedChoiceField(coerce=int, label="Reason", choices=REASONS)

    def perform(self, api: Api, user: Json, inputs: Values) -> str | Pending:
        """Read the date, extend it, and read the new one in the answer; a lost answer is looked for in the date."""
        original, days = original_of(user), inputs["days"]
        stands = subscription(api, original)
        require(stands.state == "active", f"Apple shows the subscription as {in_words(stands.state)}.")
        wish = {"extendByDays": days, "extendReasonCode": inputs["reason"], "requestIdentifier": api.tag}
        job = {
            "original": original,
            "transaction": stands.last.text("transactionId"),
            "until": (stands.until + timedelta(days=days)).isoformat(),
        }
        try:
            answer = api.put("inApps", "v1", "subscriptions", "extend", original, json=wish)
        except Temporary as lost:
            if not lost.sent:
                raise
            return Pending(
                job, f"{lost.message} Whether the renewal has moved is looked up; it is not asked for again."
            )
        answer.shows("success", True)
        answer.shows("originalTransactionId", original)
        until = answer.moment("effectiveDate", unit=MILLISECOND)
        if not _is_as_wished(until, job):
            raise Undocumented("Apple accepted the request, and its answer does not show the later renewal.")
        return f"{stands.last.text('productId')} renews on {day_in_words(until)}"

    def follow_up(self, api: Api, job: Json) -> str | Pending:
        """Look whether the renewal has moved, of the transaction that it was asked for: a renewal moves it as well."""
        stands: Subscription = subscription(api, job["original"])
        if stands.last.text("transactionId") == job["transaction"] and _is_as_wished(stands.until, job):
            return f"{stands.last.text('productId')} renews on {day_in_words(stands.until)}"
        return Pending(job, "Apple does not show a later renewal.")


def _is_as_wished(until: datetime, job: Json) -> bool:
    return until >= datetime.fromisoformat(job["until"]) - TO_THE_MINUTE

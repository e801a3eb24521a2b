"""A subscription's states: paused, resumed, reactivated, out of its trial, ended."""

from django import forms

from connectors.answers import Answer
from connectors.base import Json, Values
from connectors.choosing import only_one, require
from connectors.failures import Undocumented
from connectors.http import Api
from connectors.vendors.recurly.reading import (
    DOCS,
    OVER,
    OnPlan,
    OnSubscription,
    account_of,
    in_trial,
    in_words,
    named,
    plan_of,
    subscriptions,
)

AT_PERIOD_END, AT_ONCE = ("bill_date", "term_end"), ("none", "partial", "full")


class Pause(OnSubscription):
    """Stop billing for a number of cycles, from the next renewal on."""

    key, label = "pause", "Pause subscription"
    description = "Pauses the subscription from its next renewal on, for a number of billing cycles."
    replay_proof = f"{DOCS}/#operation/pause_subscription: state and remaining_pause_cycles show it"
    states = ("active", "paused")

    class Inputs(OnPlan):
        """For how long."""

        cycles = forms.IntegerField(min_value=1, label="Billing cycles", help_text="How many are left out.")

    def stands(self, api: Api, thing: Answer, inputs: Values) -> str | None:
        """It is paused, or will be."""
        cycles, is_paused = thing.get("remaining_pause_cycles"), thing["state"] == "paused"
        if is_paused or cycles is None:
            return f"{named(thing)} is paused" if is_paused else None
        fits = cycles == inputs["cycles"]
        require(fits, f"{named(thing)} will be paused already, for another number of cycles ({cycles}).")
        return f"{named(thing)} pauses at its next renewal (cycles: {cycles})"

    def change(self, api: Api, thing: Answer, inputs: Values) -> Answer:
        """Ask for the pause."""
        wish = {"remaining_pause_cycles": inputs["cycles"]}
        answer = api.put("subscriptions", thing["id"], "pause", json=wish)
        answer.shows("remaining_pause_cycles", inputs["cycles"])
        return answer


class Resume(OnSubscription):
    """End a pause, or call one off that has not begun."""

    key, label = "resume", "Resume subscription"
    description = "Ends a pause at once, or calls off one that has not begun. Recurly may bill at once."
    replay_proof = f"{DOCS}/#operation/resume_subscription: state and remaining_pause_cycles show it"
    states = ("active", "paused")

    def stands(self, api: Api, thing: Answer, inputs: Values) -> str | None:
        """It runs, and no pause is ahead."""
        runs = thing["state"] == "active" and not thing.get("remaining_pause_cycles")
        return f"{named(thing)} is active" if runs else None

    def change(self, api: Api, thing: Answer, inputs: Values) -> Answer:
        """Resume. "The subscription must be in the paused state"; a pause that is only ahead is ended by one of 0 cycles."""
        if thing["state"] == "paused":
            return api.put("subscriptions", thing["id"], "resume", step="resume")
        return api.put("subscriptions", thing["id"], "pause", json={"remaining_pause_cycles": 0}, step="call_off")


class Reactivate(OnSubscription):
    """Undo a cancellation that has not taken effect yet."""

    key, label = "reactivate", "Reactivate subscription"
    description = "Undoes a pending cancellation, so that the subscription renews again."
    replay_proof = f"{DOCS}/#operation/reactivate_subscription: state shows it"
    states = ("active", "canceled")

    def stands(self, api: Api, thing: Answer, inputs: Values) -> str | None:
        """It is active."""
        return f"{named(thing)} is active" if thing["state"] == "active" else None

    def change(self, api: Api, thing: Answer, inputs: Values) -> Answer:
        """Reactivate it."""
        return api.put("subscriptions", thing["id"], "reactivate")


class ConvertTrial(OnSubscription):
    """End a trial now, and charge."""

    key, label = "convert_trial", "Convert trial"
    description = "Ends the trial and charges the subscriber at once. When the payment fails, the trial goes on."
    replay_proof = f"{DOCS}/#operation/convert_trial: trial_ends_at shows it"

    def stands(self, api: Api, thing: Answer, inputs: Values) -> str | None:
        """No trial goes on."""
        return None if in_trial(thing) else f"{named(thing)} is in no trial"

    def change(self, api: Api, thing: Answer, inputs: Values) -> str:
        """Convert it."""
        answer = api.put("subscriptions", thing["id"], "convert_trial")
        state = answer.shows("state", "active")
        if in_trial(answer):
            raise Undocumented(f"Recurly accepted, and shows a trial until {answer['trial_ends_at']}.")
        return f"{named(answer)} is paid and {state}"


class Cancel(OnSubscription):
    """End a subscription: two calls of Recurly's, since a refund exists only where access ends at once."""

    key, label = "cancel", "Cancel subscription"
    description = "Stops the renewal, or ends the subscription at once, with or without a refund."
    replay_proof = f"{DOCS}/#operation/cancel_subscription and terminate_subscription: state shows it"

    class Inputs(OnPlan):
        """When, and what is paid back."""

        ending = forms.ChoiceField(
            choices=[
                ("bill_date", "At the next billing date, no refund"),
                ("term_end", "At the end of the term, no refund"),
                ("none", "Now, no refund"),
                ("partial", "Now, refund for the time that is left"),
                ("full", "Now, full refund of the last invoice"),
            ],
            label="End and refund",
            help_text="“Now” ends the access at once; Recurly refunds only then.",
        )

    def find(self, api: Api, user: Json, inputs: Values) -> Answer:
        """The running one; where the account (or plan) has only such that are over, one of those."""
        plan = inputs.get("only_plan")
        rows = [row for row in subscriptions(api, account_of(api, user)) if not plan or plan_of(row) == plan]
        running = [row for row in rows if row["state"] not in OVER]
        return only_one(api, running, whose="The account", what="subscription", named=in_words, over=rows)

    def stands(self, api: Api, thing: Answer, inputs: Values) -> str | None:
        """It is over; or cancelled, where that is what is wanted: a cancelled one gives access until the period's end."""
        wanted = {*OVER, "canceled"} if inputs["ending"] in AT_PERIOD_END else set(OVER)
        return f"{named(thing)} is {thing['state']}" if thing["state"] in wanted else None

    def change(self, api: Api, thing: Answer, inputs: Values) -> Answer | str:
        """Cancel or terminate. "Only active and future subscriptions can be canceled"; a future one becomes `failed`."""
        ending, state = inputs["ending"], thing["state"]
        if ending in AT_ONCE:
            answer = api.delete("subscriptions", thing["id"], params={"refund": ending}, step="terminate")
            return f"{named(answer)} is {answer.shows('state', 'expired')} (refund: {ending})"
        require(state in {"active", "future"}, f"{named(thing)} is {state}: resume it first, or end it now.")
        return api.put("subscriptions", thing["id"], "cancel", json={"timeframe": ending}, step="cancel")

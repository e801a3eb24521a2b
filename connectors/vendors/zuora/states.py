"""How a subscription stands: cancelled, suspended, resumed."""

from typing import Any, ClassVar

from django import forms
from django.core.exceptions import ValidationError

from connectors.answers import Answer
from connectors.base import Json, Values
from connectors.http import Api
from connectors.vendors.zuora.reading import (
    PERIODS,
    SHOWN,
    Billing,
    OnPlan,
    OnSubscription,
    Wish,
    account_of,
    by_orders,
    dated,
    day_field,
    lies_ahead,
    named,
    one_subscription,
    plan_in,
    subscriptions,
)

SPECIFIC = "SpecificDate"


class When(forms.Form):
    """When it takes effect; `policy` is the subclass's."""

    on = day_field("Date", "Only for “On a date”.")

    def clean(self) -> dict[str, Any]:
        """A date is named exactly where one counts."""
        told = super().clean() or self.cleaned_data
        if (told.get("policy") == SPECIFIC) is not bool(told.get("on")) and not self.errors:
            raise ValidationError("Name a date for “On a date”, and only there.")
        return told


class AfterPeriods(When):
    """When it takes effect, which may be after some periods."""

    periods = forms.IntegerField(
        required=False, min_value=1, max_value=1200, label="Periods", help_text="Only for “After some periods”."
    )
    period = forms.ChoiceField(choices=PERIODS, required=False, label="Kind of periods")

    def clean(self) -> dict[str, Any]:
        """So is a number of periods."""
        told = super().clean()
        if str(told.get("policy")).startswith("FixedPeriods") is not bool(told.get("periods")) and not self.errors:
            raise ValidationError("Name the periods for “After some periods”, and only there.")
        if told.get("periods") and not told.get("period"):
            raise ValidationError("Say which kind of periods.")
        return told


def _when(api: Api, verb: str, inputs: Values) -> Json:
    """Return policy, date and periods; the number of periods is a text in Subscribe and Amend, and a number in an order."""
    wish = {f"{verb}Policy": inputs["policy"]}
    if day := inputs.get("on"):
        wish[f"{verb}SpecificDate"] = day
    if number := inputs.get("periods"):
        wish |= {f"{verb}Periods": number if by_orders(api) else str(number), f"{verb}PeriodsType": inputs["period"]}
    return wish


class Cancel(OnSubscription):
    """The end."""

    key, label = "cancel", "Cancel subscription"
    description = "Cancels the subscription at the end of its term, of what was invoiced, or on a date."
    replay_proof = f"{SHOWN}: status, subscriptionEndDate and statusHistory show it"
    statuses = ("Active", "Suspended")

    class Inputs(When, OnPlan, Billing):
        """When."""

        policy = forms.ChoiceField(
            choices=[
                ("EndOfCurrentTerm", "At the end of the term"),
                ("EndOfLastInvoicePeriod", "At the end of the last invoiced period"),
                (SPECIFIC, "On a date"),
            ],
            label="When",
        )
        credit = forms.ChoiceField(
            required=False,
            choices=[
                ("", "Leave it"),
                ("applyCredit", "Pays the invoice (tenants with Invoice Settlement)"),
                ("applyCreditBalance", "Pays the invoice (tenants with a credit balance)"),
            ],
            label="The account's credit",
        )
        field_order = ("only_plan", "policy", "on", "run_billing", "collect", "credit")

        def clean(self) -> dict[str, Any]:
            """Only an invoice can be paid."""
            told = super().clean()
            if told.get("credit") and not told.get("run_billing"):
                raise ValidationError("A credit pays an invoice: tick “Make an invoice”.")
            return told

    def find(self, api: Api, user: Json, inputs: Values) -> Answer:
        """The only one that runs; where none does any more, one that is cancelled already."""
        rows, plan = subscriptions(api, user), inputs.get("only_plan", "")
        over = [row for row in rows if row["status"] == "Cancelled" and (not plan or plan_in(row, plan))]
        return one_subscription(api, rows, account_of(user), self.statuses, plan, over)

    def stands(self, api: Api, thing: Answer, inputs: Values) -> str | None:
        """It is cancelled, or will be.

        UNVERIFIED: how a cancellation that lies ahead shows. "This date is the same as the term end date or the cancelation date"
        (subscriptionEndDate), and an evergreen subscription has a termEndDate only where a cancellation is set. At the end of
        a term the two are the same, and nothing shows; a second request then sets the same end.
        """
        if thing["status"] == "Cancelled":
            return f"{named(thing)} is cancelled"
        ends = thing.get("subscriptionEndDate")
        is_early = ends and (thing.get("termType") == "EVERGREEN" or ends != thing.get("termEndDate"))
        shown = lies_ahead(api, thing, "Cancelled") or (str(ends) if is_early else None)
        return f"{named(thing)} ends on {shown}" if shown and inputs.get("on") in (None, "", shown) else None

    def wish(self, api: Api, thing: Answer, inputs: Values) -> Wish:
        """Its end."""
        ends = {"cancellationPolicy": inputs["policy"]}
        if day := inputs.get("on"):
            ends["cancellationEffectiveDate"] = day
        action = {**dated(api, "CancelSubscription"), "cancelSubscription": ends}
        return Wish(f"{named(thing)} is cancelled", action, ends, at=("cancel",), day="cancelledDate")

    def credit(self, inputs: Values) -> dict[str, bool]:
        """As chosen."""
        return {inputs["credit"]: True} if inputs.get("credit") else {}


class Pausing(OnSubscription):
    """A pause or its end: either is called by the action's key in all that Zuora is asked."""

    replay_proof = f"{SHOWN}: status and statusHistory show it"
    statuses = ("Active", "Suspended")
    wished: ClassVar[str]  # the status
    done: ClassVar[str]  # what was done to it, in a word

    def stands(self, api: Api, thing: Answer, inputs: Values) -> str | None:
        """It has the status, or will have it."""
        told = f"{named(thing)} is {self.wished.lower()}"
        if thing["status"] == self.wished:
            return told
        shown = lies_ahead(api, thing, self.wished)
        return f"{told} from {shown} on" if shown and inputs.get("on") in (None, "", shown) else None

    def wish(self, api: Api, thing: Answer, inputs: Values) -> Wish:
        """When it takes effect, and whether the term is extended, where that is asked."""
        verb, wish = self.key, _when(api, self.key, inputs)
        if "extends_term" in inputs:
            wish["extendsTerm"] = inputs["extends_term"]
        action = {"type": verb.capitalize(), verb: wish}
        return Wish(f"{named(thing)} is {self.done}", action, wish, at=(verb,), day=f"{verb}Date")


class Suspend(Pausing):
    """A pause."""

    key, label, wished, done = "suspend", "Suspend", "Suspended", "suspended"
    description = "Suspends the subscription, which is not billed until it is resumed."

    class Inputs(AfterPeriods, OnPlan, Billing):
        """When."""

        policy = forms.ChoiceField(
            choices=[
                ("Today", "Today"),
                ("EndOfLastInvoicePeriod", "At the end of the last invoiced period"),
                (SPECIFIC, "On a date"),
                ("FixedPeriodsFromToday", "After some periods, from today"),
            ],
            label="When",
        )
        field_order = ("only_plan", "policy", "on", "periods", "period", "run_billing", "collect")


class Resume(Pausing):
    """The end of a pause."""

    key, label, wished, done = "resume", "Resume", "Active", "resumed"
    description = "Resumes a suspended subscription. It must have been suspended in the same object model."

    class Inputs(AfterPeriods, OnPlan, Billing):
        """When, and what becomes of the term."""

        policy = forms.ChoiceField(
            choices=[
                ("Today", "Today"),
                (SPECIFIC, "On a date"),
                ("FixedPeriodsFromSuspendDate", "After some periods, from the suspension on"),
                ("FixedPeriodsFromToday", "After some periods, from today"),
            ],
            label="When",
        )
        extends_term = forms.BooleanField(
            required=False, label="Extend the term", help_text="By as long as the subscription was suspended."
        )
        field_order = ("only_plan", "policy", "on", "periods", "period", "extends_term", "run_billing", "collect")

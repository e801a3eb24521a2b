"""What a subscription consists of: plans, its renewal, and new subscriptions."""

from typing import Any

from django import forms

from connectors.answers import Answer
from connectors.base import Action, CatalogueField, Json, Replay, Values, all_of
from connectors.choosing import require
from connectors.http import Api
from connectors.vendors.zuora.reading import (
    CHECK_AT,
    KEYS_KEPT,
    OVER,
    PERIODS,
    SHOWN,
    Billing,
    OnPlan,
    OnSubscription,
    Wish,
    account_of,
    amended,
    by_orders,
    charges,
    dated,
    day_field,
    named,
    one_subscription,
    ordered,
    plan_in,
    subscriptions,
    today,
)


class AddPlan(OnSubscription):
    """One more rate plan."""

    key, label = "add_plan", "Add plan"
    description = "Adds a rate plan to the subscription from today on, unless it has it."
    replay_proof = f"{SHOWN}: ratePlans show it"

    class Inputs(OnPlan, Billing):
        """Which plan."""

        plan = CatalogueField("plans", label="Plan", help_text="The rate plan that is added.")
        field_order = ("plan",)

    def stands(self, api: Api, thing: Answer, inputs: Values) -> str | None:
        """It has the plan."""
        found = plan_in(thing, inputs["plan"])
        return f"{named(thing)} has plan {inputs['plan']}" if found else None

    def wish(self, api: Api, thing: Answer, inputs: Values) -> Wish:
        """The plan, with its own charges."""
        plan = {"productRatePlanId": inputs["plan"]}
        return Wish(
            f"{named(thing)} has plan {inputs['plan']}",
            {**dated(api, "AddProduct"), "addProduct": plan},
            {"add": [{**plan, "contractEffectiveDate": today(api)}]},
        )


class RemovePlan(OnSubscription):
    """One rate plan less."""

    key, label = "remove_plan", "Remove plan"
    description = "Removes a rate plan from the subscription from today on."
    replay_proof = f"{SHOWN}: ratePlans and their lastChangeType show it"

    class Inputs(OnPlan, Billing):
        """Which plan."""

        plan = CatalogueField("plans", label="Plan", help_text="The rate plan that is removed.")
        field_order = ("plan",)

    def find(self, api: Api, user: Json, inputs: Values) -> Answer:
        """The subscription with the plan; where none has it, the only one, which then need not be changed."""
        rows, account = subscriptions(api, user), account_of(user)
        running = [row for row in rows if row["status"] in self.statuses]
        has_it = [row for row in running if plan_in(row, inputs["plan"])]
        return one_subscription(api, has_it or running, account, self.statuses, inputs.get("only_plan", ""))

    def stands(self, api: Api, thing: Answer, inputs: Values) -> str | None:
        """It does not have the plan."""
        found = plan_in(thing, inputs["plan"])
        return None if found else f"{named(thing)} does not have plan {inputs['plan']}"

    def wish(self, api: Api, thing: Answer, inputs: Values) -> Wish:
        """The subscription's own rate plan, which was made of the catalogue's."""
        found = plan_in(thing, inputs["plan"])
        require(len(found) == 1, f"{named(thing)} has plan {inputs['plan']} {len(found)} times; none is chosen.")
        plan = {"ratePlanId": found[0].text("id")}
        return Wish(
            f"{named(thing)} no longer has plan {inputs['plan']}",
            {**dated(api, "RemoveProduct"), "removeProduct": plan},
            {"remove": [{**plan, "contractEffectiveDate": today(api)}]},
        )


class AutoRenew(OnSubscription):
    """Whether it renews by itself."""

    key, label = "auto_renew", "Change auto renewal"
    description = "Says whether the subscription renews by itself at the end of its term."
    replay_proof = f"{SHOWN}: autoRenew shows it"

    class Inputs(OnPlan):
        """On or off."""

        auto_renew = forms.ChoiceField(
            choices=[("on", "Renew automatically"), ("off", "Do not renew")], label="At the end of the term"
        )

    def stands(self, api: Api, thing: Answer, inputs: Values) -> str | None:
        """It is so."""
        return _renewal(thing, inputs) if thing["autoRenew"] is (inputs["auto_renew"] == "on") else None

    def wish(self, api: Api, thing: Answer, inputs: Values) -> Wish:
        """UNVERIFIED whether terms and conditions need dates, so that they have all three."""
        renews = {"autoRenew": inputs["auto_renew"] == "on"}
        action = {**dated(api, "TermsAndConditions"), "termsAndConditions": renews}
        return Wish(_renewal(thing, inputs), action, renews)


def _renewal(subscription: Answer, inputs: Values) -> str:
    return f"{named(subscription)} {'renews' if inputs['auto_renew'] == 'on' else 'does not renew'} automatically"


class Create(Action):
    """A new subscription."""

    key, label = "create", "Create subscription"
    description = "Starts a subscription with a rate plan for the account, unless one with that plan runs."
    needs = all_of("account_number")
    replay = Replay.CHECK
    replay_proof = f"{SHOWN}: status and ratePlans show it"
    key_kept = KEYS_KEPT
    check_at = CHECK_AT

    class Inputs(Billing):
        """Which plan, from when on and for how long."""

        plan = CatalogueField("plans", label="Plan", help_text="The rate plan that is subscribed to.")
        starts_on = day_field("Contract effective", "Empty: the day on which it happens.")
        term_type = forms.ChoiceField(
            choices=[("TERMED", "For a term"), ("EVERGREEN", "Until it is cancelled")], label="Term"
        )
        initial_term = forms.IntegerField(
            required=False, min_value=1, max_value=1200, label="First term", help_text="Periods; only for a term."
        )
        renewal_term = forms.IntegerField(
            min_value=0, max_value=1200, label="Renewal term", help_text="Periods; 0 where there is no term."
        )
        period = forms.ChoiceField(choices=PERIODS, label="Periods", help_text="Of which the terms are numbers.")
        auto_renew = forms.BooleanField(required=False, label="Renew automatically", help_text="Only for a term.")
        field_order = ("plan", "starts_on", "term_type", "initial_term", "renewal_term", "period", "auto_renew")

        def clean(self) -> dict[str, Any]:
            """A term has a length."""
            told = super().clean()
            if told.get("term_type") == "TERMED" and not told.get("initial_term") and not self.errors:
                self.add_error("initial_term", "A term has a length.")
            return told

    def already_done(self, api: Api, user: Json, inputs: Values) -> str | None:
        """One with that plan runs, or is about to."""
        rows = [row for row in subscriptions(api, user) if row["status"] not in OVER]
        found = next((row for row in rows if plan_in(row, inputs["plan"])), None)
        return f"{named(found)} with plan {inputs['plan']} is {found['status']}" if found else None

    def perform(self, api: Api, user: Json, inputs: Values) -> str:
        """Start it."""
        account, day = account_of(user), inputs.get("starts_on") or today(api)
        plans = [{"productRatePlanId": inputs["plan"]}]
        if by_orders(api):
            made = {"terms": self._terms(inputs, day), "subscribeToRatePlans": plans}
            action = {**dated(api, "CreateSubscription", day), "createSubscription": made}
            order, number = ordered(api, account, action, charges(inputs, "collectPayment"))
            return f"Subscription {number} with plan {inputs['plan']} is made ({order})"
        is_termed = inputs["term_type"] == "TERMED"
        term = {
            "initialTerm": inputs["initial_term"],
            "initialTermPeriodType": inputs["period"],
            "renewalTermPeriodType": inputs["period"],
            "autoRenew": inputs["auto_renew"],
        }
        wish = {
            "accountKey": account,
            "contractEffectiveDate": day,
            "termType": inputs["term_type"],
            "renewalTerm": inputs["renewal_term"],
            "subscribeToRatePlans": plans,
            **(term if is_termed else {}),
            **charges(inputs, "collect"),
        }
        answer = amended(api.post("subscriptions", json=wish))
        return f"Subscription {answer.text('subscriptionNumber')} with plan {inputs['plan']} is made"

    def _terms(self, inputs: Values, day: str) -> Json:
        first: Json = {"termType": inputs["term_type"], "startDate": day}
        if inputs["term_type"] == "EVERGREEN":
            return {"initialTerm": first}
        return {
            "initialTerm": {**first, "period": inputs["initial_term"], "periodType": inputs["period"]},
            "renewalSetting": "RENEW_WITH_SPECIFIC_TERM",
            "renewalTerms": [{"period": inputs["renewal_term"], "periodType": inputs["period"]}],
            "autoRenew": inputs["auto_renew"],
        }

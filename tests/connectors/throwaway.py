"""Connectors that only tests know: one action for each way of being repeatable that Cleeng has not."""

from datetime import timedelta

from django import forms
from requests.auth import AuthBase

from connectors.answers import Answer
from connectors.auth import HeaderKey
from connectors.base import Action, Category, Connector, Json, Pending, ProbeLine, Replay, SecretField, Values, all_of
from connectors.failures import Rejected
from connectors.http import Api


class Credit(Action):
    """Two writes under the vendor's idempotency keys, with a read between them."""

    key, label = "credit", "Credit"
    needs = all_of("customer")
    replay, replay_proof, key_kept = Replay.KEY, "The tests' vendor keeps keys.", timedelta(hours=24)

    class Inputs(forms.Form):
        amount = forms.CharField()

    def perform(self, api: Api, user: Json, inputs: Values) -> str:
        note = api.post("notes", json={"for": user["customer"], "amount": inputs["amount"]}, step="note")["id"]
        balance = api.get("customers", str(user["customer"]))["balance"]
        wish = {"note": note, "before": balance}
        credit = api.post("customers", str(user["customer"]), "credits", json=wish, step="credit")
        return f"Credit {credit['id']} is given"


class Charge(Action):
    """One write under a key."""

    key, label = "charge", "Charge"
    needs = all_of("customer", "plan")
    replay, replay_proof, key_kept = Replay.KEY, "The tests' vendor keeps keys.", timedelta(hours=24)

    class Inputs(forms.Form):
        amount = forms.CharField()

    def perform(self, api: Api, user: Json, inputs: Values) -> str:
        body = {"amount": inputs["amount"], "plan": user["plan"]}
        return f"Charge {api.post('customers', str(user['customer']), 'charges', json=body)['id']}"


class SetPlan(Action):
    """A write that sets a state."""

    key, label = "set_plan", "Set plan"
    needs = all_of("customer")
    replay, replay_proof = Replay.NATURAL, "PUT sets the plan."

    class Inputs(forms.Form):
        plan = forms.CharField()

    def perform(self, api: Api, user: Json, inputs: Values) -> str:
        api.get("plans", params={"name": inputs["plan"]})["id"]
        answer = api.put("customers", str(user["customer"]), "plan", json={"plan": inputs["plan"]})
        return f"The plan is {answer['plan']}"


class SendGift(Action):
    """A write that must not be repeated blindly, looked at afterwards."""

    key, label = "send_gift", "Send gift"
    needs = all_of("customer")
    replay, replay_proof = Replay.NEVER, "Every POST is a gift."

    def perform(self, api: Api, user: Json, inputs: Values) -> str:
        gift = api.post("gifts", json={"to": user["customer"]})["id"]
        return f"Gift {gift} is {api.get('gifts', str(gift))['state']}"


class Order(Action):
    """A write under a key that the vendor works on for a while."""

    key, label = "order", "Order"
    needs = all_of("customer")
    replay, replay_proof, key_kept = Replay.KEY, "The tests' vendor keeps keys.", timedelta(hours=24)

    def perform(self, api: Api, user: Json, inputs: Values) -> Pending:
        return Pending({"id": api.post("orders", json={"for": user["customer"]})["id"]}, "It is ordered")

    def follow_up(self, api: Api, job: Json) -> str | Pending:
        state = api.get("orders", str(job["id"]))["state"]
        if state == "failed":
            raise Rejected("The order failed.")
        return Pending(job, "It is ordered") if state == "open" else "The order is done"


class Throwaway(Connector):
    """The vendor of these."""

    key, label, category = "throwaway", "Throwaway", Category.BILLING
    actions = (Credit, Charge, SetPlan, SendGift, Order)
    idempotency_header = "Idempotency-Key"

    class Settings(forms.Form):
        api_key = SecretField(label="Key")

    def base_url(self, settings: Values) -> str:
        return "https://throwaway.invalid"

    def auth(self, settings: Values) -> AuthBase:
        return HeaderKey("Authorization", settings["api_key"], "Bearer ")

    def probe(self, api: Api) -> list[ProbeLine]:
        return [ProbeLine(True, f"Signed in as {api.get('me')['name']}.")]

    def replayed(self, answer: Answer) -> bool:
        return answer.headers.get("Idempotent-Replayed") == "true"

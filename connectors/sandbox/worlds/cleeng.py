"""Cleeng's Core API 3.1, as its reference describes it (developers.cleeng.com/reference): what Engage asks of it.

The mount point stands for `https://api.sandbox.cleeng.com/3.1`. Where the reference leaves a shape open (the offer list's
paging, the customer list's envelope, the body of a 401, where a switch's refusal code stands), this world picks one, so a
test that must not depend on it scripts the other with a fault.
"""

import re
import uuid
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from connectors.sandbox.http import Refusal, Request, Response, Route, routed
from connectors.sandbox.people import PEOPLE, Person
from connectors.sandbox.store import Json, Store
from connectors.sandbox.world import Table, World

KEY, LABEL = "cleeng", "Cleeng"
TOKEN = "sandbox-token-not-a-real-credential-000000000000"  # noqa: S105 - opens nothing but this fake world
# An upgrade takes this long in the sandbox's time; a downgrade waits for the end of the paid period.
SWITCH_SECONDS = 3.0

DAY = 86_400
COUPON = re.compile(r"[A-Za-z0-9_-]{2,40}")
EXTERNAL_GATEWAYS = frozenset({"apple", "android", "roku", "amazon"})


# --- the world at its start -----------------------------------------------------------------------------------------------


def _offer(
    number: int, title: str, amount: float, *, country: str = "US", active: bool = True, kind: str = "subscription"
) -> Json:
    letter = "S" if kind == "subscription" else "P"
    return {
        "id": f"{letter}{number}",
        "longId": f"{letter}{number}_{country}",
        "type": kind,
        "title": title,
        "active": active,
        "price": {"amount": amount, "currency": "GBP" if country == "GB" else "USD", "taxIncluded": True},
        "freeTrial": None,
        "billingCycle": {"periodUnit": "month", "amount": 1},
    }


def _campaign(code: str, discount: float, **changes: Any) -> Json:
    constraints = {"offerTypes": ["subscription"], "paymentType": "all", "offers": [], "tags": []} | changes.pop(
        "constraints", {}
    )
    return {
        "couponCode": code,
        "name": f"{discount:.0%} off",
        "discount": discount,
        "usagePerCoupon": 1000,
        "status": "active",
        "constraints": constraints,
    } | changes


def subscription(number: int, customer: int, offer: str, now: float, **changes: Any) -> Json:
    """Return a subscription as Cleeng shows it: active, ten days into its month, unless `changes` say otherwise."""
    return {
        "subscriptionId": number,
        "id": number,
        "customerId": customer,
        "userId": customer,
        "status": "active",
        "dateFrom": int(now) - 10 * DAY,
        "dateTo": int(now) + 20 * DAY,
        "nextPaymentActionDate": int(now) + 20 * DAY,
        "offerId": offer,
        "inTrial": False,
        "couponCode": None,
        "pendingSwitchId": None,
        "isExternallyManaged": False,
        "paymentMethodId": 100_000_000 + number % 1000,
        "paymentGateway": "adyen",
        "replacedBy": None,
        "originatedFrom": None,
        "renewalCycle": {"completed": 1, "unit": "month", "amount": 1},
        "pause": None,
    } | changes


OFFERS = (
    _offer(531000001, "Basic", 7.99),
    _offer(531000002, "Standard", 11.99),
    _offer(531000003, "Premium", 15.99),
    _offer(531000004, "Premium, yearly", 149.0),
    _offer(531000005, "Standard with sports", 19.99),
    _offer(531000006, "Founders' plan (no longer sold)", 5.0, active=False),
    _offer(531000007, "Free with advertising", 0.0),
    _offer(531000008, "Premium UK", 13.99, country="GB"),
    _offer(531000009, "Weekend pass", 4.99, kind="pass"),
)
SWITCHABLE = frozenset(
    {
        "S531000001_US",
        "S531000002_US",
        "S531000003_US",
        "S531000004_US",
        "S531000006_US",
        "S531000007_US",
        "S531000008_GB",
    }
)
"""The offers between which the account's switch settings allow to move (the sports plan is not among them)."""
CAMPAIGNS = (
    _campaign("SAVE20", 0.2),
    _campaign("STAY50", 0.5, constraints={"paymentType": "renewal"}),
    _campaign("PREMIUM10", 0.1, constraints={"offers": ["S531000003_US"]}),
    _campaign("WELCOME", 0.3, constraints={"paymentType": "initial"}),
    _campaign("SUMMER24", 0.25, status="ended"),
)
FIRST_CUSTOMER = 640000000


def seed(store: Store, more: Json | None = None) -> None:
    """Fill the world; with `more`, add to it or replace in it.

    `more` may hold `offers`, `campaigns` and `customers` (as the API shows them), `subscriptions` (what `subscription()` takes:
    subscriptionId, customerId, offerId and anything that differs), `token`, `switch_seconds` and `switchable` (offer ids).
    """
    if more is None:
        more = {
            "token": TOKEN,
            "switch_seconds": SWITCH_SECONDS,
            "switchable": sorted(SWITCHABLE),
            "offers": OFFERS,
            "campaigns": CAMPAIGNS,
            "customers": [_customer(person) for person in PEOPLE],
            "subscriptions": _first_subscriptions(store.now()),
        }
    for offer in more.get("offers", ()):
        store.put(KEY, "offer", offer["longId"], offer)
    for campaign in more.get("campaigns", ()):
        store.put(
            KEY,
            "campaign",
            campaign["couponCode"],
            _campaign(campaign["couponCode"], campaign.get("discount", 0.1)) | campaign,
        )
    for customer in more.get("customers", ()):
        store.put(KEY, "customer", customer["id"], customer)
    for given in more.get("subscriptions", ()):
        number, customer_id, offer_id = given["subscriptionId"], given["customerId"], given["offerId"]
        store.put(KEY, "subscription", number, subscription(number, customer_id, offer_id, store.now()) | given)
    for name in ("token", "switch_seconds", "switchable"):
        if name in more:
            store.put(KEY, "setting", name, {"value": more[name]})


def setup(store: Store) -> Mapping[str, str]:
    """Return the settings of the connection."""
    return {"environment": "sandbox", "api_key": str((store.get(KEY, "setting", "token") or {}).get("value"))}


def traits(person: Person) -> Mapping[str, str]:
    """Return the customer's id."""
    return {"cleeng_customer_id": str(FIRST_CUSTOMER + person.number)}


def _customer(person: Person) -> Json:
    return {
        "id": str(FIRST_CUSTOMER + person.number),
        "email": person.email,
        "firstName": person.first,
        "lastName": person.last,
        "country": "US",
        "externalId": person.user_id,
    }


def _first_subscriptions(now: float) -> list[Json]:
    """One viewer for each thing that can be the case."""
    return [
        subscription(710000001, 640000001, "S531000002_US", now),
        # Cancelled, and paid until next week: can be reactivated.
        subscription(710000002, 640000002, "S531000003_US", now, status="stopped", dateTo=int(now) + 7 * DAY),
        # A coupon is on it: cannot be switched.
        subscription(710000003, 640000003, "S531000001_US", now, couponCode="SAVE20"),
        # Two of them: which one is meant?
        subscription(710000004, 640000004, "S531000001_US", now),
        subscription(710000014, 640000004, "S531000005_US", now),
        # Emma has none. Farid pays through Apple.
        subscription(710000006, 640000006, "S531000002_US", now, paymentGateway="apple", isExternallyManaged=True),
        # Ended last month.
        subscription(
            710000007,
            640000007,
            "S531000002_US",
            now,
            status="terminated",
            dateTo=int(now) - 30 * DAY,
            nextPaymentActionDate=None,
        ),
        subscription(710000008, 640000008, "S531000003_US", now),
    ]


# --- answering ------------------------------------------------------------------------------------------------------------


def answer(request: Request, store: Store) -> Response:
    """Answer one request, inside the store's transaction."""
    token = (store.get(KEY, "setting", "token") or {}).get("value")
    if not token or request.headers.get("x-publisher-token") != token:
        return Response(HTTPStatus.UNAUTHORIZED, {"message": "Unauthorized"})
    finish_switches(store)
    return routed(request, store, ROUTES)


def finish_switches(store: Store) -> None:
    """Carry out the switches whose time has come (asked before every answer, so that nobody needs a timer)."""
    for switch in store.all(KEY, "switch"):
        due = switch["dueAt"]
        if switch["status"] not in {"inprogress", "pending"} or due > store.now():
            continue
        switch |= {"status": "finished", "updatedAt": int(due)}
        store.put(KEY, "switch", switch["id"], switch)
        row = _subscription(store, str(switch["subscriptionId"]))
        row |= {"offerId": switch["toOfferId"], "pendingSwitchId": None}
        store.put(KEY, "subscription", row["subscriptionId"], row)
        store.effect(KEY, "switched", row["subscriptionId"], offer=switch["toOfferId"], switch=switch["id"])


def _whole(request: Request, name: str, default: int, least: int, most: int) -> int:
    text = request.first(name, str(default))
    if not text.isdecimal() or not least <= int(text) <= most:
        raise Refusal(HTTPStatus.BAD_REQUEST, _list_refusal(f"{name} must be a whole number from {least} to {most}."))
    return int(text)


def _list_refusal(message: str) -> Json:
    return {"success": False, "data": None, "message": message}


def list_subscriptions(request: Request, store: Store) -> Response:
    """`GET /subscriptions`: without any filter the list is empty; `offerId` only together with `customerId`."""
    limit, offset = _whole(request, "limit", 20, 1, 100), _whole(request, "offset", 0, 0, 10**9)
    customer, offer = request.first("customerId"), request.first("offerId")
    if customer and not (customer.isdecimal() and 100_000_000 <= int(customer) <= 9_999_999_999):
        raise Refusal(HTTPStatus.BAD_REQUEST, _list_refusal("customerId is not valid."))
    if offer and not customer:
        raise Refusal(HTTPStatus.BAD_REQUEST, _list_refusal("offerId needs customerId."))
    statuses = request.query.get("status", [])
    if not set(statuses) <= {"active", "stopped", "terminated"}:
        raise Refusal(HTTPStatus.BAD_REQUEST, _list_refusal("status is active, stopped or terminated."))
    found = [
        row
        for row in store.all(KEY, "subscription")
        if customer
        and str(row["customerId"]) == customer
        and (not offer or row["offerId"] == offer)
        and (not statuses or row["status"] in statuses)
    ]
    body = {"success": True, "data": found[offset : offset + limit], "message": ""}
    return Response(body=body, headers={"X-Total-Count": str(len(found))})


def _subscription(store: Store, number: str) -> Json:
    row = store.get(KEY, "subscription", number)
    if row is None:
        raise Refusal(HTTPStatus.NOT_FOUND, {"message": f"Subscription {number} not found"})
    return row


def get_subscription(_: Request, store: Store, number: str) -> Response:
    """`GET /subscriptions/{subscriptionId}`."""
    if not number.isdecimal():
        raise Refusal(HTTPStatus.BAD_REQUEST, {"message": "subscriptionId must be a number"})
    return Response(body=_subscription(store, number))


def change_subscription(request: Request, store: Store, number: str) -> Response:
    """`PATCH /subscriptions/{subscriptionId}`: exactly one of couponCode, status, expiresAt, paymentDetailsId."""

    def refuse(status: int, message: str) -> Refusal:
        return Refusal(status, {"success": False, "subscription": None, "message": message})

    body = request.json()
    changes = ("couponCode", "status", "expiresAt", "paymentDetailsId")
    given = [name for name in changes if isinstance(body, dict) and name in body]
    if len(given) != 1 or len(body) != 1:
        raise refuse(HTTPStatus.BAD_REQUEST, f"Exactly one of {', '.join(changes)} is expected.")
    row = store.get(KEY, "subscription", number)
    if row is None:
        raise refuse(HTTPStatus.NOT_FOUND, f"Subscription {number} not found")
    name, value = given[0], body[given[0]]
    if name == "couponCode":
        problem = _coupon_problem(store, row, value)
        if problem:
            raise refuse(HTTPStatus.UNPROCESSABLE_ENTITY, problem)
        row["couponCode"] = value
        store.effect(KEY, "coupon_applied", number, coupon=value)
    elif name == "status" and value == "active":
        _reactivate(store, row)
    elif name == "status" and value == "cancelled" and row["status"] == "active":
        row |= {"status": "stopped", "nextPaymentActionDate": None}
        store.effect(KEY, "cancelled", number)
    elif name == "expiresAt" and isinstance(value, int):
        row["dateTo"] = value
        store.effect(KEY, "expiry_moved", number, to=value)
    elif name == "paymentDetailsId" and isinstance(value, int):
        row["paymentMethodId"] = value
        store.effect(KEY, "payment_method_changed", number)
    else:
        raise refuse(HTTPStatus.UNPROCESSABLE_ENTITY, f"{name} cannot be set to this.")
    store.put(KEY, "subscription", number, row)
    return Response(body={"success": True, "subscription": row, "message": ""})


def _coupon_problem(store: Store, row: Json, code: Any) -> str:
    """Say in Cleeng's words why a coupon cannot be put on a running subscription; "" when it can."""
    if not isinstance(code, str) or not COUPON.fullmatch(code):
        return "couponCode is not valid"
    campaign = store.get(KEY, "campaign", code)
    if campaign is None or campaign["status"] != "active":
        return f"Coupon {code} not found"
    rules = campaign["constraints"]
    if rules["paymentType"] == "initial" or row["status"] not in {"active", "stopped"}:
        return f"Coupon {code} cannot be applied on existing subscription"
    if "subscription" not in rules["offerTypes"] or (rules["offers"] and row["offerId"] not in rules["offers"]):
        return f"Coupon {code} cannot be applied on this offer"
    return ""


def _reactivate(store: Store, row: Json) -> None:
    if row["status"] != "stopped" or row["dateTo"] <= store.now():
        raise Refusal(
            HTTPStatus.UNPROCESSABLE_ENTITY, {"message": f"A subscription that is {row['status']} cannot be activated"}
        )
    row |= {"status": "active", "nextPaymentActionDate": row["dateTo"]}
    store.put(KEY, "subscription", row["subscriptionId"], row)
    store.effect(KEY, "reactivated", row["subscriptionId"])


def activate(_: Request, store: Store, number: str) -> Response:
    """`POST /subscriptions/{subscriptionId}/activate`: undoes a cancellation that has not taken effect yet."""
    row = _subscription(store, number)
    _reactivate(store, row)
    return Response(body=row)


def start_switch(request: Request, store: Store) -> Response:
    """`POST /subscription_switches`: 200 means that it was accepted, not that it is done."""
    body = request.json()
    if not isinstance(body, dict):
        raise _switch_refusal("VALIDATION_ERROR", "An object is expected")
    if body.get("switchDirection") not in {"upgrade", "downgrade"}:
        raise _switch_refusal("VALIDATION_ERROR", "switchDirection must be upgrade or downgrade")
    if not isinstance(body.get("toOfferId"), str) or not isinstance(body.get("subscriptionId"), int):
        raise _switch_refusal("VALIDATION_ERROR", "toOfferId and subscriptionId are required")
    row = _subscription(store, str(body["subscriptionId"]))
    target = store.get(KEY, "offer", body["toOfferId"])
    _check_switch(store, row, body["toOfferId"], target)
    upgrade = body["switchDirection"] == "upgrade"
    seconds = (store.get(KEY, "setting", "switch_seconds") or {"value": SWITCH_SECONDS})["value"]
    switch = {
        "id": str(uuid.uuid4()),
        "customerId": row["customerId"],
        "direction": body["switchDirection"],
        "algorithm": "IMMEDIATE_WITH_PRORATION" if upgrade else "DEFERRED",
        "fromOfferId": row["offerId"],
        "toOfferId": body["toOfferId"],
        "subscriptionId": row["subscriptionId"],
        "status": "inprogress" if upgrade else "pending",
        "createdAt": int(store.now()),
        "updatedAt": int(store.now()),
        "dueAt": store.now() + seconds if upgrade else row["dateTo"],
    }
    store.put(KEY, "switch", switch["id"], switch)
    store.put(KEY, "subscription", row["subscriptionId"], row | {"pendingSwitchId": switch["id"]})
    store.effect(KEY, "switch_started", row["subscriptionId"], offer=switch["toOfferId"], switch=switch["id"])
    return Response(body=_shown(switch))


def _switch_refusal(code: str, message: str) -> Refusal:
    return Refusal(HTTPStatus.UNPROCESSABLE_ENTITY, {"code": code, "message": message})


def _check_switch(store: Store, row: Json, target_id: str, target: Json | None) -> None:
    """Refuse with the first of Cleeng's reasons that applies."""
    settings = (store.get(KEY, "setting", "switchable") or {"value": ()})["value"]
    mine = {
        other["offerId"]
        for other in store.all(KEY, "subscription")
        if other["customerId"] == row["customerId"] and other["status"] == "active"
    }
    due = row["nextPaymentActionDate"]
    for refused, code, message in (
        (row["status"] != "active", "VALIDATION_ERROR", "The subscription is not active"),
        (row["paymentGateway"] in EXTERNAL_GATEWAYS, "PAYMENT_GATEWAY_NOT_SUPPORTED", "Its gateway supports no switches"),
        (row["offerId"] == target_id, "SAME_TARGET_OFFER", "The subscription has this offer already"),
        (row["pendingSwitchId"], "SWITCH_IN_PROGRESS", "Another switch is in progress"),
        (row["couponCode"], "SUBSCRIPTION_WITH_COUPON_NOT_ALLOWED", "A subscription with a coupon cannot be switched"),
        (target is not None and not target["active"], "OFFER_INACTIVE", "The offer is not active"),
        (target is not None and not target["price"]["amount"], "TO_FREE_OFFER_NOT_ALLOWED", "A free offer cannot be switched to"),
        (target_id[-3:] != row["offerId"][-3:], "TO_OFFER_COUNTRY_NOT_ALLOWED", "The offer is not for the customer's country"),
        (not {row["offerId"], target_id} <= set(settings), "SWITCH_NOT_DEFINED_IN_SWITCH_SETTINGS", "This switch is not set up"),
        (target_id in mine, "ALREADY_HAS_ACCESS", "The customer has this offer"),
        (due and due - store.now() < 60, "RECURRING_PROCESS_ALREADY_STARTED", "The next payment is being taken"),
    ):  # fmt: skip
        if refused:
            raise _switch_refusal(code, message)


def _shown(switch: Json) -> Json:
    return {name: value for name, value in switch.items() if name != "dueAt"}


def _switch(store: Store, number: str) -> Json:
    switch = store.get(KEY, "switch", number)
    if switch is None:
        raise Refusal(HTTPStatus.NOT_FOUND, {"message": f"Switch {number} not found"})
    return switch


def get_switch(_: Request, store: Store, number: str) -> Response:
    """`GET /subscription_switches/{switchId}`."""
    return Response(body=_shown(_switch(store, number)))


def list_switches(request: Request, store: Store) -> Response:
    """`GET /subscription_switches`: customerId is required; subscriptionId and status narrow it."""
    customer = request.first("customerId")
    if not customer:
        raise Refusal(HTTPStatus.BAD_REQUEST, _list_refusal("customerId is required."))
    found = [
        _shown(switch)
        for switch in store.all(KEY, "switch")
        if str(switch["customerId"]) == customer
        and request.first("subscriptionId", str(switch["subscriptionId"])) == str(switch["subscriptionId"])
        and request.first("status", switch["status"]) == switch["status"]
    ]
    return Response(body={"success": True, "data": found, "message": ""})


def change_switch(request: Request, store: Store, number: str) -> Response:
    """`PATCH /subscription_switches/{switchId}`: cancels one that waits for the end of the period."""
    switch = _switch(store, number)
    if request.json() != {"status": "cancelled"}:
        raise Refusal(HTTPStatus.BAD_REQUEST, {"message": "Only status cancelled can be set"})
    if switch["status"] != "pending":
        raise Refusal(
            HTTPStatus.UNPROCESSABLE_ENTITY, {"message": f"A switch that is {switch['status']} cannot be cancelled"}
        )
    switch |= {"status": "cancelled", "updatedAt": int(store.now())}
    store.put(KEY, "switch", number, switch)
    row = _subscription(store, str(switch["subscriptionId"]))
    store.put(KEY, "subscription", row["subscriptionId"], row | {"pendingSwitchId": None})
    store.effect(KEY, "switch_cancelled", row["subscriptionId"], switch=number)
    return Response(body=_shown(switch))


def list_offers(request: Request, store: Store) -> Response:
    """`GET /offers`: pages of 15 unless `limit` says otherwise, the whole number in `x-total-count`."""
    page, size = _whole(request, "page", 1, 1, 10**6), _whole(request, "limit", 15, 1, 100)
    active, kinds = request.first("active"), request.query.get("type[]", [])
    found = [
        offer
        for offer in store.all(KEY, "offer")
        if (not kinds or offer["type"] in kinds) and (not active or offer["active"] == (active in {"1", "true"}))
    ]
    return Response(body=found[(page - 1) * size : page * size], headers={"x-total-count": str(len(found))})


def list_campaigns(request: Request, store: Store) -> Response:
    """`GET /campaigns`: the campaigns of one coupon code, which is required."""
    code = request.first("couponCode")
    if not COUPON.fullmatch(code):
        raise Refusal(HTTPStatus.BAD_REQUEST, {"message": "couponCode is required", "data": None})
    campaign = store.get(KEY, "campaign", code)
    shown = [{name: value for name, value in campaign.items() if name != "couponCode"}] if campaign else []
    return Response(body={"message": "", "data": shown})


def list_customers(request: Request, store: Store) -> Response:
    """`GET /customers`: by e-mail address or external id; offset and limit are required."""
    email, external = request.first("email").lower(), request.first("externalId")
    if not {"offset", "limit"} <= set(request.query) or not (email or external):
        raise Refusal(HTTPStatus.BAD_REQUEST, _list_refusal("offset, limit and email or externalId are required."))
    offset, limit = _whole(request, "offset", 0, 0, 10**9), _whole(request, "limit", 20, 1, 100)
    found = [
        row
        for row in store.all(KEY, "customer")
        if (not email or row["email"].lower() == email) and (not external or row["externalId"] == external)
    ]
    return Response(body={"success": True, "data": found[offset : offset + limit], "message": ""})


ROUTES: tuple[Route, ...] = (
    ("GET", "/subscriptions", list_subscriptions),
    ("GET", "/subscriptions/([^/]+)", get_subscription),
    ("PATCH", "/subscriptions/([^/]+)", change_subscription),
    ("POST", "/subscriptions/([^/]+)/activate", activate),
    ("POST", "/subscription_switches", start_switch),
    ("GET", "/subscription_switches", list_switches),
    ("GET", "/subscription_switches/([^/]+)", get_switch),
    ("PATCH", "/subscription_switches/([^/]+)", change_switch),
    ("GET", "/offers", list_offers),
    ("GET", "/campaigns", list_campaigns),
    ("GET", "/customers", list_customers),
)


# --- shown to people --------------------------------------------------------------------------------------------------------


def state(store: Store) -> Json:
    """Return this world for the control API."""
    finish_switches(store)
    kinds = {
        "subscriptions": "subscription",
        "switches": "switch",
        "offers": "offer",
        "campaigns": "campaign",
        "customers": "customer",
    }
    return {name: store.all(KEY, kind) for name, kind in kinds.items()}


def tables(store: Store) -> Sequence[Table]:
    """Return what the page shows of this world: title, columns, rows."""
    world = state(store)
    names = {row["id"]: f"{row['firstName']} {row['lastName']}" for row in world["customers"]}
    titles = {offer["longId"]: offer["title"] for offer in world["offers"]}
    subscriptions = [
        (
            row["subscriptionId"],
            names.get(str(row["customerId"]), ""),
            row["customerId"],
            titles.get(row["offerId"], row["offerId"]),
            row["status"],
            row["couponCode"] or "",
            "switch under way" if row["pendingSwitchId"] else "",
        )
        for row in world["subscriptions"]
    ]
    coupons = [
        (row["couponCode"], row["name"], row["status"], row["constraints"]["paymentType"]) for row in world["campaigns"]
    ]
    return [
        ("Subscriptions", ("Id", "Viewer", "Customer id", "Offer", "Status", "Coupon", ""), subscriptions),
        ("Coupons", ("Code", "Discount", "Status", "Payments"), coupons),
    ]


WORLD = World(
    key=KEY,
    label=LABEL,
    setup=setup,
    answer=answer,
    state=state,
    tables=tables,
    seed=seed,
    traits=traits,
)

"""Zuora's v1 API, as its reference describes it (developer.zuora.com/v1-api-reference): what Engage asks of it.

The mount point stands for `https://rest.apisandbox.zuora.com/v1`, and `/token` below it for the host itself, which gives out the
tokens. The tenant has "Orders Harmonization", so that it takes orders, and Subscribe and Amend too. Prices, invoices and payments
are left out; the last invoiced period of everything ends ten days after the start. Days are those of UTC. Where the documentation
is silent (the body for a wrong client secret, whether `statusHistory` shows what is scheduled), this world picks something.
"""

import re
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from http import HTTPStatus
from typing import Any

from connectors.sandbox.http import Refusal, Request, Response, Route, objects, routed
from connectors.sandbox.people import AVA, BEN, CHLOE, DIEGO, FARID, GRACE, HUGO, PEOPLE, Person
from connectors.sandbox.store import Json, Store
from connectors.sandbox.world import Table, World

KEY, LABEL = "zuora", "Zuora"
CLIENT_ID = "sandbox-client-id-not-a-real-credential"
CLIENT_SECRET = "sandbox-secret-not-a-real-credential"  # noqa: S105 - opens nothing but this fake world
TOKEN_SECONDS = 3598
KEYS_KEPT = 86_400  # seconds
MOST = 40  # "the maximum is 40"
PERIODS = {"Day": 1, "Week": 7, "Month": 30, "Year": 365}  # in days, which is near enough here
# The last two digits of a code say what kind of refusal it is.
INVALID, MISSING, RULE, UNKNOWN, SIGN_IN = "20", "22", "30", "40", "11"


def _plan_id(number: int) -> str:
    return f"8ad08f748eb3a4cf018eb4c9a9b2{number:04}"


STANDARD, STANDARD_YEAR, PREMIUM, SPORTS, OLD = (_plan_id(number) for number in range(1, 6))
PRODUCTS: tuple[tuple[str, tuple[tuple[str, str, str], ...]], ...] = (
    ("Standard", ((STANDARD, "Monthly", "Active"), (STANDARD_YEAR, "Yearly", "Active"))),
    ("Premium", ((PREMIUM, "Monthly", "Active"),)),
    ("Sports", ((SPORTS, "Monthly", "Active"), (OLD, "Founders", "Expired"))),
)
PLANS = {plan: f"{product}: {name}" for product, plans in PRODUCTS for plan, name, _ in plans}


def _account(person: Person) -> str:
    return f"A{person.number:08}"


def _today(store: Store) -> date:
    return datetime.fromtimestamp(store.now(), UTC).date()


def _add(store: Store, account: str, plans: Sequence[str], starts: date, **changes: Any) -> Json:
    """Put a new subscription into the world."""
    number = f"A-S{len(store.all(KEY, 'subscription')) + 1:08}"
    ends = (starts + timedelta(days=365)).isoformat()
    row = {
        "subscriptionNumber": number,
        "accountNumber": account,
        "termType": "TERMED",
        "autoRenew": True,
        "termStartDate": starts.isoformat(),
        "termEndDate": ends,
        "subscriptionEndDate": ends,
        "ratePlans": [],
        "statusHistory": [{"status": "Active", "startDate": starts.isoformat(), "endDate": None}],
        **changes,
    }
    for plan in plans:
        _put_plan(row, plan)
    store.put(KEY, "subscription", number, row)
    return row


def _put_plan(row: Json, plan: str) -> None:
    number = f"{row['subscriptionNumber']}-{len(row['ratePlans']) + 1}"
    product, name = PLANS[plan].split(": ")
    shown = {"productName": product, "ratePlanName": name, "lastChangeType": "New"}
    row["ratePlans"].append({"id": number, "productRatePlanId": plan, **shown})


def _turn(row: Json, status: str, day: date) -> None:
    """Give a subscription another status from a day on, whatever was to come after it."""
    on = day.isoformat()
    kept = [one for one in row["statusHistory"] if one["startDate"] < on]
    if kept:
        kept[-1]["endDate"] = on
    row["statusHistory"] = [*kept, {"status": status, "startDate": on, "endDate": None}]


def _status(store: Store, row: Json) -> str:
    today = _today(store).isoformat()
    begun = [one["status"] for one in row["statusHistory"] if one["startDate"] <= today]
    return str(begun[-1] if begun else "Pending Activation")


def _shown(store: Store, row: Json) -> Json:
    return {**row, "status": _status(store, row)}


def seed(store: Store, more: Json | None = None) -> None:
    """Fill the world with an account for everybody; with `more`, put these `subscriptions` (as `state` shows them) into it."""
    for row in (more or {}).get("subscriptions", ()):
        store.put(KEY, "subscription", row["subscriptionNumber"], row)
    if more is not None:
        return
    today = _today(store)
    store.put(KEY, "setting", "invoiced_to", {"value": (today + timedelta(days=10)).isoformat()})
    for person in PEOPLE:
        known = {"accountNumber": _account(person), "name": f"{person.first} {person.last}"}
        store.put(KEY, "account", known["accountNumber"], known)
    for number, (person, plans, changes) in enumerate(_bought(), start=1):
        row = _add(store, _account(person), plans, today - timedelta(days=20 * number), **changes)
        if person is BEN:
            _turn(row, "Cancelled", date.fromisoformat(row["termEndDate"]))
        if person is CHLOE:
            _turn(row, "Suspended", today - timedelta(days=3))
        if person is HUGO:
            _turn(row, "Cancelled", today - timedelta(days=3))
            row["subscriptionEndDate"] = (today - timedelta(days=3)).isoformat()
        store.put(KEY, "subscription", row["subscriptionNumber"], row)


def _bought() -> tuple[tuple[Person, tuple[str, ...], Json], ...]:
    """Return who has which plans, and what is particular of it. Emma has none."""
    return (
        (AVA, (STANDARD,), {}),
        (BEN, (STANDARD,), {}),
        (CHLOE, (STANDARD,), {}),
        (DIEGO, (STANDARD,), {}),
        (DIEGO, (SPORTS,), {}),
        (FARID, (STANDARD_YEAR,), {"autoRenew": False}),
        (GRACE, (PREMIUM, SPORTS), {"termType": "EVERGREEN", "termEndDate": None, "subscriptionEndDate": None}),
        (HUGO, (PREMIUM,), {}),
    )


def setup(_: Store) -> Mapping[str, str]:
    """Return the settings of the connection."""
    return {
        "data_center": "us_sandbox",
        "client_id": CLIENT_ID,
        "client_secret": CLIENT_SECRET,
        "tenant_model": "orders",
        "time_zone": "UTC",
        "zuora_version": "211.0",
    }


def traits(person: Person) -> Mapping[str, str]:
    """Return the account's number."""
    return {"account_number": _account(person)}


# --- what it answers ------------------------------------------------------------------------------------------------------


def _no(category: str, message: str, status: int = HTTPStatus.OK) -> Refusal:
    """A refusal, which is mostly inside a 200."""
    code = int(f"900000{category}" if category == SIGN_IN else f"531003{category}")
    return Refusal(status, _refused(code, message))


def _refused(code: int, message: str) -> Json:
    return {
        "success": False,
        "processId": uuid.uuid4().hex.upper()[:16],
        "reasons": [{"code": code, "message": message}],
    }


def answer(request: Request, store: Store) -> Response:
    """Answer one request, inside the store's transaction; to a key of the last 24 hours, what was answered to it then."""
    if request.path == "/token/oauth/token":
        return routed(request, store, (("POST", "/token/oauth/token", token),))
    known = store.get(KEY, "token", request.bearer())
    if known is None or known["until"] <= store.now():
        return _no(SIGN_IN, "Authentication error", HTTPStatus.UNAUTHORIZED).response
    key = request.headers.get("idempotency-key") if request.method == "POST" else None
    first = store.get(KEY, "answer", key) if key else None
    if first and first["at"] > store.now() - KEYS_KEPT:
        return Response(first["status"], first["body"])
    response = routed(request, store, ROUTES, lambda status: _refused(50000040, status.phrase))
    if key:
        kept = {"at": store.now(), "status": int(response.status), "body": response.body}
        store.put(KEY, "answer", key, kept)
    return response


def token(request: Request, store: Store) -> Response:
    """`POST /oauth/token`: for the client's id and secret."""
    form = {name: values[0] for name, values in request.form().items()}
    wished = {"grant_type": "client_credentials", "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}
    if form != wished:
        raise Refusal(
            HTTPStatus.UNAUTHORIZED, {"error": "invalid_client", "error_description": "Invalid client id or secret"}
        )
    made = uuid.uuid4().hex
    store.put(KEY, "token", made, {"until": store.now() + TOKEN_SECONDS})
    told = {"access_token": made, "token_type": "bearer", "expires_in": TOKEN_SECONDS}
    return Response(body={**told, "scope": "tenant.1", "jti": made})


def _page(request: Request, rows: Sequence[Json], member: str) -> Response:
    page, size = request.first("page", "1"), request.first("pageSize", "20")
    if not all(number.isdecimal() and int(number[:9]) > 0 for number in (page, size)) or int(size[:9]) > MOST:
        raise _no(INVALID, f"pageSize is 1 to {MOST}, and page begins at 1.")
    start, count = (int(page[:9]) - 1) * int(size), int(size)
    following = f"https://rest.apisandbox.zuora.com/v1{request.path}?page={int(page[:9]) + 1}&pageSize={count}"
    more = {"nextPage": following} if start + count < len(rows) else {}
    return Response(body={member: rows[start : start + count], **more, "success": True})


def products(request: Request, _: Store) -> Response:
    """`GET /catalog/products`: with their rate plans, as before version 230.0."""
    rows = [
        {
            "id": f"8ad08f748eb3a4cf018eb4c9a9a0{number:04}",
            "name": product,
            "productRatePlans": [{"id": plan, "name": name, "status": status} for plan, name, status in plans],
        }
        for number, (product, plans) in enumerate(PRODUCTS, start=1)
    ]
    return _page(request, rows, "products")


def subscriptions_of(request: Request, store: Store, account: str) -> Response:
    """`GET /subscriptions/accounts/{account-key}`: in every status."""
    _known(store, "account", account)
    rows = [_shown(store, row) for row in store.all(KEY, "subscription") if row["accountNumber"] == account]
    return _page(request, rows, "subscriptions")


def _known(store: Store, kind: str, number: Any) -> Json:
    row = store.get(KEY, kind, number)
    if row is None:
        raise _no(UNKNOWN, f"Cannot find entity by key: '{number}'.")
    return row


def _part(body: Json, name: str) -> Json:
    part = body.get(name)
    if not isinstance(part, dict):
        raise _no(MISSING, f"{name} is required.")
    return part


def _day(value: Any, name: str) -> date:
    if not isinstance(value, str) or not re.fullmatch(r"20\d\d-\d\d-\d\d", value):
        raise _no(INVALID, f"{name} must be a date in the format yyyy-mm-dd.")
    try:
        return date.fromisoformat(value)
    except ValueError:
        raise _no(INVALID, f"{name} is no day of the calendar.") from None


def order(request: Request, store: Store) -> Response:
    """`POST /orders`: with one action on one subscription, which is all that Engage asks for."""
    body = request.members()
    _day(body.get("orderDate"), "orderDate")
    account = _known(store, "account", body.get("existingAccountNumber"))["accountNumber"]
    parts = objects(body.get("subscriptions"))
    actions = objects(parts[0].get("orderActions")) if len(parts) == 1 else []
    if len(actions) != 1:
        raise _no(INVALID, "One subscription with one order action is expected here.")
    action = actions[0]
    kind = str(action.get("type"))
    if kind not in ORDERED:
        raise _no(INVALID, f"The order action type {kind} is not supported.")
    if kind not in ("Suspend", "Resume"):  # which name their days themselves
        dates = {str(one.get("name")): one.get("triggerDate") for one in objects(action.get("triggerDates"))}
        starts = _day(dates.get("ContractEffective"), "triggerDate")
    if kind == "CreateSubscription":
        made = _part(action, "createSubscription")
        terms = _part(made, "terms")
        kind_of_term = _part(terms, "initialTerm").get("termType")
        row = _create(store, account, made, starts, kind_of_term, terms.get("autoRenew"))
    else:
        row = _known(store, "subscription", parts[0].get("subscriptionNumber"))
        member, change = ORDERED[kind]
        change(store, row, _part(action, member))
    number = f"O-{len(store.all(KEY, 'order')) + 1:08}"
    made = {"orderNumber": number, "accountNumber": account, "status": "Completed"}
    store.put(KEY, "order", number, made)
    return Response(body={**made, "subscriptionNumbers": [row["subscriptionNumber"]], "success": True})


def subscribe(request: Request, store: Store) -> Response:
    """`POST /subscriptions`: Subscribe and Amend's way."""
    body = request.members()
    account = _known(store, "account", body.get("accountKey"))["accountNumber"]
    starts = _day(body.get("contractEffectiveDate"), "contractEffectiveDate")
    row = _create(store, account, body, starts, body.get("termType"), body.get("autoRenew"))
    return Response(body={**_amended(row), "subscriptionNumber": row["subscriptionNumber"]})


def amend(request: Request, store: Store, number: str) -> Response:
    """`PUT /subscriptions/{subscription-key}`: plans that come and go, and whether it renews."""
    row, body = _known(store, "subscription", number), request.members()
    added, removed = objects(body.get("add")), objects(body.get("remove"))
    if not added and not removed and "autoRenew" not in body:
        raise _no(MISSING, "add, remove or autoRenew is required.")
    for one in added:
        _add_product(store, row, one)
    for one in removed:
        _remove_product(store, row, one)
    if "autoRenew" in body:
        _set_terms(store, row, body)
    return Response(body=_amended(row))


def amend_state(request: Request, store: Store, number: str, verb: str) -> Response:
    """`PUT /subscriptions/{subscription-key}/cancel`, `/suspend` and `/resume`."""
    row = _known(store, "subscription", number)
    change, member = AMENDED[verb]
    return Response(body={**_amended(row), member: change(store, row, request.members())})


def _amended(row: Json) -> Json:
    return {"success": True, "subscriptionId": uuid.uuid5(uuid.NAMESPACE_URL, row["subscriptionNumber"]).hex}


def _create(store: Store, account: str, made: Json, starts: date, term: Any, renews: Any) -> Json:
    plans = [str(one.get("productRatePlanId")) for one in objects(made.get("subscribeToRatePlans"))]
    if not plans or term not in ("TERMED", "EVERGREEN"):
        raise _no(MISSING, "subscribeToRatePlans and a termType are required.")
    known = [_sold(plan) for plan in plans]
    endless = {"termType": "EVERGREEN", "termEndDate": None, "subscriptionEndDate": None}
    changes = endless if term == "EVERGREEN" else {"autoRenew": renews is True}
    row = _add(store, account, known, starts, **changes)
    told = ", ".join(PLANS[plan] for plan in known)
    store.effect(KEY, "subscription_created", row["subscriptionNumber"], account=account, plans=told)
    return row


def _sold(plan: str) -> str:
    if plan not in PLANS or plan == OLD:
        raise _no(INVALID, f"The product rate plan {plan} is invalid or not effective.")
    return plan


def _check(store: Store, row: Json, *statuses: str) -> None:
    status = _status(store, row)
    if status not in statuses:
        raise _no(RULE, f"Subscription {row['subscriptionNumber']} is {status}, which does not allow this.")


def _keep(store: Store, row: Json, effect: str, **detail: Any) -> None:
    store.put(KEY, "subscription", row["subscriptionNumber"], row)
    store.effect(KEY, effect, row["subscriptionNumber"], **detail)


def _add_product(store: Store, row: Json, wish: Json) -> None:
    _check(store, row, "Active")
    plan = _sold(str(wish.get("productRatePlanId")))
    _put_plan(row, plan)
    _keep(store, row, "plan_added", plan=PLANS[plan])


def _remove_product(store: Store, row: Json, wish: Json) -> None:
    _check(store, row, "Active")
    held = [one for one in row["ratePlans"] if one["lastChangeType"] != "Remove"]
    plan = next((one for one in held if one["id"] == wish.get("ratePlanId")), None)
    if plan is None:
        raise _no(INVALID, f"The rate plan {wish.get('ratePlanId')} is not part of the subscription.")
    plan["lastChangeType"] = "Remove"
    _keep(store, row, "plan_removed", plan=PLANS[plan["productRatePlanId"]])


def _set_terms(store: Store, row: Json, wish: Json) -> None:
    _check(store, row, "Active")
    if not isinstance(wish.get("autoRenew"), bool):
        raise _no(INVALID, "autoRenew must be true or false.")
    row["autoRenew"] = wish["autoRenew"]
    _keep(store, row, "auto_renew_changed", auto_renew=row["autoRenew"])


def _cancel(store: Store, row: Json, wish: Json) -> str:
    _check(store, row, "Active", "Suspended")
    policy = wish.get("cancellationPolicy")
    if policy == "EndOfCurrentTerm" and row["termType"] == "TERMED":
        day = _day(row["termEndDate"], "termEndDate")
    elif policy == "EndOfLastInvoicePeriod":
        day = _invoiced_to(store)
    elif policy == "SpecificDate":
        day = _day(wish.get("cancellationEffectiveDate"), "cancellationEffectiveDate")
    else:
        raise _no(INVALID, f"The cancellation policy {policy} is invalid for this subscription.")
    _turn(row, "Cancelled", day)
    row["subscriptionEndDate"] = day.isoformat()
    _keep(store, row, "cancelled", on=day.isoformat())
    return day.isoformat()


def _suspend(store: Store, row: Json, wish: Json) -> str:
    _check(store, row, "Active")
    day = _wished_day(store, row, "suspend", wish)
    _turn(row, "Suspended", day)
    _keep(store, row, "suspended", on=day.isoformat())
    return day.isoformat()


def _resume(store: Store, row: Json, wish: Json) -> str:
    _check(store, row, "Suspended")
    day = _wished_day(store, row, "resume", wish)
    _turn(row, "Active", day)
    if wish.get("extendsTerm") is True and row["termEndDate"]:
        paused = day - date.fromisoformat(_suspended_on(row))
        row["termEndDate"] = row["subscriptionEndDate"] = (date.fromisoformat(row["termEndDate"]) + paused).isoformat()
    _keep(store, row, "resumed", on=day.isoformat())
    return day.isoformat()


def _suspended_on(row: Json) -> str:
    return str([one["startDate"] for one in row["statusHistory"] if one["status"] == "Suspended"][-1])


def _invoiced_to(store: Store) -> date:
    return date.fromisoformat(_known(store, "setting", "invoiced_to")["value"])


def _wished_day(store: Store, row: Json, verb: str, wish: Json) -> date:
    """Return the day that a policy means; the number of periods is a text in Subscribe and Amend, and a number in an order."""
    policy = str(wish.get(f"{verb}Policy"))
    if policy == "Today":
        return _today(store)
    if policy == "SpecificDate":
        return _day(wish.get(f"{verb}SpecificDate"), f"{verb}SpecificDate")
    if policy == "EndOfLastInvoicePeriod" and verb == "suspend":
        return _invoiced_to(store)
    starts = {"FixedPeriodsFromToday": _today(store)}
    if verb == "resume":
        starts["FixedPeriodsFromSuspendDate"] = date.fromisoformat(_suspended_on(row))
    number, kind = str(wish.get(f"{verb}Periods")), str(wish.get(f"{verb}PeriodsType"))
    if policy not in starts or not number.isdecimal() or len(number) > 3 or kind not in PERIODS:
        raise _no(INVALID, f"{verb}Policy, {verb}Periods and {verb}PeriodsType do not name a day.")
    return starts[policy] + timedelta(days=int(number) * PERIODS[kind])


ORDERED: Mapping[Any, tuple[str, Any]] = {
    "CreateSubscription": ("createSubscription", _create),
    "AddProduct": ("addProduct", _add_product),
    "RemoveProduct": ("removeProduct", _remove_product),
    "CancelSubscription": ("cancelSubscription", _cancel),
    "Suspend": ("suspend", _suspend),
    "Resume": ("resume", _resume),
    "TermsAndConditions": ("termsAndConditions", _set_terms),
}
AMENDED = {
    "cancel": (_cancel, "cancelledDate"),
    "suspend": (_suspend, "suspendDate"),
    "resume": (_resume, "resumeDate"),
}
ROUTES: tuple[Route, ...] = (
    ("GET", "/catalog/products", products),
    ("GET", "/subscriptions/accounts/([^/]+)", subscriptions_of),
    ("POST", "/orders", order),
    ("POST", "/subscriptions", subscribe),
    ("PUT", "/subscriptions/([^/]+)", amend),
    ("PUT", "/subscriptions/([^/]+)/(cancel|suspend|resume)", amend_state),
)


# --- shown to people ------------------------------------------------------------------------------------------------------


def state(store: Store) -> Json:
    """Return this world for the control API."""
    subscriptions = [_shown(store, row) for row in store.all(KEY, "subscription")]
    return {"accounts": store.all(KEY, "account"), "subscriptions": subscriptions, "orders": store.all(KEY, "order")}


def tables(store: Store) -> Sequence[Table]:
    """Return what the page shows of this world: the subscriptions, and the rate plans there are."""
    world = state(store)
    names = {row["accountNumber"]: row["name"] for row in world["accounts"]}
    rows = [
        (
            row["subscriptionNumber"],
            names.get(row["accountNumber"], ""),
            row["accountNumber"],
            ", ".join(PLANS[one["productRatePlanId"]] for one in row["ratePlans"] if one["lastChangeType"] != "Remove"),
            row["status"] + _ahead(row),
            "renews" if row["autoRenew"] else "does not renew",
        )
        for row in world["subscriptions"]
    ]
    return [
        ("Subscriptions", ("Number", "Viewer", "Account", "Rate plans", "Status", "At its end"), rows),
        ("Rate plans", ("Id", "Name"), list(PLANS.items())),
    ]


def _ahead(row: Json) -> str:
    last = row["statusHistory"][-1]
    return f", {last['status'].lower()} from {last['startDate']} on" if last["status"] != row["status"] else ""


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

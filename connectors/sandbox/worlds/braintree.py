"""Braintree's XML API, version 6, as its reference and its official SDK describe it: what Engage asks of it.

The mount point stands for `https://api.sandbox.braintreegateway.com`. Farid's card is declined, Grace has no payment method, and
Ben pays by PayPal. Transactions are left out, and what time does: nothing renews. Where the documentation is silent (the bodies of
401 and 404), this world picks something.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any
from xml.etree.ElementTree import Element, ParseError
from xml.sax.saxutils import escape

from defusedxml import DefusedXmlException, ElementTree

from connectors.sandbox.http import Refusal, Request, Response, Route, objects, routed
from connectors.sandbox.people import AVA, BEN, CHLOE, DIEGO, FARID, GRACE, HUGO, PEOPLE, Person
from connectors.sandbox.store import Json, Store
from connectors.sandbox.world import Table, World

KEY, LABEL = "braintree", "Braintree"
MERCHANT = "streamlysandbox1"
PUBLIC_KEY = "sandbox_public_key"
PRIVATE_KEY = "sandboxPrivateKeyThatOpensNothing"
MERCHANT_ACCOUNT = "streamly_usd"
VERSION = "6"
DAY = 86_400
PAGE = 50
OVER = ("Canceled", "Expired")
TYPES = {"created-at": "datetime", "updated-at": "datetime", "next-billing-date": "date", "first-billing-date": "date"}
"""Of elements that hold more than text."""

PLANS = (("basic", "Basic", "7.99"), ("standard", "Standard", "11.99"), ("premium", "Premium", "15.99"))
DISCOUNTS = (("save2", "2 dollars off", "2.00"), ("first_month", "First month free", "7.99"))


def customer_id(person: Person) -> str:
    """Return Braintree's id of somebody."""
    return f"8200000{person.number}"


def _token(person: Person) -> str:
    return f"method{person.number}"


def _day(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).date().isoformat()


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _subscription(number: str, token: str, plan: str, starts: float, **changes: Any) -> Json:
    return {
        "id": number,
        "plan-id": plan,
        "status": "Active",
        "price": next(price for code, _, price in PLANS if code == plan),
        "balance": "0.00",
        "payment-method-token": token,
        "merchant-account-id": MERCHANT_ACCOUNT,
        "first-billing-date": _day(starts),
        "next-billing-date": _day(starts + 30 * DAY),
        "current-billing-cycle": 1,
        "never-expires": True,
        "created-at": _moment(starts),
        "updated-at": _moment(starts),
        "add-ons": [],
        "discounts": [],
        "transactions": [],
        **changes,
    }


def seed(store: Store, more: Json | None = None) -> None:
    """Fill the world with a customer for everybody; with `more`, put these `subscriptions` (as `state` shows them) into it."""
    for row in (more or {}).get("subscriptions", ()):
        store.put(KEY, "subscription", row["id"], row)
    if more is not None:
        return
    begun = store.now() - 10 * DAY
    for person in PEOPLE:
        known = {"id": customer_id(person), "first-name": person.first, "last-name": person.last, "email": person.email}
        store.put(KEY, "customer", known["id"], known | {"created-at": _moment(begun), "updated-at": _moment(begun)})
        if person is not GRACE:
            method = {"token": _token(person), "customer-id": known["id"], "default": True}
            store.put(KEY, "method", method["token"], method | _means(person))
        for number, (plan, changes) in enumerate(_bought().get(person, ()), start=1):
            row = _subscription(f"sub{person.number}{number}", _token(person), plan, begun, **changes)
            store.put(KEY, "subscription", row["id"], row)


def _means(person: Person) -> Json:
    """Return with what somebody pays."""
    if person is BEN:
        return {"kind": "paypal-accounts", "email": person.email}
    card = {"bin": "411111", "last-4": "1111", "card-type": "Visa", "expiration-month": "12", "expiration-year": "2030"}
    return {"kind": "credit-cards", "expired": False, **card}


def _bought() -> Mapping[Person, Sequence[tuple[str, Json]]]:
    """Return who has which plans, and what is particular of it. Emma and Grace have none."""
    return {
        AVA: [("standard", {})],
        BEN: [("premium", {"status": "Past Due", "balance": "15.99"})],
        CHLOE: [("basic", {"discounts": [_discount("save2")]})],
        DIEGO: [("basic", {}), ("standard", {})],
        FARID: [("standard", {})],
        HUGO: [("premium", {"status": "Canceled"})],
    }


def _discount(code: str) -> Json:
    name, amount = next((name, amount) for known, name, amount in DISCOUNTS if known == code)
    return {"id": code, "name": name, "amount": amount, "kind": "discount", "quantity": 1, "never-expires": True}


def setup(_: Store) -> Mapping[str, str]:
    """Return the settings of the connection."""
    return {
        "environment": "sandbox",
        "merchant_id": MERCHANT,
        "public_key": PUBLIC_KEY,
        "private_key": PRIVATE_KEY,
        "traits_for": "trait",
    }


def traits(person: Person) -> Mapping[str, str]:
    """Return the customer's id."""
    return {"braintree_id": customer_id(person)}


# --- XML ------------------------------------------------------------------------------------------------------------------


def written(name: str, value: Any) -> str:
    """Return an element as Braintree writes it; a list's elements have its name without the s, and a tuple is several of them."""
    if isinstance(value, tuple):
        return "".join(written(name, each) for each in value)
    if isinstance(value, Mapping):
        return f"<{name}>{''.join(written(one, each) for one, each in value.items())}</{name}>"
    if isinstance(value, list):
        one = "item" if name == "ids" else name.removesuffix("s")
        return f'<{name} type="array">{"".join(written(one, each) for each in value)}</{name}>'
    if value is None:
        return f'<{name} nil="true"/>'
    kind = "boolean" if isinstance(value, bool) else "integer" if isinstance(value, int) else TYPES.get(name)
    text = str(value).lower() if isinstance(value, bool) else escape(str(value))
    return f'<{name} type="{kind}">{text}</{name}>' if kind else f"<{name}>{text}</{name}>"


def read(request: Request, name: str) -> Json:
    """Return what stands in a body whose root has this name.

    Raises:
        Refusal: it is no XML, or another thing.

    """
    try:
        root = ElementTree.fromstring(request.content, forbid_dtd=True)
    except (ParseError, DefusedXmlException, ValueError):
        raise Refusal(HTTPStatus.BAD_REQUEST, None) from None
    told = _value(root)
    if root.tag != name or not isinstance(told, dict):
        raise Refusal(HTTPStatus.BAD_REQUEST, None)
    return told


def _value(element: Element) -> Any:
    if element.get("type") == "array":
        return [_value(child) for child in element]
    return {child.tag: _value(child) for child in element} if len(element) else element.text or ""


# --- what it answers ------------------------------------------------------------------------------------------------------


def _no(code: str, attribute: str, message: str, **more: Any) -> Refusal:
    error = {"code": code, "attribute": attribute, "message": message}
    errors = {"errors": [], "subscription": {"errors": [error]}}
    return Refusal(
        HTTPStatus.UNPROCESSABLE_ENTITY, {"api-error-response": {"errors": errors, "message": message, **more}}
    )


def answer(request: Request, store: Store) -> Response:
    """Answer one request, inside the store's transaction. What answers it gives an object with the root for its only member."""
    if request.basic() != (PUBLIC_KEY, PRIVATE_KEY):
        return Response(HTTPStatus.UNAUTHORIZED, raw="HTTP Basic: Access denied.\n", content_type="text/plain")
    if request.headers.get("x-apiversion") != VERSION:
        return Response(HTTPStatus.UPGRADE_REQUIRED, raw="", content_type="application/xml")
    told = routed(request, store, ROUTES, lambda _: None)
    document = "".join(written(name, value) for name, value in (told.body or {}).items())
    head = '<?xml version="1.0" encoding="UTF-8"?>\n' if document else ""
    return Response(told.status, raw=head + document, content_type="application/xml; charset=utf-8")


def _known(store: Store, kind: str, number: str) -> Json:
    row = store.get(KEY, kind, number)
    if row is None:
        raise Refusal(HTTPStatus.NOT_FOUND, None)
    return row


def _method(store: Store, row: Json) -> Json:
    """Return a payment method with its subscriptions."""
    of = [one for one in store.all(KEY, "subscription") if one["payment-method-token"] == row["token"]]
    return {name: value for name, value in row.items() if name != "kind"} | {"subscriptions": of}


def _customer(store: Store, row: Json) -> Json:
    methods = [method for method in store.all(KEY, "method") if method["customer-id"] == row["id"]]
    kinds = ("credit-cards", "paypal-accounts")
    of = {kind: [_method(store, method) for method in methods if method["kind"] == kind] for kind in kinds}
    return row | {"merchant-id": MERCHANT, "addresses": []} | of


def plans(_: Request, __: Store) -> Response:
    """`GET /plans/`: all at once."""
    more = {"currency-iso-code": "USD", "billing-frequency": 1, "add-ons": [], "discounts": []}
    return Response(body={"plans": [{"id": code, "name": name, "price": price, **more} for code, name, price in PLANS]})


def discounts(_: Request, __: Store) -> Response:
    """`GET /discounts/`: all at once."""
    return Response(body={"discounts": [_discount(code) for code, _, _ in DISCOUNTS]})


def customer(_: Request, store: Store, number: str) -> Response:
    """`GET /customers/{id}`: with the payment methods by their kinds, and what is paid by each."""
    return Response(body={"customer": _customer(store, _known(store, "customer", number))})


def _found(request: Request, store: Store) -> list[Json]:
    """Return the customers that a search is for.

    Raises:
        Refusal: it asks for something that is not known here.

    """
    criteria = read(request, "search")
    if unknown := set(criteria) - set(SEARCHED):
        raise _no("00000", "search", f"This sandbox does not search by {', '.join(unknown)}.")
    rows = store.all(KEY, "customer")
    return [row for row in rows if all(SEARCHED[name](row, asked) for name, asked in criteria.items())]


SEARCHED: Mapping[str, Callable[[Json, Any], bool]] = {
    "email": lambda row, asked: isinstance(asked, dict) and row["email"] == asked.get("is"),
    "ids": lambda row, asked: row["id"] in asked,
    "created_at": lambda row, asked: (
        isinstance(asked, dict) and asked.get("min", "") <= row["created-at"] <= asked.get("max", "9")
    ),
}


def search_ids(request: Request, store: Store) -> Response:
    """`POST /customers/advanced_search_ids`: all ids that a search finds."""
    ids = [row["id"] for row in _found(request, store)]
    return Response(body={"search-results": {"page-size": PAGE, "ids": ids}})


def search(request: Request, store: Store) -> Response:
    """`POST /customers/advanced_search`: what some of the ids stand for."""
    rows = [_customer(store, row) for row in _found(request, store)][:PAGE]
    return Response(body={"customers": {"current-page-number": 1, "page-size": PAGE, "customer": tuple(rows)}})


def payment_method(_: Request, store: Store, token: str) -> Response:
    """`GET /payment_methods/any/{token}`: its root says of which kind it is."""
    row = _known(store, "method", token)
    return Response(body={row["kind"].removesuffix("s"): _method(store, row)})


def subscription(_: Request, store: Store, number: str) -> Response:
    """`GET /subscriptions/{id}`."""
    return Response(body={"subscription": _known(store, "subscription", number)})


def _added(told: Json, kept: Sequence[Json]) -> list[Json]:
    """Return the discounts that a request adds."""
    asked = told.get("discounts")
    codes = [
        str(one.get("inherited_from_id")) for one in objects((asked if isinstance(asked, dict) else {}).get("add"))
    ]
    for code in codes:
        if code not in [known for known, _, _ in DISCOUNTS]:
            raise _no("92013", "inherited_from_id", "Inherited From ID is invalid.")
        if code in [row["id"] for row in kept]:
            raise _no("91911", "base", "Cannot add duplicate add-on or discount.")
    return [_discount(code) for code in codes]


def subscribe(request: Request, store: Store) -> Response:
    """`POST /subscriptions`: under an id of the merchant's choice, which nothing else may have."""
    told = read(request, "subscription")
    number = told.get("id") or f"made{len(store.all(KEY, 'subscription')) + 1}"
    if not isinstance(number, str) or not re.fullmatch(r"[\w-]{1,36}", number, re.ASCII):
        raise _no("81906", "id", "ID is invalid (use only letters, numbers, '-', and '_').")
    if store.get(KEY, "subscription", number):
        raise _no("81902", "id", "ID has already been taken.")
    method = store.get(KEY, "method", told.get("payment_method_token"))
    if method is None:
        raise _no("91903", "payment_method_token", "Payment method token is invalid.")
    plan = told.get("plan_id")
    if plan not in [code for code, _, _ in PLANS]:
        raise _no("91904", "plan_id", "Plan ID is invalid.")
    if told.get("merchant_account_id", MERCHANT_ACCOUNT) != MERCHANT_ACCOUNT:
        raise _no("91901", "merchant_account_id", "Merchant Account ID is invalid.")
    added = _added(told, ())
    if method["customer-id"] == customer_id(FARID):
        declined = {"status": "processor_declined", "processor-response-code": "2000"}
        words = {"errors": {"errors": []}, "message": "Do Not Honor", "transaction": declined}
        raise Refusal(HTTPStatus.UNPROCESSABLE_ENTITY, {"api-error-response": words})
    row = _subscription(number, method["token"], str(plan), store.now(), discounts=added)
    store.put(KEY, "subscription", number, row)
    codes = ", ".join(one["id"] for one in added)
    store.effect(KEY, "subscribed", method["customer-id"], plan=plan, discounts=codes)
    return Response(HTTPStatus.CREATED, {"subscription": row})


def update(request: Request, store: Store, number: str) -> Response:
    """`PUT /subscriptions/{id}`: discounts are added to those that it has."""
    row, told = _known(store, "subscription", number), read(request, "subscription")
    if row["status"] in OVER:
        code = "81901" if row["status"] == "Canceled" else "81910"
        raise _no(code, "base", f"Subscription has already been {row['status'].lower()}.")
    added = _added(told, row["discounts"])
    if added and row["status"] == "Past Due":
        raise _no("91920", "base", "Cannot edit price changing fields on past due subscription.")
    row |= {"discounts": [*row["discounts"], *added], "updated-at": _moment(store.now())}
    store.put(KEY, "subscription", number, row)
    for one in added:
        store.effect(KEY, "discount_added", number, discount=one["id"])
    return Response(body={"subscription": row})


OF = f"/merchants/{MERCHANT}"
ROUTES: tuple[Route, ...] = (
    ("GET", f"{OF}/plans/", plans),
    ("GET", f"{OF}/discounts/", discounts),
    ("GET", f"{OF}/customers/([^/]+)", customer),
    ("POST", f"{OF}/customers/advanced_search_ids", search_ids),
    ("POST", f"{OF}/customers/advanced_search", search),
    ("GET", f"{OF}/payment_methods/any/([^/]+)", payment_method),
    ("GET", f"{OF}/subscriptions/([^/]+)", subscription),
    ("POST", f"{OF}/subscriptions", subscribe),
    ("PUT", f"{OF}/subscriptions/([^/]+)", update),
)


# --- shown to people ------------------------------------------------------------------------------------------------------


def state(store: Store) -> Json:
    """Return this world for the control API."""
    return {f"{kind}s": store.all(KEY, kind) for kind in ("customer", "method", "subscription")}


def tables(store: Store) -> Sequence[Table]:
    """Return what the page shows of this world: the subscriptions, and the discounts there are."""
    world = state(store)
    names = {row["id"]: f"{row['first-name']} {row['last-name']}" for row in world["customers"]}
    owners = {row["token"]: row["customer-id"] for row in world["methods"]}
    rows = [
        (
            row["id"],
            names[owners[row["payment-method-token"]]],
            owners[row["payment-method-token"]],
            row["plan-id"],
            row["status"],
            ", ".join(one["id"] for one in row["discounts"]),
            row["next-billing-date"],
        )
        for row in world["subscriptions"]
    ]
    columns = ("Id", "Customer", "Customer id", "Plan", "Status", "Discounts", "Next billing")
    return [("Subscriptions", columns, rows), ("Discounts", ("Id", "Name", "Amount"), DISCOUNTS)]


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

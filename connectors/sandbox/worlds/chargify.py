"""Chargify, now Maxio Advanced Billing, as its reference describes it (developers.maxio.com): what Engage asks of it.

The mount point stands for a site, `https://example.chargify.com`. Prices, invoices and refunds are left out, and how a charge is
paid: every payment profile here pays. Where the documentation is silent (the body of a 401), this world picks something.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

from connectors.sandbox.http import Refusal, Request, Response, Route, routed
from connectors.sandbox.people import AVA, BEN, CHLOE, DIEGO, FARID, GRACE, HUGO, PEOPLE, Person
from connectors.sandbox.store import Json, Store
from connectors.sandbox.world import Table, World

KEY, LABEL = "chargify", "Chargify"
API_KEY = "sandbox-not-a-real-credential-0000"
DAY = 86_400
REMEMBERED = 3600  # seconds for which a uniqueness token is refused
MOST = 200  # "any per_page value over 200 will be changed to 200"
OVER = ("canceled", "expired", "failed_to_create", "trial_ended")
FIRST_CUSTOMER, FIRST_SUBSCRIPTION = 8100, 93000
STANDARD, PREMIUM, SPORTS, FREE = 7001, 7002, 7003, 7004


def _product(number: int, name: str, family: tuple[int, str], **more: Any) -> Json:
    known = {"id": number, "name": name, "product_family": {"id": family[0], "name": family[1]}}
    return {**known, "archived_at": None, "require_credit_card": True, **more}


def _coupon(number: int, code: str, name: str, family: int, **more: Any) -> Json:
    known = {"id": number, "code": code, "name": name, "product_family_id": family, "coupon_restrictions": []}
    return {**known, "archived_at": None, "end_date": None, **more}


VIDEO, EXTRAS = (51, "Video"), (52, "Extras")
PRODUCTS = (
    _product(STANDARD, "Standard", VIDEO),
    _product(PREMIUM, "Premium", VIDEO),
    _product(SPORTS, "Sports", EXTRAS),
    _product(FREE, "Free with advertising", VIDEO, require_credit_card=False),
    _product(7005, "Founders' plan", VIDEO, archived_at="2024-01-01T00:00:00Z"),
)
PRICE_POINTS = (
    {"id": 3101, "name": "Monthly", "product_id": STANDARD, "archived_at": None},
    {"id": 3102, "name": "Yearly", "product_id": STANDARD, "archived_at": None},
    {"id": 3103, "name": "Monthly", "product_id": PREMIUM, "archived_at": None},
    {"id": 3104, "name": "Monthly", "product_id": SPORTS, "archived_at": None},
)
COUPONS = (
    _coupon(1, "SAVE20", "20 % off", VIDEO[0]),
    _coupon(
        2, "PREMIUM10", "10 % off Premium", VIDEO[0], coupon_restrictions=[{"item_type": "Product", "item_id": PREMIUM}]
    ),
    _coupon(3, "SPORTS50", "Half price", EXTRAS[0]),
    _coupon(4, "SUMMER24", "A summer that is over", VIDEO[0], end_date="2024-09-01T00:00:00Z"),
)
REASONS = (
    {"id": 1, "code": "TOO-EXPENSIVE", "description": "Too expensive"},
    {"id": 2, "code": "NOT-USED", "description": "Not used enough"},
)


def _subscription(number: int, customer: int, product: int, now: float, **changes: Any) -> Json:
    return {
        "id": number,
        "state": "active",
        "reference": None,
        "customer": {"id": customer},
        "product": {"id": product, "name": next(row["name"] for row in PRODUCTS if row["id"] == product)},
        "cancel_at_end_of_period": False,
        "canceled_at": None,
        "cancellation_message": None,
        "reason_code": None,
        "current_period_ends_at": _time(now + 20 * DAY),
        "coupon_code": None,
        "coupon_codes": [],
        **changes,
    }


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def seed(store: Store, more: Json | None = None) -> None:
    """Fill the world with a customer for everybody; with `more`, put these `subscriptions` (as the API shows them) into it."""
    for row in (more or {}).get("subscriptions", ()):
        store.put(KEY, "subscription", row["id"], row)
    if more is not None:
        return
    for person in PEOPLE:
        number = FIRST_CUSTOMER + person.number
        known = {"first_name": person.first, "last_name": person.last, "email": person.email}
        store.put(KEY, "customer", number, {"id": number, "reference": person.user_id, **known})
        if person is not GRACE:  # who has no card there
            profile = {
                "id": 6000 + person.number,
                "customer_id": number,
                "disabled": False,
                "masked_card_number": "1111",
            }
            store.put(KEY, "profile", profile["id"], profile)
    now = store.now()
    for place, (person, product_id, changes) in enumerate(_bought(now)):
        row = _subscription(FIRST_SUBSCRIPTION + place, FIRST_CUSTOMER + person.number, product_id, now, **changes)
        store.put(KEY, "subscription", row["id"], row)


def _bought(now: float) -> tuple[tuple[Person, int, Json], ...]:
    """Return who has which product, and what is particular of it. Emma and Grace have none."""
    return (
        (AVA, STANDARD, {}),
        (BEN, PREMIUM, {"cancel_at_end_of_period": True}),
        (CHLOE, STANDARD, {"coupon_code": "SAVE20", "coupon_codes": ["SAVE20"]}),
        (DIEGO, STANDARD, {}),
        (DIEGO, SPORTS, {}),
        (FARID, STANDARD, {"state": "past_due"}),
        (HUGO, PREMIUM, {"state": "canceled", "canceled_at": _time(now - 30 * DAY)}),
    )


def setup(_: Store) -> Mapping[str, str]:
    """Return the settings of the connection."""
    return {"domain": "example.chargify.com", "api_key": API_KEY}


def traits(person: Person) -> Mapping[str, str]:
    """Return the customer's id."""
    return {"chargify_id": str(FIRST_CUSTOMER + person.number)}


# --- what it answers ------------------------------------------------------------------------------------------------------


def answer(request: Request, store: Store) -> Response:
    """Answer one request, inside the store's transaction."""
    if request.basic() != (API_KEY, "x"):
        return Response(HTTPStatus.UNAUTHORIZED, raw="HTTP Basic: Access denied.\n", content_type="text/plain")
    _end_periods(store)
    return routed(request, store, ROUTES, lambda status: {"errors": [status.phrase]})


def _end_periods(store: Store) -> None:
    """Cancel what was to be cancelled by now."""
    for row in store.all(KEY, "subscription"):
        due = datetime.fromisoformat(row["current_period_ends_at"]).timestamp() <= store.now()
        if due and row["cancel_at_end_of_period"] and row["state"] not in OVER:
            store.put(KEY, "subscription", row["id"], row | {"state": "canceled", "canceled_at": _time(store.now())})
            store.effect(KEY, "period_ended", row["id"])


def _no(*words: str) -> Refusal:
    return Refusal(HTTPStatus.UNPROCESSABLE_ENTITY, {"errors": list(words)})


def _body(request: Request, store: Store) -> Json:
    """Return a body; refuse one whose token came within the hour."""
    body = request.members()
    token = body.get("uniqueness_token")
    known = store.get(KEY, "token", token)
    if token is not None and known and known["at"] > store.now() - REMEMBERED:
        raise Refusal(HTTPStatus.CONFLICT, {"errors": ["DuplicatePrevention::DuplicateSubmissionError"]})
    return body


def _remember(body: Json, store: Store) -> None:
    if token := body.get("uniqueness_token"):
        store.put(KEY, "token", token, {"at": store.now()})


def _known(store: Store, kind: str, number: str) -> Json:
    row = store.get(KEY, kind, number)
    if row is None:
        raise Refusal(HTTPStatus.NOT_FOUND, {"errors": ["Not Found"]})
    return row


def _page(request: Request, rows: Sequence[Json], member: str) -> Response:
    numbers = [request.first("page", "1"), request.first("per_page", "20")]
    if not all(number.isdecimal() and int(number[:9]) > 0 for number in numbers):
        raise Refusal(HTTPStatus.BAD_REQUEST, {"errors": ["page and per_page are numbers from 1 on."]})
    page, size = int(numbers[0][:9]), min(int(numbers[1][:9]), MOST)
    return Response(body=[{member: row} for row in rows[(page - 1) * size : page * size]])


def site(_: Request, __: Store) -> Response:
    """`GET /site.json`: whose key it is."""
    known = {"id": 1, "name": "Streamly", "subdomain": "example", "currency": "USD", "test": True}
    return Response(body={"site": known})


def products(request: Request, _: Store) -> Response:
    """`GET /products.json`."""
    return _page(request, PRODUCTS, "product")


def product(_: Request, __: Store, number: str) -> Response:
    """`GET /products/{id}.json`."""
    found = [row for row in PRODUCTS if str(row["id"]) == number]
    if not found:
        raise Refusal(HTTPStatus.NOT_FOUND, {"errors": ["Not Found"]})
    return Response(body={"product": found[0]})


def price_points(request: Request, _: Store) -> Response:
    """`GET /products_price_points.json`: the only list that stands in a member."""
    return Response(body={"price_points": [row["it"] for row in _page(request, PRICE_POINTS, "it").body]})


def coupons(request: Request, _: Store) -> Response:
    """`GET /coupons.json`."""
    return _page(request, COUPONS, "coupon")


def reason_codes(request: Request, _: Store) -> Response:
    """`GET /reason_codes.json`."""
    return _page(request, REASONS, "reason_code")


def customers(request: Request, store: Store) -> Response:
    """`GET /customers.json`: `q` finds by e-mail address, id, reference."""
    asked = request.first("q").lower()
    rows = store.all(KEY, "customer")
    found = [row for row in rows if any(asked in str(row[name]).lower() for name in ("email", "id", "reference"))]
    return _page(request, found, "customer")


def customer(request: Request, store: Store) -> Response:
    """`GET /customers/lookup.json`: by the merchant's own reference."""
    found = [row for row in store.all(KEY, "customer") if row["reference"] == request.first("reference")]
    if not found:
        raise Refusal(HTTPStatus.NOT_FOUND, {"errors": ["Not Found"]})
    return Response(body={"customer": found[0]})


def subscriptions_of(_: Request, store: Store, number: str) -> Response:
    """`GET /customers/{id}/subscriptions.json`: all of them, without pages."""
    _known(store, "customer", number)
    rows = [row for row in store.all(KEY, "subscription") if str(row["customer"]["id"]) == number]
    return Response(body=[{"subscription": row} for row in rows])


def payment_profiles(request: Request, store: Store) -> Response:
    """`GET /payment_profiles.json`: of one customer."""
    of = request.first("customer_id")
    rows = [row for row in store.all(KEY, "profile") if of in {"", str(row["customer_id"])}]
    return _page(request, rows, "payment_profile")


def subscription(_: Request, store: Store, number: str) -> Response:
    """`GET /subscriptions/{id}.json`."""
    return Response(body={"subscription": _known(store, "subscription", number)})


def create(request: Request, store: Store) -> Response:
    """`POST /subscriptions.json`: with a customer, a product and, where the product needs one, a payment profile."""
    body = _body(request, store)
    wish = body.get("subscription")
    if not isinstance(wish, dict):
        raise _no("A subscription must be specified.")
    sold = next((row for row in PRODUCTS if row["id"] == wish.get("product_id") and not row["archived_at"]), None)
    if sold is None:
        raise _no("Product: cannot be blank.")
    buyer = store.get(KEY, "customer", wish.get("customer_id"))
    if buyer is None:
        raise _no("Customer: cannot be blank.")
    profile = store.get(KEY, "profile", wish.get("payment_profile_id"))
    if sold["require_credit_card"] and (profile is None or profile["customer_id"] != buyer["id"]):
        raise _no("A payment profile is required.")
    codes = wish.get("coupon_codes") or []
    _check_codes(codes, sold["id"])
    number = FIRST_SUBSCRIPTION + len(store.all(KEY, "subscription"))
    told = {"reference": wish.get("reference"), "coupon_code": codes[0] if codes else None, "coupon_codes": codes}
    row = _subscription(number, buyer["id"], sold["id"], store.now(), **told)
    store.put(KEY, "subscription", number, row)
    store.effect(KEY, "subscription_created", buyer["id"], product=sold["name"], coupons=", ".join(codes))
    _remember(body, store)
    return Response(HTTPStatus.CREATED, {"subscription": row})


def _check_codes(codes: Any, product_id: int) -> None:
    """Refuse coupons that there are not, or not for this product."""
    if not isinstance(codes, list):
        raise Refusal(HTTPStatus.UNPROCESSABLE_ENTITY, {"codes": ["is no list"]})
    for code in codes:
        coupon = next((row for row in COUPONS if row["code"] == code and not row["end_date"]), None)
        if coupon is None:
            raise Refusal(HTTPStatus.UNPROCESSABLE_ENTITY, {"codes": [f"'{code}' is not a valid code."]})
        only = [one["item_id"] for one in coupon["coupon_restrictions"]]
        family = next(row["product_family"]["id"] for row in PRODUCTS if row["id"] == product_id)
        if family != coupon["product_family_id"] or (only and product_id not in only):
            raise Refusal(HTTPStatus.UNPROCESSABLE_ENTITY, {"codes": [f"'{code}' does not apply to this product."]})


def _reason(body: Json) -> Json:
    told = body.get("subscription")
    told = told if isinstance(told, dict) else {}
    if told.get("reason_code") not in (None, *(row["code"] for row in REASONS)):
        raise _no("Reason code: is not valid.")
    return {name: told.get(name) for name in ("reason_code", "cancellation_message")}


def cancel(request: Request, store: Store, number: str) -> Response:
    """`DELETE /subscriptions/{id}.json`: at once; the body is optional, and has no token."""
    row = _known(store, "subscription", number)
    if row["state"] in OVER:
        raise _no("The subscription is already canceled")
    row |= {**_reason(request.members()), "state": "canceled", "canceled_at": _time(store.now())}
    store.put(KEY, "subscription", number, row)
    store.effect(KEY, "subscription_canceled", number, reason=row["reason_code"] or "")
    return Response(body={"subscription": row})


def delayed_cancel(request: Request, store: Store, number: str) -> Response:
    """`POST /subscriptions/{id}/delayed_cancel.json`: with the end of the period."""
    row = _known(store, "subscription", number)
    body = _body(request, store)
    if row["state"] in {*OVER, "past_due"}:
        raise _no(f"A subscription that is {row['state']} cannot be canceled at the end of its period.")
    row |= {**_reason(body), "cancel_at_end_of_period": True}
    store.put(KEY, "subscription", number, row)
    store.effect(KEY, "cancellation_scheduled", number, ends=row["current_period_ends_at"])
    _remember(body, store)
    return Response(body={"message": "This subscription will be canceled at the end of the period."})


def add_coupon(request: Request, store: Store, number: str) -> Response:
    """`POST /subscriptions/{id}/add_coupon.json`: `codes` in the body come beside those that it has."""
    row = _known(store, "subscription", number)
    body = _body(request, store)
    codes = body.get("codes") or []
    _check_codes(codes, row["product"]["id"])
    if not codes or row["state"] in OVER or set(codes) & set(row["coupon_codes"]):
        raise Refusal(HTTPStatus.UNPROCESSABLE_ENTITY, {"codes": ["cannot be applied to this subscription."]})
    row["coupon_codes"] = [*row["coupon_codes"], *codes]
    row["coupon_code"] = row["coupon_codes"][0]
    store.put(KEY, "subscription", number, row)
    store.effect(KEY, "coupon_added", number, coupons=", ".join(codes))
    _remember(body, store)
    return Response(body={"subscription": row})


ROUTES: tuple[Route, ...] = (
    ("GET", r"/site\.json", site),
    ("GET", r"/products\.json", products),
    ("GET", r"/products/([^/]+)\.json", product),
    ("GET", r"/products_price_points\.json", price_points),
    ("GET", r"/coupons\.json", coupons),
    ("GET", r"/reason_codes\.json", reason_codes),
    ("GET", r"/customers\.json", customers),
    ("GET", r"/customers/lookup\.json", customer),
    ("GET", r"/customers/([^/]+)/subscriptions\.json", subscriptions_of),
    ("GET", r"/payment_profiles\.json", payment_profiles),
    ("POST", r"/subscriptions\.json", create),
    ("GET", r"/subscriptions/([^/]+)\.json", subscription),
    ("DELETE", r"/subscriptions/([^/]+)\.json", cancel),
    ("POST", r"/subscriptions/([^/]+)/delayed_cancel\.json", delayed_cancel),
    ("POST", r"/subscriptions/([^/]+)/add_coupon\.json", add_coupon),
)


# --- shown to people ------------------------------------------------------------------------------------------------------


def state(store: Store) -> Json:
    """Return this world for the control API."""
    _end_periods(store)
    return {"customers": store.all(KEY, "customer"), "subscriptions": store.all(KEY, "subscription")}


def tables(store: Store) -> Sequence[Table]:
    """Return what the page shows of this world: the subscriptions, and the coupons there are."""
    world = state(store)
    names = {row["id"]: f"{row['first_name']} {row['last_name']}" for row in world["customers"]}
    rows = [
        (
            row["id"],
            names.get(row["customer"]["id"], ""),
            row["customer"]["id"],
            row["product"]["name"],
            row["state"] + (", ends with its period" if row["cancel_at_end_of_period"] else ""),
            ", ".join(row["coupon_codes"]),
        )
        for row in world["subscriptions"]
    ]
    codes = [(row["code"], row["name"], "ended" if row["end_date"] else "active") for row in COUPONS]
    return [
        ("Subscriptions", ("Id", "Customer", "Customer id", "Product", "State", "Coupons"), rows),
        ("Coupons", ("Code", "Name", "State"), codes),
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

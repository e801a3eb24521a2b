"""Stripe Billing, API version 2025-02-24.acacia, as docs.stripe.com/api describes it: what Engage asks of it.

The mount point stands for `https://api.stripe.com/v1`. Farid's card is declined, and Grace's bank asks her to confirm each
payment, which she does after some seconds. Left out: invoices and amounts, webhooks, and what time does to a subscription
(nothing renews, ends, or enters a schedule's next phase).
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Any

from connectors.sandbox.http import Refusal, Request, Response, Route, once, routed
from connectors.sandbox.people import FARID, GRACE, Person
from connectors.sandbox.store import Json, Store
from connectors.sandbox.stripe_seed import DAY, KEY, customer_id, ending, new_subscription, seed
from connectors.sandbox.world import Table, World

LABEL = "Stripe"
API_KEY = "rk_test_sandboxNotARealCredential"
CONFIRM_SECONDS = 3.0
"""After which Grace confirms a payment."""
PENDING_SECONDS = 23 * 3600
"""After which an unpaid change lapses (docs.stripe.com/billing/subscriptions/pending-updates)."""


def setup(_: Store) -> Mapping[str, str]:
    """Return the settings of the connection."""
    return {"environment": "sandbox", "api_key": API_KEY, "traits_for": "trait"}


def traits(person: Person) -> Mapping[str, str]:
    """Return the customer's id."""
    return {"stripe_id": customer_id(person)}


# --- what it answers ------------------------------------------------------------------------------------------------------


def refusal(
    message: str, status: int = HTTPStatus.BAD_REQUEST, kind: str = "invalid_request_error", **more: str
) -> Refusal:
    """Return a no in Stripe's shape."""
    return Refusal(status, {"error": {"type": kind, "message": message, **more}})


def answer(request: Request, store: Store) -> Response:
    """Answer one request, inside the store's transaction."""
    if request.bearer() != API_KEY:
        return refusal("Invalid API Key provided.", HTTPStatus.UNAUTHORIZED).response
    settle_payments(store)

    def act() -> Response:
        return routed(request, store, ROUTES, unknown)

    def unknown(_: HTTPStatus) -> Json:
        words = f"Unrecognized request URL ({request.method}: {request.path})."
        return {"error": {"type": "invalid_request_error", "message": words}}

    if request.method != "POST":
        return act()  # "all POST requests accept idempotency keys"; with others they have no effect
    words = "Keys for idempotent requests can only be used with the same parameters they were first used with."
    clash = refusal(words, kind="idempotency_error").response
    mark = {"Idempotent-Replayed": "true"}
    return once(request, store, KEY, act, header="idempotency-key", clash=clash, mark=mark)


def settle_payments(store: Store) -> None:
    """Let what waits for a payment come true when Grace has confirmed it, and lapse where nobody pays."""
    for row in store.all(KEY, "subscription"):
        waiting = row["pending_update"]
        if waiting is None:
            continue
        if (
            row["customer"] == customer_id(GRACE)
            and store.now() >= waiting["expires_at"] - PENDING_SECONDS + CONFIRM_SECONDS
        ):
            row |= {"pending_update": None}
            _set_items(store, row, waiting["subscription_items"])
        elif store.now() >= waiting["expires_at"]:
            row |= {"pending_update": None}
        store.put(KEY, "subscription", row["id"], row)


def parameters(request: Request, *known: str) -> Json:
    """Return the fields of a form, brackets made objects (`items[0][price]`); lists have their numbers for names.

    Raises:
        Refusal: a field is none of the known ones, or has two shapes.

    """
    told: Json = {}
    for name, values in request.form().items():
        first, *rest = re.findall(r"[^\[\]]+", name) or [""]
        if first not in known:
            raise refusal(f"Received unknown parameter: {name}", code="parameter_unknown", param=name)
        at = told
        for one, following in zip((first, *rest), (*rest, None), strict=True):
            if not isinstance(at.get(one, {}), dict) or (following is None and one in at):
                raise refusal(f"Invalid value for {name}", code="parameter_invalid", param=name)
            if following is None:
                at[one] = values[-1]
            else:
                at = at.setdefault(one, {})
    return told


def whole(value: Any, name: str, least: int = 1, most: int = 2**53) -> int:
    """Return a number that was sent, within its bounds."""
    if not re.fullmatch("[0-9]{1,16}", str(value)) or not least <= int(value) <= most:
        raise refusal(f"Invalid integer: {value}", code="parameter_invalid_integer", param=name)
    return int(value)


def is_true(value: Any, name: str) -> bool:
    """Return a boolean that was sent."""
    if value not in ("true", "false"):
        raise refusal(f"Invalid boolean: {value}", param=name)
    return bool(value == "true")


def found(store: Store, kind: str, number: object, param: str = "") -> Json:
    """Return a thing; what a path names is a 404 where there is none, and what a field names a 400."""
    row = store.get(KEY, kind, number) if isinstance(number, str) else None
    if row is None:
        status = HTTPStatus.BAD_REQUEST if param else HTTPStatus.NOT_FOUND
        words = f"No such {kind.replace('_', ' ')}: '{number}'"
        raise refusal(words, status, code="resource_missing", param=param or "id")
    return row


def paged(request: Request, rows: Sequence[Json]) -> Response:
    """Return a page: `limit` rows after the one that `starting_after` names."""
    size, after = whole(request.first("limit", "10"), "limit", 1, 100), request.first("starting_after")
    ids = [row["id"] for row in rows]
    if after and after not in ids:
        raise refusal(f"No such object: '{after}'", code="resource_missing", param="starting_after")
    begin = ids.index(after) + 1 if after else 0
    shown = rows[begin : begin + size]
    return Response(body={"object": "list", "data": shown, "has_more": begin + size < len(rows), "url": request.path})


def list_customers(request: Request, store: Store) -> Response:
    """`GET /customers`: the address exactly, its case too."""
    email = request.first("email")
    return paged(request, [row for row in store.all(KEY, "customer") if email in ("", row["email"])])


def list_prices(request: Request, store: Store) -> Response:
    """`GET /prices`."""
    rows = [row for row in store.all(KEY, "price") if request.first("active") in ("", str(row["active"]).lower())]
    if "data.product" in request.query.get("expand[]", ()):
        rows = [row | {"product": store.get(KEY, "product", row["product"])} for row in rows]
    return paged(request, rows)


def list_coupons(request: Request, store: Store) -> Response:
    """`GET /coupons`."""
    return paged(request, store.all(KEY, "coupon"))


def list_promotion_codes(request: Request, store: Store) -> Response:
    """`GET /promotion_codes`."""
    active = request.first("active")
    return paged(
        request, [row for row in store.all(KEY, "promotion_code") if active in ("", str(row["active"]).lower())]
    )


def list_subscriptions(request: Request, store: Store) -> Response:
    """`GET /subscriptions`: without a status, "all subscriptions that have not been canceled are returned"."""
    customer, status = request.first("customer"), request.first("status")
    rows = [row for row in store.all(KEY, "subscription") if customer in ("", row["customer"])]
    if status != "all":
        rows = [row for row in rows if (row["status"] == status if status else row["status"] != "canceled")]
    if "data.customer" in request.query.get("expand[]", ()):
        rows = [row | {"customer": store.get(KEY, "customer", row["customer"])} for row in rows]
    return paged(request, rows)


def get_one(kind: str) -> Any:
    """Return what answers `GET /<kind>s/{id}`."""
    return lambda _, store, number: Response(body=found(store, kind, number))


def _check_payment(row: Json, behavior: str) -> bool:
    """Return whether a payment comes in. Raises Refusal where it does not and then nothing is to be changed."""
    problem = {
        customer_id(FARID): ("card_declined", "Your card was declined."),
        customer_id(GRACE): ("subscription_payment_intent_requires_action", "The customer must confirm this payment."),
    }.get(row["customer"])
    if problem and behavior == "error_if_incomplete":
        raise refusal(problem[1], HTTPStatus.PAYMENT_REQUIRED, "card_error", code=problem[0])
    return problem is None


def _items(store: Store, row: Json, asked: Any) -> list[Json]:
    """Return the items that a change asks for, as `pending_update` shows them."""
    wanted = []
    for one in asked.values() if isinstance(asked, dict) else [None]:
        if not isinstance(one, dict) or not {"id", "price"} <= set(one):
            raise refusal("This sandbox changes items by their id.", param="items")
        if one["id"] not in [item["id"] for item in row["items"]["data"]]:
            raise refusal(f"No such subscription item: '{one['id']}'", code="resource_missing", param="items[0][id]")
        price = found(store, "price", one["price"], "items[0][price]")
        if not price["active"]:
            raise refusal(
                "The price specified is inactive. This field only accepts active prices.", param="items[0][price]"
            )
        # "a price change without it resets the quantity to 1"
        quantity = whole(one.get("quantity", "1"), "items[0][quantity]")
        wanted.append({"id": one["id"], "object": "subscription_item", "price": price, "quantity": quantity})
    return wanted


def _set_items(store: Store, row: Json, wanted: list[Json]) -> None:
    rest = [item for item in row["items"]["data"] if item["id"] not in [one["id"] for one in wanted]]
    row["items"]["data"] = rest + wanted
    for one in wanted:
        store.effect(KEY, "price_changed", row["id"], price=one["price"]["id"], quantity=one["quantity"])


CHANGEABLE = (
    "items",
    "proration_behavior",
    "payment_behavior",
    "billing_cycle_anchor",
    "trial_end",
    "coupon",
    "promotion_code",
    "metadata",
    "cancel_at_period_end",
    "pause_collection",
)


def change_subscription(request: Request, store: Store, number: str) -> Response:
    """`POST /subscriptions/{id}`."""
    row, told = found(store, "subscription", number), parameters(request, *CHANGEABLE)
    if row["status"] == "canceled":
        raise refusal("A canceled subscription can only update its cancellation_details and metadata.")
    behavior = told.get("payment_behavior", "allow_incomplete")
    if "items" in told:
        wanted = _items(store, row, told["items"])
        if row["schedule"]:
            raise refusal("The subscription is managed by a subscription schedule.")
        if _check_payment(row, behavior):
            _set_items(store, row, wanted)
        elif behavior == "pending_if_incomplete":
            row["pending_update"] = {
                "expires_at": int(store.now()) + PENDING_SECONDS,
                "subscription_items": wanted,
            }
            store.effect(KEY, "payment_requested", number)
        else:
            row["status"] = "past_due"
            _set_items(store, row, wanted)
    if "trial_end" in told:
        _move_trial(store, row, told["trial_end"], behavior)
    if "coupon" in told or "promotion_code" in told:
        _discount(store, row, told)
    if "cancel_at_period_end" in told:
        ends = is_true(told["cancel_at_period_end"], "cancel_at_period_end")
        row |= ending(row["current_period_end"]) if ends else {"cancel_at_period_end": False, "cancel_at": None}
        store.effect(KEY, "cancellation_scheduled" if ends else "cancellation_undone", number)
    if "pause_collection" in told:
        _pause(store, row, told["pause_collection"])
    marks = told.get("metadata", {})
    row["metadata"] |= marks if isinstance(marks, dict) else {}
    store.put(KEY, "subscription", number, row)
    return Response(body=row)


def _move_trial(store: Store, row: Json, end: Any, behavior: str) -> None:
    if end == "now":
        _check_payment(row, behavior)
        row |= {"status": "active", "trial_end": int(store.now())}
        store.effect(KEY, "trial_ended", row["id"])
        return
    seconds = whole(end, "trial_end")
    if seconds <= store.now():
        raise refusal("Invalid timestamp: must be an integer Unix timestamp in the future.", param="trial_end")
    row |= {"status": "trialing", "trial_end": seconds, "current_period_end": seconds}
    store.effect(KEY, "trial_extended", row["id"], to=seconds)


def _discount(store: Store, row: Json, told: Json) -> None:
    code = told.get("promotion_code")
    if code is not None:
        promotion = found(store, "promotion_code", code, "promotion_code")
        if not promotion["active"]:
            raise refusal("This promotion code is inactive.", param="promotion_code")
    coupon = promotion["coupon"] if code is not None else found(store, "coupon", told["coupon"], "coupon")
    if not coupon["valid"]:
        raise refusal(f"Coupon expired: {coupon['id']}", code="coupon_expired", param="coupon")
    number = row["id"].replace("sub_", "di_")
    row["discount"] = {"id": number, "object": "discount", "coupon": coupon, "promotion_code": code}
    row["discounts"] = [number]
    store.effect(KEY, "coupon_applied", row["id"], coupon=coupon["id"])


def _pause(store: Store, row: Json, asked: Any) -> None:
    if asked == "":
        row["pause_collection"] = None
        store.effect(KEY, "collection_resumed", row["id"])
        return
    behavior = asked.get("behavior") if isinstance(asked, dict) else None
    if behavior not in ("keep_as_draft", "mark_uncollectible", "void"):
        raise refusal("Invalid pause_collection[behavior]", param="pause_collection[behavior]")
    ends = whole(asked["resumes_at"], "pause_collection[resumes_at]") if "resumes_at" in asked else None
    row["pause_collection"] = {"behavior": behavior, "resumes_at": ends}
    store.effect(KEY, "collection_paused", row["id"], behavior=behavior)


def cancel_subscription(request: Request, store: Store, number: str) -> Response:
    """`DELETE /subscriptions/{id}`."""
    row = found(store, "subscription", number)
    told = parameters(request, "cancellation_details", "prorate", "invoice_now")
    if row["status"] == "canceled":
        # As if it were not there any more.
        raise refusal(f"No such subscription: '{number}'", HTTPStatus.NOT_FOUND, code="resource_missing", param="id")
    details = told.get("cancellation_details")
    comment = details.get("comment") if isinstance(details, dict) else None
    row["cancellation_details"] |= {"comment": comment, "reason": "cancellation_requested"}
    row |= {"status": "canceled", "canceled_at": int(store.now()), "pause_collection": None}
    store.put(KEY, "subscription", number, row)
    store.effect(KEY, "cancelled", number)
    return Response(body=row)


def create_subscription(request: Request, store: Store) -> Response:
    """`POST /subscriptions`."""
    told = parameters(request, "customer", "items", "payment_behavior", "trial_period_days")
    customer = found(store, "customer", told.get("customer"), "customer")
    items = (
        [one for one in told["items"].values() if isinstance(one, dict)] if isinstance(told.get("items"), dict) else []
    )
    if len(items) != 1:
        raise refusal("Missing required param: items.", code="parameter_missing", param="items")
    price = found(store, "price", items[0].get("price"), "items[0][price]")
    if not price["active"]:
        raise refusal(
            "The price specified is inactive. This field only accepts active prices.", param="items[0][price]"
        )
    number = f"sub_Sandbox{len(store.all(KEY, 'subscription')) + 1001}"
    now = int(store.now())
    row = new_subscription(store, number, customer["id"], price["id"])
    row |= {"created": now, "current_period_start": now, "current_period_end": now + 30 * DAY}
    if "trial_period_days" in told:
        ends = now + whole(told["trial_period_days"], "trial_period_days", 1, 730) * DAY
        row |= {"status": "trialing", "trial_start": now, "trial_end": ends, "current_period_end": ends}
    elif not _check_payment(row, told.get("payment_behavior", "allow_incomplete")):
        row["status"] = "incomplete"
    store.put(KEY, "subscription", number, row)
    store.effect(KEY, "subscription_created", customer["id"], subscription=number, price=price["id"])
    return Response(body=row)


def create_schedule(request: Request, store: Store) -> Response:
    """`POST /subscription_schedules`, made of a subscription: its only phase is the period that runs."""
    told = parameters(request, "from_subscription")
    row = found(store, "subscription", told.get("from_subscription"), "from_subscription")
    if row["schedule"]:
        raise refusal("The subscription is already attached to a schedule.", param="from_subscription")
    items = [{"price": item["price"]["id"], "quantity": item["quantity"]} for item in row["items"]["data"]]
    first = {"items": items, "start_date": row["current_period_start"], "end_date": row["current_period_end"]}
    number = row["id"].replace("sub_", "sub_sched_")
    schedule = {"id": number, "object": "subscription_schedule", "subscription": row["id"], "phases": [first]}
    store.put(KEY, "schedule", number, schedule)
    store.put(KEY, "subscription", row["id"], row | {"schedule": number})
    store.effect(KEY, "schedule_created", row["id"])
    return Response(body=schedule)


def change_schedule(request: Request, store: Store, number: str) -> Response:
    """`POST /subscription_schedules/{id}`: the phases as a whole."""
    schedule = found(store, "schedule", number)
    told = parameters(request, "end_behavior", "proration_behavior", "phases").get("phases")
    phases: list[Json] = []
    for asked in told.values() if isinstance(told, dict) else ():
        rows = asked.get("items") if isinstance(asked, dict) else None
        if not isinstance(rows, dict) or not all(isinstance(row, dict) for row in rows.values()):
            raise refusal("Missing required param: phases[0][items].", code="parameter_missing", param="phases")
        items = [
            {
                "price": found(store, "price", row.get("price"), "phases[items][price]")["id"],
                "quantity": whole(row.get("quantity", "1"), "quantity"),
            }
            for row in rows.values()
        ]
        begins = (
            whole(asked["start_date"], "start_date")
            if "start_date" in asked
            else phases[-1]["end_date"]
            if phases
            else 0
        )
        ends = whole(asked["end_date"], "end_date") if "end_date" in asked else begins + 30 * DAY
        phases.append({"items": items, "start_date": begins, "end_date": ends})
    if not phases:
        raise refusal("Missing required param: phases.", code="parameter_missing", param="phases")
    schedule["phases"] = phases
    store.put(KEY, "schedule", number, schedule)
    store.effect(KEY, "switch_scheduled", schedule["subscription"], price=phases[-1]["items"][0]["price"])
    return Response(body=schedule)


ROUTES: tuple[Route, ...] = (
    ("GET", "/prices", list_prices),
    ("GET", "/coupons", list_coupons),
    ("GET", "/promotion_codes", list_promotion_codes),
    ("GET", "/products/([^/]+)", get_one("product")),
    ("GET", "/customers", list_customers),
    ("GET", "/customers/([^/]+)", get_one("customer")),
    ("GET", "/subscriptions", list_subscriptions),
    ("POST", "/subscriptions", create_subscription),
    ("GET", "/subscriptions/([^/]+)", get_one("subscription")),
    ("POST", "/subscriptions/([^/]+)", change_subscription),
    ("DELETE", "/subscriptions/([^/]+)", cancel_subscription),
    ("POST", "/subscription_schedules", create_schedule),
    ("GET", "/subscription_schedules/([^/]+)", get_one("schedule")),
    ("POST", "/subscription_schedules/([^/]+)", change_schedule),
)

# --- shown to people ------------------------------------------------------------------------------------------------------


def state(store: Store) -> Json:
    """Return this world for the control API."""
    settle_payments(store)
    return {f"{kind}s": store.all(KEY, kind) for kind in ("subscription", "schedule", "customer", "price", "coupon")}


def tables(store: Store) -> Sequence[Table]:
    """Return what the page shows of this world: title, columns, rows."""
    world = state(store)
    names = {row["id"]: row["name"] for row in world["customers"]}
    subscriptions = [
        (
            row["id"],
            names[row["customer"]],
            ", ".join(f"{item['price']['id']} ({item['quantity']})" for item in row["items"]["data"]),
            row["status"],
            row["discount"]["coupon"]["id"] if row["discount"] else "",
            ", ".join(_remarks(row)),
        )
        for row in world["subscriptions"]
    ]
    coupons = [(row["id"], row["name"], "valid" if row["valid"] else "no longer valid") for row in world["coupons"]]
    return [
        ("Subscriptions", ("Id", "Customer", "Price (quantity)", "Status", "Coupon", ""), subscriptions),
        ("Coupons", ("Id", "Discount", ""), coupons),
    ]


def _remarks(row: Json) -> Iterable[str]:
    if row["cancel_at_period_end"]:
        yield "will not renew"
    if row["pause_collection"]:
        yield "collection paused"
    if row["pending_update"]:
        yield "waits for a payment"
    if row["schedule"]:
        yield "follows a schedule"


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

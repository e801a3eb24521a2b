"""Vindicia Subscribe (CashBox), as Vindicia's own samples show it (github.com/Vindicia/CashBoxRESTCodeSamples).

The mount point stands for `https://api.prodtest.vindicia.com`. A subscription's only change that Engage asks for is "modify";
what is charged for the rest of a period is left out. Where the samples are silent (the body of a 401), this world picks one.
"""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from connectors.sandbox.http import Refusal, Request, Response, Route, objects, routed
from connectors.sandbox.people import AVA, BEN, CHLOE, DIEGO, FARID, GRACE, HUGO, PEOPLE, Person
from connectors.sandbox.store import Json, Store
from connectors.sandbox.world import Table, World

KEY, LABEL = "vindicia", "Vindicia"
USER, PASSWORD = "sandbox-user-not-a-real-credential", "sandbox-key-not-a-real-credential"
PRICES = {"BASIC": 7.99, "STANDARD": 11.99, "PREMIUM": 15.99, "SPORTS": 6.99}
NAMES = {"BASIC": "Basic", "STANDARD": "Standard", "PREMIUM": "Premium", "SPORTS": "Sports"}
PRODUCTS = tuple(
    {
        "object": "Product",
        "id": number,
        "status": "Active",
        "descriptions": {"object": "List", "data": [{"object": "ProductDescription", "description": name}]},
    }
    for number, name in NAMES.items()
)
PLANS = tuple({"object": "BillingPlan", "id": number, "status": "Active"} for number in ("MONTHLY", "ANNUAL"))
CAMPAIGNS: tuple[Json, ...] = tuple(
    {
        "object": "Campaign",
        "campaign_id": number,
        "name": name,
        "state": state,
        "promotion_code": code,
        "percentage_discount": percent,
        "offer_end_date": ends,
        "restrict_to_new_subscription": for_new,
    }
    for number, name, state, code, percent, ends, for_new in (
        ("campaign-1", "20 % off", "Active", "SAVE20", 20, None, False),
        ("campaign-2", "Half price", "Active", "STAY50", 50, None, False),
        ("campaign-3", "Welcome", "Active", "WELCOME", 30, None, True),
        ("campaign-4", "A summer that is over", "Active", "SUMMER24", 25, "2024-09-01T00:00:00Z", False),
    )
)


def _account(person: Person) -> str:
    return f"account-{person.number}"


def _item(number: str, index: int, product: str) -> Json:
    known = {"object": "SubscriptionItem", "id": number, "index": index}
    return {**known, "product": {"object": "Product", "id": product}, "starts": None, "ends": None}


def _bills() -> tuple[tuple[Person, str, Sequence[str], str], ...]:
    """Return who has which subscription, its products and its status. Emma has none."""
    return (
        (AVA, "autobill-1", ["STANDARD"], "Active"),
        (BEN, "autobill-2", ["PREMIUM"], "Pending Cancel"),
        (CHLOE, "autobill-3", ["BASIC", "SPORTS"], "Active"),
        (DIEGO, "autobill-4", ["BASIC"], "Active"),
        (DIEGO, "autobill-14", ["SPORTS"], "Active"),
        (FARID, "autobill-6", ["STANDARD"], "Active"),
        (GRACE, "autobill-7", ["STANDARD"], "Canceled"),
        (HUGO, "autobill-8", ["PREMIUM"], "Active"),
    )


def seed(store: Store, more: Json | None = None) -> None:
    """Fill the world; with `more`, put these `subscriptions` (as this world keeps them) into it."""
    for row in (more or {}).get("subscriptions", ()):
        store.put(KEY, "subscription", row["id"], row)
    if more is None:
        for person, number, products, status in _bills():
            items = [_item(f"item-{number}-{index}", index, product) for index, product in enumerate(products)]
            row = {"id": number, "account": _account(person), "status": status, "plan": "MONTHLY", "items": items}
            store.put(KEY, "subscription", number, row)


def setup(_: Store) -> Mapping[str, str]:
    """Return the settings of the connection."""
    return {"environment": "prodtest", "api_username": USER, "api_password": PASSWORD}


def traits(person: Person) -> Mapping[str, str]:
    """Return the account's id."""
    return {"vindicia_account_id": _account(person)}


# --- what it answers ------------------------------------------------------------------------------------------------------


def _error(status: int, message: str) -> Refusal:
    return Refusal(status, {"object": "Error", "message": message})


def answer(request: Request, store: Store) -> Response:
    """Answer one request, inside the store's transaction."""
    if request.basic() != (USER, PASSWORD):
        return _error(HTTPStatus.UNAUTHORIZED, "Authentication failed").response
    return routed(request, store, ROUTES, lambda status: {"object": "Error", "message": status.phrase})


def _list(request: Request, rows: Sequence[Json], name: str = "id") -> Response:
    """Return a page. As Vindicia's, it names a next one even where it is the last."""
    limit = request.first("limit", "20")
    if not limit.isdecimal() or not 0 < int(limit[:4]) <= 100:
        raise _error(HTTPStatus.BAD_REQUEST, "limit must be a number from 1 to 100")
    numbers = [row[name] for row in rows]
    after = request.first("starting_after")
    begin = numbers.index(after) + 1 if after in numbers else 0
    shown = rows[begin : begin + int(limit[:4])]
    last = shown[-1][name] if shown else after
    following = f"{request.path}?limit={limit}&starting_after={last}"
    body = {"object": "List", "data": shown, "total_count": len(rows), "url": request.path, "next": following}
    return Response(body=body)


def products(request: Request, _: Store) -> Response:
    """`GET /products`."""
    return _list(request, PRODUCTS)


def billing_plans(request: Request, _: Store) -> Response:
    """`GET /billing_plans`."""
    return _list(request, PLANS)


def campaigns(request: Request, _: Store) -> Response:
    """`GET /campaigns`."""
    return _list(request, CAMPAIGNS, "campaign_id")


def _shown(row: Json) -> Json:
    """Return a subscription with what its next bill will be."""
    lines = []
    for item in row["items"]:
        if not item["ends"]:
            price, campaign = PRICES[item["product"]["id"]], item.get("campaign")
            percent = next((one["percentage_discount"] for one in CAMPAIGNS if one["campaign_id"] == campaign), 0)
            charged = round(price * (100 - percent) / 100, 2)
            lines.append({"sku": item["product"]["id"], "amount": charged, "campaign_id": campaign})
    bill = {
        "object": "Transaction",
        "amount": round(sum(line["amount"] for line in lines), 2),
        "currency": "USD",
        "items": {"object": "List", "data": lines},
    }
    return {
        "object": "Subscription",
        "id": row["id"],
        "account": {"object": "Account", "id": row["account"]},
        "status": row["status"],
        "billing_plan": {"object": "BillingPlan", "id": row["plan"]},
        "items": {"object": "List", "data": row["items"], "total_count": len(row["items"])},
        "next_billing": bill if row["status"] == "Active" else None,
    }


def _known(store: Store, number: str) -> Json:
    row = store.get(KEY, "subscription", number)
    if row is None:
        raise _error(HTTPStatus.NOT_FOUND, f"Unable to load subscription {number}")
    return row


def subscriptions(request: Request, store: Store) -> Response:
    """`GET /subscriptions`: of an account."""
    account = request.first("account")
    rows = [_shown(row) for row in store.all(KEY, "subscription") if account in {"", row["account"]}]
    return _list(request, rows)


def subscription(_: Request, store: Store, number: str) -> Response:
    """`GET /subscriptions/{id}`."""
    return Response(body=_shown(_known(store, number)))


def modify(request: Request, store: Store, number: str) -> Response:
    """`POST /subscriptions/{id}`: only the items that change are named; a dry run shows what would be."""
    row, body = _known(store, number), request.members()
    if row["status"] != "Active":
        raise _error(HTTPStatus.BAD_REQUEST, f"A subscription that is {row['status']} cannot be modified")
    effective = request.first("effective_date")
    if effective not in {"today", "nextBill"}:
        raise _error(HTTPStatus.BAD_REQUEST, "effective_date must be today or nextBill")
    items = body.get("items")
    wishes = objects(items.get("data") if isinstance(items, dict) else items)
    plan = _id_of(body.get("billing_plan"))
    if plan and plan not in {one["id"] for one in PLANS}:
        raise _error(HTTPStatus.NOT_FOUND, f"Unable to load billing plan {plan}")
    if not wishes and not plan:
        raise _error(HTTPStatus.BAD_REQUEST, "items or billing_plan must say what is modified")
    happened = [_change(row, wish, effective) for wish in wishes]
    if request.first("dryrun") not in {"true", "1"}:
        row["plan"] = plan or row["plan"]
        store.put(KEY, "subscription", number, row)
        for what, detail in happened:
            store.effect(KEY, what, number, **detail)
    return Response(body=_shown(row))


def _id_of(thing: Any) -> str:
    return str(thing.get("id") or "") if isinstance(thing, dict) else ""


def _change(row: Json, wish: Json, effective: str) -> tuple[str, Json]:
    """Change one item of a subscription. Returns what happened, in a word, and its details."""
    product, number = _id_of(wish.get("product")), str(wish.get("id") or "")
    campaign = _campaign(wish.get("campaign_code"))
    if not product:
        found = next((item for item in row["items"] if item["id"] == number), None)
        if found is None or campaign is None:
            raise _error(
                HTTPStatus.BAD_REQUEST, "An item names a product, or an item of the subscription and a campaign"
            )
        found["campaign"] = campaign["campaign_id"]
        return "campaign_added", {"item": number, "campaign": campaign["promotion_code"]}
    if product not in PRICES:
        raise _error(HTTPStatus.NOT_FOUND, f"Unable to load product {product}")
    going = [item for item in row["items"] if not item["ends"]]
    if any(item["product"]["id"] == product for item in going):
        raise _error(HTTPStatus.BAD_REQUEST, f"The subscription has product {product} already")
    replaces = wish.get("replaces")
    old = _id_of(replaces.get("product")) if isinstance(replaces, dict) else ""
    if replaces is not None:
        gone = next((item for item in going if item["product"]["id"] == old), None)
        if gone is None:
            raise _error(HTTPStatus.BAD_REQUEST, f"The subscription has no product {old}")
        if effective == "today":
            row["items"].remove(gone)
        else:
            gone["ends"] = "2999-01-01T00:00:00Z"
    index = max((item["index"] for item in row["items"]), default=-1) + 1
    made = _item(number or f"item-{row['id']}-{index}", index, product)
    row["items"].append({**made, "campaign": campaign["campaign_id"] if campaign else None})
    if replaces is not None:
        return "product_replaced", {"old": old, "new": product, "when": effective}
    return "product_added", {"product": product, "when": effective}


def _campaign(code: Any) -> Json | None:
    """Return the campaign of a code; refuse one that is none for a running subscription."""
    if code is None:
        return None
    for one in CAMPAIGNS:
        if one["promotion_code"] == code and not one["restrict_to_new_subscription"] and not one["offer_end_date"]:
            return one
    raise _error(HTTPStatus.BAD_REQUEST, f"Campaign code {code} cannot be applied")


ROUTES: tuple[Route, ...] = (
    ("GET", "/products", products),
    ("GET", "/billing_plans", billing_plans),
    ("GET", "/campaigns", campaigns),
    ("GET", "/subscriptions", subscriptions),
    ("GET", "/subscriptions/([^/]+)", subscription),
    ("POST", "/subscriptions/([^/]+)", modify),
)


# --- shown to people ------------------------------------------------------------------------------------------------------


def state(store: Store) -> Json:
    """Return this world for the control API."""
    return {"subscriptions": [_shown(row) for row in store.all(KEY, "subscription")]}


def tables(store: Store) -> Sequence[Table]:
    """Return what the page shows of this world: the subscriptions, and the campaigns there are."""
    names = {_account(person): f"{person.first} {person.last}" for person in PEOPLE}
    rows = [
        (
            row["id"],
            names.get(row["account"], ""),
            row["account"],
            ", ".join(
                item["product"]["id"] + (" (ends with the period)" if item["ends"] else "") for item in row["items"]
            ),
            row["status"],
            ", ".join(item["campaign"] for item in row["items"] if item.get("campaign")),
            (_shown(row)["next_billing"] or {}).get("amount", ""),
        )
        for row in store.all(KEY, "subscription")
    ]
    offered = [(row["promotion_code"], row["campaign_id"], row["name"]) for row in CAMPAIGNS]
    return [
        ("Subscriptions", ("Id", "Account", "Account id", "Products", "Status", "Campaign", "Next bill"), rows),
        ("Campaigns", ("Code", "Id", "Name"), offered),
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

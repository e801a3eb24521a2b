"""Roku Pay's web services as their reference describes them, and the device on which people buy.

The mount point stands for `https://apipub.roku.com/listen/transaction-service.svc`. Left out: notifications, trials, tax, one-time
products, and renewals as transactions of their own: a transaction goes on. Where the documentation is silent (what a
cancellation's date does, the words of most refusals), this world picks something.
"""

import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any

from connectors.sandbox.http import Refusal, Request, Response, Route, routed
from connectors.sandbox.people import AVA, BEN, CHLOE, DIEGO, FARID, HUGO, PEOPLE, Person
from connectors.sandbox.store import Json, Store
from connectors.sandbox.world import Declined, Table, World

KEY, LABEL = "roku", "Roku"
API_KEY = "SANDBOX0NOT0A0REAL0CREDENTIAL000"
CHANNEL = 54321
DAY = 86_400.0
PRODUCTS: Mapping[str, tuple[str, str, float, float]] = {
    "basic_monthly": ("films", "Basic", 5.99, 30 * DAY),
    "premium_monthly": ("films", "Premium", 9.99, 30 * DAY),
    "premium_yearly": ("films", "Premium, yearly", 99.0, 365 * DAY),
    "sports_monthly": ("sports", "Sports", 4.99, 30 * DAY),
}
"""Codes: product group, name, price, and seconds of a period. Who has one of a group can only change to another of it."""


# --- the world at its start -----------------------------------------------------------------------------------------------


def transaction_id(person: Person) -> str:
    """Return the transaction that somebody has at the start."""
    return f"00000000-0000-4000-8000-{person.number:012d}"


def customer_id(person: Person) -> str:
    """Return how Roku names somebody to one developer."""
    return f"sandboxcustomer{person.number:02d}"


def seed(store: Store, _: Json | None = None) -> None:
    """Fill the world: Emma and Grace have nothing, and Farid has not paid."""
    now = store.now()
    bought: tuple[tuple[Person, str, float, Json], ...] = (
        (AVA, "basic_monthly", 20, {}),
        (BEN, "premium_monthly", 10, {"cancelled": True}),
        (CHLOE, "premium_yearly", 200, {}),
        (DIEGO, "sports_monthly", 5, {}),
        (FARID, "basic_monthly", -2, {"isEntitled": False, "purchaseStatus": "Inactive"}),
        (HUGO, "premium_monthly", -40, {"isEntitled": False, "cancelled": True, "purchaseStatus": "Inactive"}),
    )
    for person, product, days, changes in bought:
        begun = now + days * DAY - PRODUCTS[product][3]
        _put(store, transaction_id(person), person, product, begun, now + days * DAY, **changes)


def _put(
    store: Store, number: str, person: Person, product: str, at: float, ends: float | None, **changes: Any
) -> None:
    _, name, price, _ = PRODUCTS[product]
    shown = {
        "transactionId": number,
        "OriginalTransactionId": number,
        "productId": product,
        "productName": name,
        "channelId": CHANNEL,
        "channelName": "Streamly",
        "amount": price,
        "tax": 0.0,
        "total": price,
        "currency": "usd",
        "quantity": 1,
        "isEntitled": True,
        "cancelled": False,
        "purchaseStatus": "Active",
        "purchaseType": None,
        "cancelledTransactionIds": [],
        "purchaseChannel": "device",
        "purchaseContext": "iap",
        "rokuCustomerId": customer_id(person),
        **changes,
    }
    row = {"number": number, "who": person.user_id, "at": at, "ends": ends, "shown": shown}
    store.put(KEY, "transaction", number, row)


def setup(_: Store) -> Mapping[str, str]:
    """Return the settings of the connection."""
    products = "\n".join(f"{code}; {group}; {name}" for code, (group, name, _, _) in PRODUCTS.items())
    return {"channel_id": str(CHANNEL), "partner_api_key": API_KEY, "products": products, "reread_nightly": "on"}


def traits(person: Person) -> Mapping[str, str]:
    """Return the customer, and the transaction of those who have bought: all but Emma and Grace."""
    known = {"roku_customer_id": customer_id(person)}
    has_bought = person in {AVA, BEN, CHLOE, DIEGO, FARID, HUGO}
    return known | ({"roku_transaction_id": transaction_id(person)} if has_bought else {})


# --- what it answers ------------------------------------------------------------------------------------------------------


def answer(request: Request, store: Store) -> Response:
    """Answer one request, inside the store's transaction. What is refused is refused inside a 200."""
    _pass_time(store)
    return routed(request, store, ROUTES)


def _no(words: str) -> Refusal:
    return Refusal(200, {"status": 1, "errorCode": None, "errorDetails": None, "errorMessage": words})


def _yes(**told: Any) -> Response:
    return Response(body={"status": 0, "errorCode": None, "errorDetails": None, "errorMessage": "", **told})


def _written_by(key: object) -> None:
    if key != API_KEY:
        raise _no("UNAUTHORIZED")


def _pass_time(store: Store) -> None:
    """Renew what renews, let downgrades begin, and end what is cancelled."""
    for row in store.all(KEY, "transaction"):
        shown = row["shown"]
        while row["ends"] is not None and shown["isEntitled"] and row["ends"] <= store.now():
            later = [each for each in store.all(KEY, "transaction") if each.get("after") == row["number"]]
            if later and later[0]["shown"]["purchaseStatus"] == "PendingActive":
                _begin(store, later[0], row["ends"])
                shown |= {"cancelled": True}
            if shown["cancelled"]:
                shown |= {"isEntitled": False, "purchaseStatus": "Inactive"}
            else:
                row["ends"] += PRODUCTS[shown["productId"]][3]
            store.put(KEY, "transaction", row["number"], row)


def _begin(store: Store, row: Json, at: float) -> None:
    price, length = PRODUCTS[row["shown"]["productId"]][2:]
    row["shown"] |= {"purchaseStatus": "Active", "isEntitled": True, "amount": price, "total": price}
    row["shown"]["cancelledTransactionIds"] = [row["after"]]
    store.put(KEY, "transaction", row["number"], {**row, "ends": at + length})


def _transaction(store: Store, number: object) -> Json:
    row = store.get(KEY, "transaction", number)
    if row is None:
        raise _no("Invalid transaction.")
    return row


def _date(seconds: float | None) -> str | None:
    return None if seconds is None else f"/Date({int(seconds * 1000)}+0000)/"


def validate(_: Request, store: Store, key: str, number: str) -> Response:
    """`GET /validate-transaction/{key}/{transactionId}`."""
    _written_by(key)
    row = _transaction(store, number)
    dates = {"purchaseDate": row["at"], "originalPurchaseDate": row["at"], "expirationDate": row["ends"]}
    return _yes(**row["shown"], **{name: _date(value) for name, value in dates.items()})


def cancel(body: Json, store: Store) -> Response:
    """`POST /cancel-subscription`: it ends on the date, or with what was paid for if that is sooner."""
    row = _transaction(store, body.get("transactionId"))
    if row["shown"]["cancelled"] or not row["shown"]["isEntitled"]:
        raise _no("The subscription is not active.")
    try:
        at = datetime.fromisoformat(str(body.get("cancellationDate"))).replace(tzinfo=UTC).timestamp()
    except ValueError:
        raise _no("Invalid cancellationDate.") from None
    row["ends"] = min(at, row["ends"])
    row["shown"]["cancelled"] = True
    store.put(KEY, "transaction", row["number"], row)
    store.effect(KEY, "subscription_cancelled", row["who"], product=row["shown"]["productId"])
    return _yes()


def _amount(body: Json) -> float:
    amount = body.get("amount")
    if not isinstance(amount, (int, float)) or isinstance(amount, bool) or amount <= 0:
        raise _no("Invalid amount.")
    return float(amount)


def refund(body: Json, store: Store) -> Response:
    """`POST /refund-subscription`: parts add up to the price before tax at most; a repeat is another part."""
    row, amount = _transaction(store, body.get("transactionId")), _amount(body)
    before = sum(each["amount"] for each in store.all(KEY, "refund") if each["transaction"] == row["number"])
    if round(before + amount, 2) > row["shown"]["amount"]:
        raise _no("The refund exceeds the amount of the transaction.")
    number = str(uuid.uuid4())
    store.put(KEY, "refund", number, {"number": number, "transaction": row["number"], "amount": amount})
    store.effect(KEY, "refunded", row["who"], amount=amount, product=row["shown"]["productId"])
    return _yes(RefundId=number)


def credit(body: Json, store: Store) -> Response:
    """`POST /issue-service-credit`: each request gives one."""
    amount, who = _amount(body), next((one for one in PEOPLE if customer_id(one) == body.get("rokuCustomerId")), None)
    if who is None:
        raise _no("Invalid rokuCustomerId.")
    if str(body.get("channelId")) != str(CHANNEL):
        raise _no("Invalid channelId.")
    if body.get("productId") is not None and body["productId"] not in PRODUCTS:
        raise _no("Invalid productId.")
    number = str(uuid.uuid4())
    given = {"who": who.user_id, "amount": amount, "product": body.get("productId") or "all"}
    store.put(KEY, "credit", number, {"number": number, **given})
    store.effect(KEY, "credit_issued", who.user_id, amount=amount, product=given["product"])
    return _yes(ReferenceId=number)


def update_bill_cycle(body: Json, store: Store) -> Response:
    """`POST /update-bill-cycle`, as it was documented once: what is paid for lasts until the date."""
    row = _transaction(store, body.get("transactionId"))
    try:
        until = datetime.fromisoformat(str(body.get("newBillCycleDate"))).replace(tzinfo=UTC).timestamp()
    except ValueError:
        raise _no("Invalid newBillCycleDate.") from None
    if row["shown"]["cancelled"] or not row["shown"]["isEntitled"] or until <= store.now():
        raise _no("The bill cycle cannot be updated.")
    if until != row["ends"]:
        store.put(KEY, "transaction", row["number"], {**row, "ends": until})
        store.effect(KEY, "bill_moved", row["who"], product=row["shown"]["productId"])
    return _yes()


def _keyed(act: Callable[[Json, Store], Response], request: Request, store: Store) -> Response:
    """Let somebody write whose body has the key."""
    body = request.members()
    _written_by(body.get("partnerAPIKey"))
    return act(body, store)


ROUTES: tuple[Route, ...] = (
    ("GET", "/validate-transaction/([^/]+)/([^/]+)", validate),
    ("POST", "/cancel-subscription", partial(_keyed, cancel)),
    ("POST", "/refund-subscription", partial(_keyed, refund)),
    ("POST", "/issue-service-credit", partial(_keyed, credit)),
    ("POST", "/update-bill-cycle", partial(_keyed, update_bill_cycle)),
)


# --- the device -----------------------------------------------------------------------------------------------------------


def device(person: Person, instruction: Json, store: Store) -> Json:
    """Carry out the order of the ChannelStore, as somebody who agrees to what Roku's dialog asks; returns the transaction."""
    _pass_time(store)
    order, (item,) = instruction["order"], instruction["order"]["items"]
    code, change = item["code"], order.get("action")
    if str(instruction["channel_id"]) != str(CHANNEL) or code not in PRODUCTS:
        raise Declined("Roku does not sell this product in this channel.")
    group, _, price, length = PRODUCTS[code]
    has = [
        row
        for row in store.all(KEY, "transaction")
        if row["who"] == person.user_id and row["shown"]["isEntitled"] and _group(row) == group
    ]
    now, number = store.now(), str(uuid.uuid4())
    if change is None:
        if has:
            raise Declined("The account has a product of this group already.")
        _put(store, number, person, code, now, now + length)
        store.effect(KEY, "subscription_bought", person.user_id, product=code)
        return {"purchaseId": number}
    if len(has) != 1 or has[0]["shown"]["cancelled"] or has[0]["shown"]["productId"] == code:
        raise Declined("The account has no other product of this group that runs.")
    (old,) = has
    dearer = price / length > PRODUCTS[old["shown"]["productId"]][2] / PRODUCTS[old["shown"]["productId"]][3]
    match change, dearer:
        case "Upgrade", True:
            old["shown"] |= {"cancelled": True, "isEntitled": False, "purchaseStatus": "Inactive"}
            store.put(KEY, "transaction", old["number"], {**old, "ends": now})
            replaced = {"purchaseType": "UPGRADE", "cancelledTransactionIds": [old["number"]]}
            _put(store, number, person, code, now, now + length, **replaced)
        case "Downgrade", False:
            nothing_yet = {"isEntitled": False, "purchaseStatus": "PendingActive", "amount": 0.0, "total": 0.0}
            _put(store, number, person, code, now, None, purchaseType="DOWNGRADE", **nothing_yet)
            waits = _transaction(store, number) | {"after": old["number"]}
            store.put(KEY, "transaction", number, waits)
        case _:
            raise Declined(f"The order's action cannot be {change}.")
    store.effect(KEY, "plan_changed", person.user_id, product=code, how=change.lower())
    return {"purchaseId": number}


def _group(row: Json) -> str:
    return PRODUCTS[row["shown"]["productId"]][0]


# --- shown to people ------------------------------------------------------------------------------------------------------


def state(store: Store) -> Json:
    """Return this world for the control API."""
    _pass_time(store)
    return {f"{kind}s": store.all(KEY, kind) for kind in ("transaction", "refund", "credit")}


def tables(store: Store) -> Sequence[Table]:
    """Return what the page shows of this world: transactions, refunds and credits."""
    world = state(store)
    rows = [
        (
            row["who"],
            row["shown"]["productName"],
            row["shown"]["purchaseStatus"],
            ("cancelled, " if row["shown"]["cancelled"] else "")
            + ("entitled" if row["shown"]["isEntitled"] else "not entitled"),
            datetime.fromtimestamp(row["ends"], UTC).date() if row["ends"] is not None else "",
            row["number"],
        )
        for row in world["transactions"]
    ]
    return [
        ("Transactions", ("Of", "Product", "Purchase status", "Is", "Ends", "Transaction id"), rows),
        ("Refunds", ("Transaction id", "Amount"), [(row["transaction"], row["amount"]) for row in world["refunds"]]),
        ("Credits", ("Of", "Amount", "For"), [(row["who"], row["amount"], row["product"]) for row in world["credits"]]),
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
    device=device,
)

"""Amazon's Receipt Verification Service, version 1.0, as its documentation describes it, and the device on which people buy.

The mount point stands for `https://appstore-sdk.amazon.com`, and `/token` and `/messaging` below it for `https://api.amazon.com`:
Device Messaging, whose notifications the devices show. Left out: Amazon's own sandbox, webhooks, trials, promotions, and that the
app says what it handed out; so no purchase is taken back for want of it.
"""

import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

from connectors.sandbox import devices
from connectors.sandbox.http import Request, Response, Route, routed
from connectors.sandbox.people import AVA, BEN, CHLOE, DIEGO, GRACE, HUGO, PEOPLE, Person
from connectors.sandbox.store import Json, Store
from connectors.sandbox.world import Declined, Table, World

KEY, LABEL = "amazon", "Amazon Appstore"
PACKAGE = "com.example.streamly"
SHARED_KEY = "2:sandbox-not-a-real-credential:0000=="
CLIENT, CLIENT_SECRET = "amzn1.application-oa2-client.5a0d", "sandbox-client-secret-not-a-real-credential"
TOKEN_LASTS = 3600
MOST_BYTES = 6 * 1024
RENAMED = "-renewed"
"""Stands behind the newer address of Chloe's device."""
WRONG_KEY, WRONG_USER = 496, 497
BY_CUSTOMER, BY_ANOTHER_TIER = 1, 4
DAY = 86_400.0
TERMS = {"1 Month": 30 * DAY, "1 Year": 365 * DAY}
SUBSCRIPTION, ENTITLED, CONSUMABLE = "SUBSCRIPTION", "ENTITLED", "CONSUMABLE"
PRODUCTS: Mapping[str, tuple[str, str, str, str | None]] = {
    "basic.month": ("Basic, monthly", "basic", SUBSCRIPTION, "1 Month"),
    "premium.month": ("Premium, monthly", "premium", SUBSCRIPTION, "1 Month"),
    "premium.year": ("Premium, yearly", "premium", SUBSCRIPTION, "1 Year"),
    "film.pass": ("Film pass", "film.pass", ENTITLED, None),
    "coins.100": ("100 coins", "coins.100", CONSUMABLE, None),
}
"""SKUs: name, the SKU that is the tier of a term, kind, term. The subscriptions are tiers of each other."""

BOUGHT: Mapping[Person, tuple[str, float]] = {
    AVA: ("basic.month", 20),
    BEN: ("premium.month", 10),
    CHLOE: ("premium.year", 200),
    DIEGO: ("premium.month", 5),
    HUGO: ("premium.month", -8),
}
"""Who has which SKU at the start, and for how many days more."""


# --- the world at its start -----------------------------------------------------------------------------------------------


def amazon_user(person: Person) -> str:
    """Return how Amazon names somebody to this app."""
    return f"sandbox-user-{person.number:02d}="


def receipt_id(person: Person) -> str:
    """Return the receipt that somebody has at the start."""
    return f"sandbox-receipt-{person.user_id}:3:11"


def seed(store: Store, _: Json | None = None) -> None:
    """Fill the world: Emma, Farid and Grace have nothing."""
    now = store.now()
    over = {"cancelDate": _millis(now - 8 * DAY), "cancelReason": BY_CUSTOMER, "autoRenewing": False}
    changed: Mapping[Person, Json] = {BEN: {"autoRenewing": False}, HUGO: over}
    for person, (sku, days) in BOUGHT.items():
        changes = changed.get(person, {})
        begun = now + days * DAY - TERMS[str(PRODUCTS[sku][3])]
        _put(store, receipt_id(person), amazon_user(person), sku, begun, **changes)


def _put(store: Store, number: str, user: str, sku: str, at: float, **changes: Any) -> None:
    _, tier, kind, term = PRODUCTS[sku]
    lasts = kind == SUBSCRIPTION
    shown = {
        "receiptId": number,
        "productId": tier,
        "parentProductId": None,
        "productType": kind,
        "termSku": sku if lasts else None,
        "term": term,
        "purchaseDate": _millis(at),
        "renewalDate": _millis(at + TERMS[term]) if term else None,
        "cancelDate": None,
        "cancelReason": None,
        "autoRenewing": lasts,
        "deferredSku": None,
        "deferredDate": None,
        "freeTrialEndDate": None,
        "gracePeriodEndDate": None,
        "promotions": None,
        "quantity": 1,
        "countryCode": "US",
        "betaProduct": False,
        "testTransaction": False,
        **changes,
    }
    store.put(KEY, "receipt", number, {"user": user, "shown": shown})


def _millis(seconds: float) -> int:
    return int(seconds * 1000)


def setup(_: Store) -> Mapping[str, str]:
    """Return the settings of the connection: to production, since Amazon's own sandbox proves nothing."""
    products = "\n".join(f"{sku} {name}" for sku, (name, *_) in PRODUCTS.items())
    return {
        "environment": "live",
        "package_name": PACKAGE,
        "shared_secret": SHARED_KEY,
        "products": products,
        "reread_nightly": "on",
        "adm_client_id": CLIENT,
        "adm_client_secret": CLIENT_SECRET,
    }


def traits(person: Person) -> Mapping[str, str]:
    """Return the device; the Amazon user, of whom a first purchase tells: Grace's is not known yet; the receipt of who has one."""
    device = {"endpoint_adm": devices.address("adm", person)}
    if person is GRACE:
        return device
    receipt = {"amazon_receipt_id": receipt_id(person)} if person in BOUGHT else {}
    return {**device, "amazon_user_id": amazon_user(person), **receipt}


# --- what it answers ------------------------------------------------------------------------------------------------------


def answer(request: Request, store: Store) -> Response:
    """Answer one request, inside the store's transaction."""
    _pass_time(store)
    return routed(request, store, ROUTES)


def _pass_time(store: Store) -> None:
    """Renew what renews, let changes of tier begin, and end the rest."""
    now = _millis(store.now())
    for row in store.all(KEY, "receipt"):
        shown = row["shown"]
        while shown["productType"] == SUBSCRIPTION and shown["cancelDate"] is None and shown["renewalDate"] <= now:
            due = shown["renewalDate"]
            if not shown["autoRenewing"]:
                shown |= {"cancelDate": due, "cancelReason": BY_CUSTOMER}
            elif shown["deferredSku"]:
                _put(store, _new_receipt(), row["user"], shown["deferredSku"], due / 1000)
                shown |= {"cancelDate": due, "cancelReason": BY_ANOTHER_TIER, "autoRenewing": False}
            else:
                shown["renewalDate"] = due + _millis(TERMS[shown["term"]])
            store.put(KEY, "receipt", shown["receiptId"], row)


def _new_receipt() -> str:
    return f"sandbox-receipt-{uuid.uuid4().hex}:3:11"


def verify(_: Request, store: Store, key: str, user: str, number: str) -> Response:
    """`GET /version/1.0/verifyReceiptId/developer/{sharedSecret}/user/{userId}/receiptId/{receiptId}`."""
    row = store.get(KEY, "receipt", number)
    if key != SHARED_KEY:
        return Response(WRONG_KEY, raw="")
    if row is None:
        return Response(HTTPStatus.BAD_REQUEST, raw="")
    if row["user"] != user:
        return Response(WRONG_USER, raw="")
    return Response(body=row["shown"])


def give_token(request: Request, store: Store) -> Response:
    """`POST /auth/O2/token`, for the scope of Device Messaging."""
    form = {name: values[0] for name, values in request.form().items()}
    if (form.get("client_id"), form.get("client_secret")) != (CLIENT, CLIENT_SECRET):
        told = {"error": "invalid_client", "error_description": "Client authentication failed"}
        return Response(HTTPStatus.UNAUTHORIZED, told)
    if form.get("scope") != "messaging:push":
        return Response(HTTPStatus.BAD_REQUEST, {"error": "invalid_scope"})
    token = f"sandbox-adm-{uuid.uuid4().hex}"
    store.put(KEY, "token", token, {"until": store.now() + TOKEN_LASTS})
    return Response(body={"access_token": token, "expires_in": TOKEN_LASTS, "token_type": "bearer"})


def notify(request: Request, store: Store, registration: str) -> Response:
    """`POST /messaging/registrations/{id}/messages`: the app shows title and text, and opens the link."""
    known = store.get(KEY, "token", request.bearer())
    if known is None or known["until"] <= store.now():
        return Response(HTTPStatus.UNAUTHORIZED, {"reason": "AccessTokenExpired"})
    message = request.members()
    data, tag = message.get("data"), message.get("consolidationKey", "")
    if not isinstance(data, dict) or not all(isinstance(value, str) for value in data.values()):
        return Response(HTTPStatus.BAD_REQUEST, {"reason": "InvalidData"})
    if sum(len(value.encode()) for value in data.values()) > MOST_BYTES:
        return Response(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, {"reason": "MessageTooLarge"})
    if not isinstance(tag, str) or len(tag) > 64:
        return Response(HTTPStatus.BAD_REQUEST, {"reason": "InvalidConsolidationKey"})
    person = devices.owner("adm", registration.removesuffix(RENAMED))
    if person is None:
        return Response(HTTPStatus.BAD_REQUEST, {"reason": "Unregistered"})
    shown = {name: data.get(name, "") for name in ("title", "text", "link")}
    devices.show(store, KEY, person, tag=tag, **shown)
    renamed = devices.address("adm", CHLOE) == registration
    return Response(body={"registrationID": registration + RENAMED * renamed})


ROUTES: tuple[Route, ...] = (
    ("POST", "/token/auth/O2/token", give_token),
    ("POST", "/messaging/messaging/registrations/([^/]+)/messages", notify),
    ("GET", "/version/1[.]0/verifyReceiptId/developer/([^/]+)/user/([^/]+)/receiptId/([^/]+)", verify),
)


# --- the device -----------------------------------------------------------------------------------------------------------


def device(person: Person, instruction: Json, store: Store) -> Json:
    """Call what the instruction names of Amazon's SDK, as somebody who agrees to what Amazon asks; returns user and receipt."""
    _pass_time(store)
    wish, user = instruction["amazon"], amazon_user(person)
    sku = wish["sku"]
    if instruction["package_name"] != PACKAGE or sku not in PRODUCTS:
        raise Declined("INVALID_SKU")
    kind = PRODUCTS[sku][2]
    theirs = [row for row in store.all(KEY, "receipt") if row["user"] == user and row["shown"]["cancelDate"] is None]
    has = [row for row in theirs if row["shown"]["productType"] == SUBSCRIPTION]
    if wish["method"] == "purchase":
        if (kind == SUBSCRIPTION and has) or (
            kind == ENTITLED and sku in {row["shown"]["productId"] for row in theirs}
        ):
            raise Declined("ALREADY_PURCHASED")
        number = _new_receipt()
        _put(store, number, user, sku, store.now())
        store.effect(KEY, "bought", person.user_id, sku=sku)
        return {"amazonUserId": user, "receiptId": number}
    if wish["method"] != "modifySubscription" or kind != SUBSCRIPTION:
        raise Declined("NOT_SUPPORTED")
    if len(has) != 1 or has[0]["shown"]["termSku"] == sku:
        raise Declined("INVALID_SKU: there is no other tier that could be changed.")
    return {"amazonUserId": user, "receiptId": _change(store, has[0], sku, wish["prorationMode"], person)}


def _change(store: Store, old: Json, sku: str, mode: str, person: Person) -> str:
    """Change to another tier; return the receipt that shows it: now a new one, later that of what it replaces."""
    shown = old["shown"]
    if mode == "IMMEDIATE":
        number, now = _new_receipt(), store.now()
        _put(store, number, old["user"], sku, now)
        shown |= {"cancelDate": _millis(now), "cancelReason": BY_ANOTHER_TIER, "autoRenewing": False}
    elif mode == "DEFERRED":
        number = shown["receiptId"]
        shown |= {"deferredSku": sku, "deferredDate": shown["renewalDate"], "autoRenewing": True}
    else:
        raise Declined("NOT_SUPPORTED")
    store.put(KEY, "receipt", shown["receiptId"], old)
    store.effect(KEY, "tier_changed", person.user_id, sku=sku, when=mode.lower())
    return str(number)


# --- shown to people ------------------------------------------------------------------------------------------------------


def state(store: Store) -> Json:
    """Return this world for the control API."""
    _pass_time(store)
    return {"receipts": store.all(KEY, "receipt"), "notifications": store.all(KEY, "notification")}


def tables(store: Store) -> Sequence[Table]:
    """Return what the page shows of this world: the receipts and the notifications."""
    people = {amazon_user(person): person.user_id for person in PEOPLE}
    rows = [
        (
            people[row["user"]],
            shown["termSku"] or shown["productId"],
            "cancelled" if shown["cancelDate"] else "renews" if shown["autoRenewing"] else "does not renew",
            _day(shown["renewalDate"]),
            shown["deferredSku"] or "",
            shown["receiptId"],
        )
        for row in state(store)["receipts"]
        for shown in [row["shown"]]
    ]
    receipts = ("Receipts", ("Of", "SKU", "State", "Renewal", "Then", "Receipt id"), rows)
    return [receipts, devices.table(store, KEY)]


def _day(millis: int | None) -> str:
    return str(datetime.fromtimestamp(millis / 1000, UTC).date()) if millis else ""


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

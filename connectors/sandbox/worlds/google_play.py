"""Google Play: the Android Publisher API, version 3, as its reference describes it, and the device on which people buy.

The mount point stands for `https://androidpublisher.googleapis.com`, `/token` below it for the host that gives out tokens, and
`/firebase` for Firebase Cloud Messaging.
Left out: prices in money, prepaid plans, add-ons, webhooks, and who may have an offer (everybody may). A purchase that was
replaced shows as expired. Where the documentation is silent (the answer to an old etag), this world picks something.
"""

import hashlib
import json
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from http import HTTPStatus
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from connectors.sandbox import devices, firebase
from connectors.sandbox.http import Refusal, Request, Response, Route, routed
from connectors.sandbox.people import AVA, BEN, CHLOE, DIEGO, FARID, HUGO, Person
from connectors.sandbox.store import Json, Store
from connectors.sandbox.world import Declined, Table, World

KEY, LABEL = "google_play", "Google Play"
PACKAGE = "com.example.streamly"
ACCOUNT, KEY_ID = "engage@streamly-sandbox.iam.gserviceaccount.com", "sandbox-key-1"
AUDIENCE = "https://oauth2.googleapis.com/token"
SCOPE = "https://www.googleapis.com/auth/androidpublisher"
GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
TOKEN_LASTS = 3599
DAY = 86_400.0
PERIODS = {"P1M": 30 * DAY, "P1Y": 365 * DAY}
UNACKNOWLEDGED_FOR = 3 * DAY
"""After which Google gives the money back."""
STATE, ACKNOWLEDGEMENT = "SUBSCRIPTION_STATE_", "ACKNOWLEDGEMENT_STATE_"
RUNNING = {f"{STATE}ACTIVE", f"{STATE}IN_GRACE_PERIOD", f"{STATE}CANCELED"}
CHARGEBACK, UNACKNOWLEDGED, OTHER = 7, 8, 0
BY_USER, BY_DEVELOPER, BY_GOOGLE = 0, 1, 2


def _plan(name: str, period: str = "P1M", state: str = "ACTIVE") -> Json:
    return {"basePlanId": name, "state": state, "autoRenewingBasePlanType": {"billingPeriodDuration": period}}


def _offer(product: str, plan: str, offer: str, tag: str, state: str = "ACTIVE") -> Json:
    known = {"packageName": PACKAGE, "productId": product, "basePlanId": plan, "offerId": offer}
    return {**known, "state": state, "offerTags": [{"tag": tag}]}


def _listed(product: str, title: str, **more: Any) -> Json:
    return {
        "packageName": PACKAGE,
        "productId": product,
        "listings": [{"languageCode": "en-US", "title": title}],
        **more,
    }


SUBSCRIPTIONS = (
    _listed(
        "standard",
        "Standard",
        basePlans=[_plan("monthly"), _plan("yearly", "P1Y"), _plan("monthly-2024", state="INACTIVE")],
    ),
    _listed("premium", "Premium", basePlans=[_plan("monthly"), _plan("yearly", "P1Y")]),
    _listed("sports", "Sports", basePlans=[_plan("monthly")]),
)
OFFERS = (
    _offer("standard", "monthly", "stay20", "stay"),
    _offer("premium", "yearly", "winback50", "winback"),
    _offer("premium", "yearly", "summer24", "summer", "INACTIVE"),
)
ONCE = (
    _listed("film_pass", "Film pass", purchaseOptions=[{"purchaseOptionId": "buy", "state": "ACTIVE"}]),
    _listed("coins_100", "100 coins", purchaseOptions=[{"purchaseOptionId": "buy", "state": "ACTIVE"}]),
    _listed("old_pass", "Pass of last year", purchaseOptions=[{"purchaseOptionId": "buy", "state": "INACTIVE"}]),
)
A_DAY = {"standard": 0.3, "premium": 0.5, "sports": 0.2}
"""What a product costs, to tell a dearer one from a cheaper one and to turn what is left into time."""


# --- the world at its start -----------------------------------------------------------------------------------------------


def purchase_token(person: Person) -> str:
    """Return the token of the purchase that somebody has at the start."""
    return f"sandbox-purchase-{person.user_id}"


def order_id(number: int) -> str:
    """Return an order's number as Google writes it."""
    return f"GPA.3300-0000-0000-{number:05d}"


def account_of(person: Person) -> str:
    """Return the account id with which they bought at the start."""
    return hashlib.sha256(f"sandbox {person.user_id}".encode()).hexdigest()


def seed(store: Store, _: Json | None = None) -> None:
    """Fill the world: Emma and Grace have nothing."""
    now = store.now()
    bought: tuple[tuple[Person, str, str | None, str, float], ...] = (
        (AVA, "standard", None, "ACTIVE", 20),
        (BEN, "premium", None, "CANCELED", 10),
        (CHLOE, "standard", "stay20", "ACTIVE", 12),
        (DIEGO, "sports", None, "ACTIVE", 5),
        (FARID, "standard", None, "IN_GRACE_PERIOD", 3),
        (HUGO, "premium", None, "EXPIRED", -8),
    )
    for person, product, offer, state, days in bought:
        number = order_id(person.number)
        item = _item(product, "monthly", offer, now + days * DAY, number)
        item["autoRenewingPlan"]["autoRenewEnabled"] = state in {"ACTIVE", "IN_GRACE_PERIOD"}
        shown = _shown(now - (30 - days) * DAY, account_of(person), [item])
        shown |= {"subscriptionState": f"{STATE}{state}", "acknowledgementState": f"{ACKNOWLEDGEMENT}ACKNOWLEDGED"}
        token = purchase_token(person)
        _save(store, {"token": token, "who": person.user_id, "at": now - (30 - days) * DAY, "shown": shown})
        _put_order(store, number, token, product)
    _void(store, order_id(HUGO.number), CHARGEBACK, BY_USER)


def _item(product: str, plan: str, offer: str | None, expires: float, order: str) -> Json:
    named = {"basePlanId": plan, **({"offerId": offer} if offer else {})}
    return {
        "productId": product,
        "expiryTime": _time(expires),
        "latestSuccessfulOrderId": order,
        "autoRenewingPlan": {"autoRenewEnabled": True},
        "offerDetails": named,
    }


def _shown(at: float, account: str | None, items: list[Json]) -> Json:
    return {
        "kind": "androidpublisher#subscriptionPurchaseV2",
        "regionCode": "US",
        "startTime": _time(at),
        "subscriptionState": f"{STATE}ACTIVE",
        "acknowledgementState": f"{ACKNOWLEDGEMENT}PENDING",
        "lineItems": items,
        **({"externalAccountIdentifiers": {"obfuscatedExternalAccountId": account}} if account else {}),
    }


def _save(store: Store, row: Json) -> None:
    """Keep a subscription, which has another etag from now on."""
    store.put(KEY, "subscription", row["token"], {**row, "shown": {**row["shown"], "etag": uuid.uuid4().hex}})


def _put_order(store: Store, number: str, token: str, product: str) -> None:
    told = {"orderId": number, "purchaseToken": token, "state": "PROCESSED", "createTime": _time(store.now())}
    store.put(KEY, "order", number, {**told, "lineItems": [{"productId": product}]})


def _new_order(store: Store, token: str, product: str) -> str:
    number = order_id(1000 + len(store.all(KEY, "order")))
    _put_order(store, number, token, product)
    return number


def _void(store: Store, number: str, reason: int, source: int, state: str = "REFUNDED") -> None:
    """Give an order's money back, and list it among the voided purchases."""
    order = store.get(KEY, "order", number) or {}
    store.put(KEY, "order", number, {**order, "state": state})
    told = {"kind": "androidpublisher#voidedPurchase", "purchaseToken": order["purchaseToken"], "orderId": number}
    times = {
        "purchaseTimeMillis": str(int(_seconds(order["createTime"]) * 1000)),
        "voidedTimeMillis": str(int(store.now() * 1000)),
    }
    is_subscription = store.get(KEY, "subscription", order["purchaseToken"]) is not None
    row = {**told, **times, "voidedReason": reason, "voidedSource": source}
    store.put(KEY, "voided", number, {"subscription": is_subscription, "row": row})


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _seconds(time: str) -> float:
    return datetime.fromisoformat(time).timestamp()


# --- the service account --------------------------------------------------------------------------------------------------


@cache
def _made_key() -> str:
    """Make a key for the sandbox, which no Google believes."""
    private = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(*private).decode()


def _key(store: Store) -> str:
    """Return the service account's key, which is made when somebody first asks for it."""
    if (known := store.get(KEY, "key", "service_account")) is None:
        known = {"pem": _made_key()}
        store.put(KEY, "key", "service_account", known)
    return str(known["pem"])


def setup(store: Store) -> Mapping[str, str]:
    """Return the settings of the connection: the key file is one of the sandbox's own."""
    key_file = {
        "type": "service_account",
        "project_id": firebase.PROJECT,
        "private_key_id": KEY_ID,
        "private_key": _key(store),
        "client_email": ACCOUNT,
        "token_uri": AUDIENCE,
    }
    return {"package_name": PACKAGE, "service_account": json.dumps(key_file)}


def traits(person: Person) -> Mapping[str, str]:
    """Return the device; and the purchase, its product and its last order, of which Emma and Grace have none."""
    device = {"endpoint_fcm": devices.address("fcm", person)}
    products = {AVA: "standard", BEN: "premium", CHLOE: "standard", DIEGO: "sports", FARID: "standard", HUGO: "premium"}
    if person not in products:
        return device
    return {
        **device,
        "google_purchase_token": purchase_token(person),
        "google_product_id": products[person],
        "google_order_id": order_id(person.number),
    }


def give_token(request: Request, store: Store) -> Response:
    """`POST /token`: an access token for an assertion that the service account's key has signed."""
    form = {name: values[0] for name, values in request.form().items()}
    if form.get("grant_type") != GRANT:
        raise Refusal(HTTPStatus.BAD_REQUEST, {"error": "unsupported_grant_type", "error_description": "Invalid grant"})
    public = serialization.load_pem_private_key(_key(store).encode(), password=None).public_key()
    pem = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    try:
        claims = jwt.decode(
            form.get("assertion", ""),
            pem,
            algorithms=["RS256"],
            audience=AUDIENCE,
            issuer=ACCOUNT,
            options={"require": ["exp", "iat"]},
        )
    except jwt.PyJWTError:
        told = {"error": "invalid_grant", "error_description": "Invalid JWT Signature."}
        raise Refusal(HTTPStatus.BAD_REQUEST, told) from None
    if claims.get("scope") not in {SCOPE, firebase.SCOPE}:
        raise Refusal(HTTPStatus.BAD_REQUEST, {"error": "invalid_scope", "error_description": "Invalid scope"})
    token = f"sandbox-play-{uuid.uuid4().hex}"
    store.put(KEY, "token", token, {"until": store.now() + TOKEN_LASTS, "scope": claims["scope"]})
    return Response(body={"access_token": token, "expires_in": TOKEN_LASTS, "token_type": "Bearer"})


# --- what it answers ------------------------------------------------------------------------------------------------------


def answer(request: Request, store: Store) -> Response:
    """Answer one request, inside the store's transaction."""
    if request.path.startswith("/token/"):
        return routed(request, store, (("POST", "/token/token", give_token),))
    known = store.get(KEY, "token", request.bearer())
    is_firebase = request.path.startswith("/firebase/")
    scope = firebase.SCOPE if is_firebase else SCOPE
    if known is None or known["until"] <= store.now() or known.get("scope", SCOPE) != scope:
        return _no(HTTPStatus.UNAUTHORIZED, "Request had invalid authentication credentials.", "authError").response
    if is_firebase:
        return firebase.answer(request, store)
    _pass_time(store)
    return routed(request, store, ROUTES, lambda status: _error(status, status.phrase, "notFound"))


def _error(status: int, message: str, reason: str) -> Json:
    told = {"message": message, "domain": "androidpublisher", "reason": reason}
    return {"error": {"code": int(status), "message": message, "errors": [told]}}


def _no(status: HTTPStatus, message: str, reason: str) -> Refusal:
    return Refusal(status, _error(status, message, reason))


def _invalid(message: str) -> Refusal:
    return _no(HTTPStatus.BAD_REQUEST, message, "invalid")


def _pass_time(store: Store) -> None:
    """Renew and end what is due, and give back what nobody has acknowledged."""
    now = store.now()
    for row in store.all(KEY, "subscription"):
        while row["shown"]["subscriptionState"] in RUNNING and _seconds(_owned(row)["expiryTime"]) <= now:
            _end_period(store, row)
    for row in (*store.all(KEY, "subscription"), *store.all(KEY, "product")):
        forgotten = row["shown"]["acknowledgementState"].endswith("PENDING") and row["at"] + UNACKNOWLEDGED_FOR <= now
        if forgotten and row["shown"].get("subscriptionState") != f"{STATE}EXPIRED" and not row.get("voided"):
            number = row["shown"].get("orderId") or _owned(row)["latestSuccessfulOrderId"]
            _void(store, number, UNACKNOWLEDGED, BY_GOOGLE)
            _end(store, row)
            store.effect(KEY, "refunded_unacknowledged", row["who"], order=number)


def _owned(row: Json) -> Json:
    """Return the line of what somebody has; one that is to replace it has no order yet."""
    return next(item for item in row["shown"]["lineItems"] if "latestSuccessfulOrderId" in item)


def _end_period(store: Store, row: Json) -> None:
    item, shown = _owned(row), row["shown"]
    if not item["autoRenewingPlan"]["autoRenewEnabled"]:
        shown["subscriptionState"] = f"{STATE}EXPIRED"
    elif shown["subscriptionState"] == f"{STATE}IN_GRACE_PERIOD":
        shown["subscriptionState"] = f"{STATE}ON_HOLD"
    else:
        begun = _seconds(item["expiryTime"])
        item = next((later for later in shown["lineItems"] if "latestSuccessfulOrderId" not in later), item)
        item.pop("deferredItemReplacement", None)
        named = item["offerDetails"]
        item["expiryTime"] = _time(begun + PERIODS[_period(item["productId"], named["basePlanId"])])
        item["autoRenewingPlan"] = {"autoRenewEnabled": True}
        item["latestSuccessfulOrderId"] = _new_order(store, row["token"], item["productId"])
        shown["lineItems"] = [item]
    _save(store, row)


def _end(store: Store, row: Json) -> None:
    """End what was bought, at once."""
    if "subscriptionState" in row["shown"]:
        for item in row["shown"]["lineItems"]:
            item["expiryTime"] = _time(store.now())
            item["autoRenewingPlan"] = {"autoRenewEnabled": False}
        row["shown"]["subscriptionState"] = f"{STATE}EXPIRED"
        _save(store, row)
    else:
        row["shown"]["purchaseStateContext"] = {"purchaseState": "CANCELLED"}
        store.put(KEY, "product", row["token"], {**row, "voided": True})


def _page(request: Request, name: str, rows: Sequence[Json]) -> Response:
    """Return a page of a list; an empty list is left out."""
    size, begin = request.first("pageSize", "50"), request.first("pageToken", "0")
    if not (size.isdecimal() and begin.isdecimal()):
        raise _invalid("Invalid Value")
    end = int(begin[:9]) + min(int(size[:9]) or 50, 1000)
    page = rows[int(begin[:9]) : end]
    return Response(body={**({name: page} if page else {}), **({"nextPageToken": str(end)} if end < len(rows) else {})})


def subscriptions(request: Request, _: Store) -> Response:
    """`GET .../subscriptions`."""
    return _page(request, "subscriptions", SUBSCRIPTIONS)


def offers(request: Request, _: Store) -> Response:
    """`GET .../subscriptions/-/basePlans/-/offers`: all of the app's."""
    return _page(request, "subscriptionOffers", OFFERS)


def one_time_products(request: Request, _: Store) -> Response:
    """`GET .../oneTimeProducts`."""
    return _page(request, "oneTimeProducts", ONCE)


def _bought(store: Store, kind: str, token: str) -> Json:
    row = store.get(KEY, kind, token)
    if row is None:
        raise _no(HTTPStatus.NOT_FOUND, "The purchase token was not found.", "purchaseTokenNotFound")
    return row


def subscription(_: Request, store: Store, token: str) -> Response:
    """`GET .../purchases/subscriptionsv2/tokens/{token}`."""
    return Response(body=_bought(store, "subscription", token)["shown"])


def product(_: Request, store: Store, token: str) -> Response:
    """`GET .../purchases/productsv2/tokens/{token}`."""
    return Response(body=_bought(store, "product", token)["shown"])


def acknowledge(_: Request, store: Store, kind: str, name: str, token: str) -> Response:
    """`POST .../purchases/{subscriptions|products}/{product}/tokens/{token}:acknowledge`: once, and then as often as you like."""
    row = _bought(store, kind.removesuffix("s"), token)
    rows = row["shown"]["lineItems" if kind == "subscriptions" else "productLineItem"]
    if name not in {item["productId"] for item in rows}:
        raise _invalid("The product ID does not match the purchase token.")
    if row["shown"]["acknowledgementState"].endswith("PENDING"):
        row["shown"]["acknowledgementState"] = f"{ACKNOWLEDGEMENT}ACKNOWLEDGED"
        _put(store, row)
        store.effect(KEY, "acknowledged", row["who"], product=name)
    return Response(HTTPStatus.NO_CONTENT, raw="")


def _put(store: Store, row: Json) -> None:
    if "subscriptionState" in row["shown"]:
        _save(store, row)
    else:
        store.put(KEY, "product", row["token"], row)


def consume(_: Request, store: Store, name: str, token: str) -> Response:
    """`POST .../purchases/products/{product}/tokens/{token}:consume`: it may be bought again."""
    row = _bought(store, "product", token)
    (item,) = row["shown"]["productLineItem"]
    if item["productId"] != name or row["shown"]["purchaseStateContext"]["purchaseState"] != "PURCHASED":
        raise _invalid("The product is not owned by the user.")
    if item["productOfferDetails"]["consumptionState"] != "CONSUMPTION_STATE_CONSUMED":
        item["productOfferDetails"]["consumptionState"] = "CONSUMPTION_STATE_CONSUMED"
        row["shown"]["acknowledgementState"] = f"{ACKNOWLEDGEMENT}ACKNOWLEDGED"
        store.put(KEY, "product", token, row)
        store.effect(KEY, "consumed", row["who"], product=name)
    return Response(HTTPStatus.NO_CONTENT, raw="")


def _context(request: Request, name: str) -> Json:
    found = request.members().get(name)
    if not isinstance(found, dict):
        raise _invalid(f"{name} is required.")
    return found


def cancel(request: Request, store: Store, token: str) -> Response:
    """`POST .../purchases/subscriptionsv2/tokens/{token}:cancel`: it runs until what was paid for ends."""
    row = _bought(store, "subscription", token)
    kind = _context(request, "cancellationContext").get("cancellationType")
    contexts = {
        "USER_REQUESTED_STOP_RENEWALS": {"userInitiatedCancellation": {"cancelTime": _time(store.now())}},
        "DEVELOPER_REQUESTED_STOP_PAYMENTS": {"developerInitiatedCancellation": {}},
    }
    if kind not in contexts:
        raise _invalid("Invalid cancellationType.")
    if row["shown"]["subscriptionState"] not in RUNNING:
        raise _invalid("The subscription cannot be canceled.")
    if row["shown"]["subscriptionState"] != f"{STATE}CANCELED":
        _owned(row)["autoRenewingPlan"]["autoRenewEnabled"] = False
        row["shown"] |= {"subscriptionState": f"{STATE}CANCELED", "canceledStateContext": contexts[kind]}
        _save(store, row)
        store.effect(KEY, "subscription_canceled", row["who"], product=_owned(row)["productId"])
    return Response(body={})


def defer(request: Request, store: Store, token: str) -> Response:
    """`POST .../purchases/subscriptionsv2/tokens/{token}:defer`: moves the renewal of what was read under this etag."""
    row, wish = _bought(store, "subscription", token), _context(request, "deferralContext")
    duration = str(wish.get("deferDuration", ""))
    if not (duration.endswith("s") and duration[:-1].isdecimal() and 0 < int(duration[:-1][:9]) <= 365 * DAY):
        raise _invalid("Invalid deferDuration.")
    item = _owned(row)
    if row["shown"]["subscriptionState"] != f"{STATE}ACTIVE" or not item["autoRenewingPlan"]["autoRenewEnabled"]:
        raise _invalid("Only an active subscription that renews can be deferred.")
    if wish.get("etag") != row["shown"]["etag"]:
        raise _no(HTTPStatus.CONFLICT, "The subscription was updated since it was read.", "conflict")
    expires = _time(_seconds(item["expiryTime"]) + int(duration[:-1][:9]))
    if not wish.get("validateOnly"):
        item["expiryTime"] = expires
        _save(store, row)
        store.effect(KEY, "renewal_deferred", row["who"], product=item["productId"], until=expires)
    return Response(body={"itemExpiryTimeDetails": [{"productId": item["productId"], "expiryTime": expires}]})


def revoke(request: Request, store: Store, token: str) -> Response:
    """`POST .../purchases/subscriptionsv2/tokens/{token}:revoke`: refunds, and ends it at once."""
    row, wish = _bought(store, "subscription", token), _context(request, "revocationContext")
    if set(wish) not in ({"fullRefund"}, {"proratedRefund"}):
        raise _invalid("One kind of refund is required.")
    if row["shown"]["subscriptionState"] == f"{STATE}EXPIRED":
        raise _invalid("The subscription is not active.")
    number = _owned(row)["latestSuccessfulOrderId"]
    part = "PARTIALLY_REFUNDED" if "proratedRefund" in wish else "REFUNDED"
    _void(store, number, OTHER, BY_DEVELOPER, part)
    _end(store, row)
    store.effect(KEY, "subscription_revoked", row["who"], order=number, refund=next(iter(wish)))
    return Response(body={})


def _order(store: Store, number: str) -> Json:
    row = store.get(KEY, "order", number)
    if row is None:
        raise _no(HTTPStatus.NOT_FOUND, "The order was not found.", "orderNotFound")
    return row


def order(_: Request, store: Store, number: str) -> Response:
    """`GET .../orders/{orderId}`."""
    return Response(body=_order(store, number))


def refund(request: Request, store: Store, number: str) -> Response:
    """`POST .../orders/{orderId}:refund`: with `revoke`, what was bought ends, and is listed as voided."""
    row = _order(store, number)
    if row["state"] not in {"PROCESSED", "PARTIALLY_REFUNDED"}:
        raise _invalid("The order cannot be refunded.")
    bought = store.get(KEY, "subscription", row["purchaseToken"]) or _bought(store, "product", row["purchaseToken"])
    if request.first("revoke") == "true":
        _void(store, number, OTHER, BY_DEVELOPER)
        _end(store, bought)
    else:
        store.put(KEY, "order", number, {**row, "state": "REFUNDED"})
    store.effect(KEY, "order_refunded", bought["who"], order=number, revoked=request.first("revoke"))
    return Response(HTTPStatus.NO_CONTENT, raw="")


def voided(request: Request, store: Store) -> Response:
    """`GET .../purchases/voidedpurchases`: of 30 days; without `type=1` one-time purchases alone."""
    since = request.first("startTime", "0")
    if not since.isdecimal():
        raise _invalid("Invalid Value")
    begin = max(int(since), int((store.now() - 30 * DAY) * 1000))
    rows = [
        known["row"]
        for known in store.all(KEY, "voided")
        if int(known["row"]["voidedTimeMillis"]) >= begin
        and (request.first("type") == "1" or not known["subscription"])
    ]
    return Response(body={"voidedPurchases": rows} if rows else {})


_APP = rf"/androidpublisher/v3/applications/{PACKAGE.replace('.', '[.]')}"
_SUBSCRIPTION = rf"{_APP}/purchases/subscriptionsv2/tokens/([^/:]+)"
ROUTES: tuple[Route, ...] = (
    ("GET", f"{_APP}/subscriptions", subscriptions),
    ("GET", f"{_APP}/subscriptions/-/basePlans/-/offers", offers),
    ("GET", f"{_APP}/oneTimeProducts", one_time_products),
    ("GET", f"{_APP}/purchases/voidedpurchases", voided),
    ("GET", _SUBSCRIPTION, subscription),
    ("POST", f"{_SUBSCRIPTION}:cancel", cancel),
    ("POST", f"{_SUBSCRIPTION}:defer", defer),
    ("POST", f"{_SUBSCRIPTION}:revoke", revoke),
    ("GET", f"{_APP}/purchases/productsv2/tokens/([^/:]+)", product),
    ("POST", f"{_APP}/purchases/(subscriptions|products)/([^/]+)/tokens/([^/:]+):acknowledge", acknowledge),
    ("POST", f"{_APP}/purchases/products/([^/]+)/tokens/([^/:]+):consume", consume),
    ("GET", f"{_APP}/orders/([^/:]+)", order),
    ("POST", f"{_APP}/orders/([^/:]+):refund", refund),
)


# --- the device -----------------------------------------------------------------------------------------------------------


def _period(product: str, plan: str) -> str:
    """Return how long a plan that is for sale runs; Declined where there is none."""
    for row in SUBSCRIPTIONS:
        for each in row["basePlans"]:
            if (row["productId"], each["basePlanId"], each["state"]) == (product, plan, "ACTIVE"):
                return str(each["autoRenewingBasePlanType"]["billingPeriodDuration"])
    raise Declined("ITEM_UNAVAILABLE")


def device(person: Person, instruction: Json, store: Store) -> Json:
    """Buy with Play Billing, as somebody who agrees to what Google's sheet asks; returns what the app reports."""
    _pass_time(store)
    if instruction["package_name"] != PACKAGE:
        raise Declined("ITEM_UNAVAILABLE")
    if instruction["purchase"]["type"] == "Subs":
        return _subscribe(person, instruction, store)
    name = instruction["offer"]["product_id"]
    if name not in {row["productId"] for row in ONCE if row["purchaseOptions"][0]["state"] == "ACTIVE"}:
        raise Declined("ITEM_UNAVAILABLE")
    for row in store.all(KEY, "product"):
        (item,) = row["shown"]["productLineItem"]
        kept = item["productOfferDetails"]["consumptionState"] != "CONSUMPTION_STATE_CONSUMED"
        if (row["who"], item["productId"]) == (person.user_id, name) and kept and not row.get("voided"):
            raise Declined("ITEM_ALREADY_OWNED")
    token = f"sandbox-purchase-{uuid.uuid4().hex}"
    details = {"purchaseOptionId": "buy", "quantity": 1, "consumptionState": "CONSUMPTION_STATE_YET_TO_BE_CONSUMED"}
    shown = {
        "kind": "androidpublisher#productPurchaseV2",
        "purchaseStateContext": {"purchaseState": "PURCHASED"},
        "acknowledgementState": f"{ACKNOWLEDGEMENT}PENDING",
        "orderId": _new_order(store, token, name),
        "productLineItem": [{"productId": name, "productOfferDetails": details}],
    }
    if account := instruction["purchase"]["requestPurchase"]["google"].get("obfuscatedAccountId"):
        shown["obfuscatedExternalAccountId"] = account
    store.put(KEY, "product", token, {"token": token, "who": person.user_id, "at": store.now(), "shown": shown})
    store.effect(KEY, "product_bought", person.user_id, product=name)
    return {"purchaseToken": token, "productId": name}


def _subscribe(person: Person, instruction: Json, store: Store) -> Json:
    """Buy a subscription, or change to it; the app has found the offer by its id, else by its tag, else takes the base plan."""
    wish, google = instruction["offer"], instruction["purchase"]["requestSubscription"]["google"]
    name, plan, account = wish["product_id"], wish["base_plan_id"], google.get("obfuscatedAccountId")
    length, now = PERIODS[_period(name, plan)], store.now()
    theirs = [
        row
        for row in store.all(KEY, "subscription")
        if row["who"] == person.user_id and row["shown"]["subscriptionState"] in RUNNING
    ]
    offered = [
        each for each in OFFERS if (each["productId"], each["basePlanId"], each["state"]) == (name, plan, "ACTIVE")
    ]
    by_id = [each for each in offered if each["offerId"] == wish["offer_id"]]
    by_tag = [each for each in offered if {"tag": wish["offer_tag"]} in each["offerTags"]]
    found = (by_id or by_tag or [{"offerId": None}])[0]["offerId"]
    token = f"sandbox-purchase-{uuid.uuid4().hex}"
    if instruction["operation"] == "purchase":
        same = [row for row in theirs if _owned(row)["productId"] == name]
        if any(_owned(row)["autoRenewingPlan"]["autoRenewEnabled"] for row in same):
            raise Declined("ITEM_ALREADY_OWNED")
        old, expires, what = next(iter(same), None), now + length, "subscription_bought"
    else:
        old = _to_replace(theirs, google)
        expires, what = _expiry(store, _owned(old), name, plan, instruction["replacement"]["mode"]), "plan_changed"
    if old is not None:
        before = (old["shown"].get("externalAccountIdentifiers") or {}).get("obfuscatedExternalAccountId")
        if before != account:
            raise Declined("Account identifiers don't match the previous subscription.")
    if old is not None and not expires:
        items = _later(_owned(old), name, plan)
    else:
        items = [_item(name, plan, found, expires, _new_order(store, token, name))]
    shown = _shown(now, account, items)
    if old is not None:
        shown["linkedPurchaseToken"] = old["token"]
        old["shown"] |= {"canceledStateContext": {"replacementCancellation": {}}}
        _end(store, old)
    _save(store, {"token": token, "who": person.user_id, "at": now, "shown": shown})
    store.effect(KEY, what, person.user_id, product=name, plan=plan, offer=found or "")
    return {"purchaseToken": token, "productId": name}


def _later(now: Json, name: str, plan: str) -> list[Json]:
    """Return what somebody has, and what replaces it with the next renewal."""
    kept = {**now, "autoRenewingPlan": {"autoRenewEnabled": True}, "deferredItemReplacement": {"productId": name}}
    return [kept, {"productId": name, "offerDetails": {"basePlanId": plan}}]


def _to_replace(theirs: Sequence[Json], google: Json) -> Json:
    """Return the purchase that is named; where none is, the app finds the only one."""
    named = google.get("purchaseToken")
    product = (google.get("subscriptionProductReplacementParams") or {}).get("oldProductId")
    fits = [row for row in theirs if named in {None, row["token"]} and product in {None, _owned(row)["productId"]}]
    if len(fits) != 1:
        raise Declined("ITEM_NOT_OWNED")
    return fits[0]


def _expiry(store: Store, old: Json, name: str, plan: str, mode: str) -> float:
    """Return until when the new plan is paid for; 0 where it begins with the next renewal."""
    now, ends = store.now(), _seconds(old["expiryTime"])
    length, dearer = PERIODS[_period(name, plan)], A_DAY[name] / A_DAY[old["productId"]]
    worth = max(ends - now, 0.0) / dearer  # what is left, as time on the new plan
    if mode == "CHARGE_PRORATED_PRICE" and dearer <= 1:
        raise Declined("DEVELOPER_ERROR: the price may be prorated for an upgrade only.")
    by_mode = {
        "WITH_TIME_PRORATION": now + worth,
        "CHARGE_PRORATED_PRICE": ends,
        "WITHOUT_PRORATION": ends,
        "CHARGE_FULL_PRICE": now + length + worth,
        "DEFERRED": 0.0,
    }
    return by_mode[mode]


# --- shown to people ------------------------------------------------------------------------------------------------------


KINDS = {"subscriptions": "subscription", "products": "product", "orders": "order", "notifications": "notification"}


def state(store: Store) -> Json:
    """Return this world for the control API."""
    _pass_time(store)
    return {name: store.all(KEY, kind) for name, kind in KINDS.items()}


def tables(store: Store) -> Sequence[Table]:
    """Return what the page shows of this world: purchases, orders and notifications."""
    world = state(store)
    rows = [
        (
            row["who"],
            _words(_owned(row)),
            row["shown"]["subscriptionState"].removeprefix(STATE).lower().replace("_", " "),
            _owned(row)["expiryTime"][:10],
            row["shown"]["acknowledgementState"].removeprefix(ACKNOWLEDGEMENT).lower(),
            row["token"],
        )
        for row in world["subscriptions"]
    ]
    once = [
        (
            row["who"],
            item["productId"],
            row["shown"]["purchaseStateContext"]["purchaseState"].lower(),
            item["productOfferDetails"]["consumptionState"]
            .removeprefix("CONSUMPTION_STATE_")
            .lower()
            .replace("_", " "),
            row["token"],
        )
        for row in world["products"]
        for item in row["shown"]["productLineItem"]
    ]
    orders = [(row["orderId"], row["lineItems"][0]["productId"], row["state"].lower()) for row in world["orders"]]
    return [
        ("Subscriptions", ("Of", "What", "State", "Paid until", "Purchase is", "Purchase token"), rows),
        ("Bought once", ("By", "Product", "State", "Consumption", "Purchase token"), once),
        ("Orders", ("Order", "Product", "State"), orders),
        devices.table(store, KEY),
    ]


def _words(item: Json) -> str:
    named = item["offerDetails"]
    later = item.get("deferredItemReplacement")
    offer = f", offer {named['offerId']}" if named.get("offerId") else ""
    return f"{item['productId']} {named['basePlanId']}{offer}" + (f", then {later['productId']}" if later else "")


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

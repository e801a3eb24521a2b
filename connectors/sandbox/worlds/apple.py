"""Apple: the App Store Server API and, of App Store Connect, the lists of what is for sale; and the device on which people buy.

The mount point stands for `https://api.storekit.apple.com`, `/catalogue` below it for `https://api.appstoreconnect.apple.com`,
`/push` for `https://api.push.apple.com`, and `/sandbox` for Apple's own sandbox, in which nothing was bought. What this world
signs leads to a root of its own, which Engage believes only where an operator says so. Left out: webhooks, refunds and what
becomes of what is told of them, family sharing, pages of lists, and how a billing problem ends.
"""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization

from connectors.sandbox import apns, devices
from connectors.sandbox.apple_authority import Authority, new_key
from connectors.sandbox.http import Refusal, Request, Response, Route, routed
from connectors.sandbox.people import AVA, BEN, CHLOE, DIEGO, FARID, HUGO, Person
from connectors.sandbox.store import Json, Store
from connectors.sandbox.world import Declined, Table, World

KEY, LABEL = "apple", "Apple App Store"
BUNDLE, APP_ID = apns.BUNDLE, "6400000001"
ISSUER = "00000000-0000-4000-8000-000000000001"
IAP_KEY, ASC_KEY = "SANDBOXIAP", "SANDBOXASC"
AUDIENCE = "appstoreconnect-v1"
ENVIRONMENT, GROUP = "Production", "21000001"
DAY = 86_400.0
MOST_EXTENSIONS, A_YEAR = 2, 365 * DAY
ACTIVE, EXPIRED, GRACE = 1, 2, 4
REASONS = (0, 1, 2, 3)
DELIVERED = "DELIVERED"
DELIVERIES = {DELIVERED, *(f"UNDELIVERED_{why}" for why in ("QUALITY_ISSUE", "WRONG_ITEM", "SERVER_OUTAGE", "OTHER"))}
PREFERENCES = {None, "DECLINE", "GRANT_FULL", "GRANT_PRORATED"}
ALL_OF_IT = 100_000  # a hundred percent
SUBSCRIPTION, ONCE, CONSUMABLE = "Auto-Renewable Subscription", "Non-Consumable", "Consumable"
BASIC, PREMIUM, YEAR = (f"{BUNDLE}.{name}" for name in ("basic.month", "premium.month", "premium.year"))
SUBSCRIPTIONS: Mapping[str, tuple[str, str, int, float, int]] = {
    BASIC: ("101", "Basic, monthly", 2, 30 * DAY, 5990),
    PREMIUM: ("102", "Premium, monthly", 1, 30 * DAY, 9990),
    YEAR: ("103", "Premium, yearly", 1, 365 * DAY, 99000),
}
"""Products of one group: number, name, level (1 is the highest), seconds of a period, price in thousandths."""
PRODUCTS: Mapping[str, tuple[str, str, str, int]] = {
    f"{BUNDLE}.coins": ("201", "100 coins", CONSUMABLE, 990),
    f"{BUNDLE}.pass": ("202", "Film pass", ONCE, 4990),
}
"""Other products: number, name, kind, price in thousandths."""
PROMOTIONAL, WINBACK = {YEAR: "stay50", PREMIUM: "stay20"}, {YEAR: "back30"}
"""Offers, by product."""


# --- the world at its start -----------------------------------------------------------------------------------------------


def original_id(person: Person) -> str:
    """Return the original transaction of the subscription that somebody has at the start."""
    return f"2000000{person.number:09d}"


def account_token(person: Person) -> str:
    """Return the account token with which they bought at the start."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"sandbox:{person.user_id}"))


def seed(store: Store, _: Json | None = None) -> None:
    """Fill the world: Emma and Grace have nothing, and Farid bought outside of the app, so that nothing says that it was he."""
    bought: tuple[tuple[Person, str, float, int, int], ...] = (
        (AVA, BASIC, 20, ACTIVE, 1),
        (BEN, PREMIUM, 10, ACTIVE, 0),
        (CHLOE, YEAR, 200, ACTIVE, 1),
        (DIEGO, BASIC, 5, ACTIVE, 1),
        (FARID, PREMIUM, -1, GRACE, 1),
        (HUGO, PREMIUM, -40, EXPIRED, 0),
    )
    for person, product, days, status, renews in bought:
        number, expires = original_id(person), store.now() + days * DAY
        account = None if person is FARID else account_token(person)
        told = _told(number, number, product, expires - SUBSCRIPTIONS[product][3], account)
        store.put(KEY, "transaction", number, {"who": person.user_id, "told": told})
        store.put(KEY, "subscription", number, _subscription(person.user_id, told, status, renews))


def _told(number: str, original: str, product: str, at: float, account: str | None, **more: Any) -> Json:
    """Return what Apple says of a transaction, without the moment at which it is signed."""
    known: Json = {
        "transactionId": number,
        "originalTransactionId": original,
        "bundleId": BUNDLE,
        "productId": product,
        "purchaseDate": _millis(at),
        "originalPurchaseDate": _millis(at),
        "quantity": 1,
        "inAppOwnershipType": "PURCHASED",
        "environment": ENVIRONMENT,
        "transactionReason": "PURCHASE",
        "storefront": "USA",
        "storefrontId": "143441",
        "currency": "USD",
    }
    if product in SUBSCRIPTIONS:
        _, _, _, length, price = SUBSCRIPTIONS[product]
        known |= {"type": SUBSCRIPTION, "subscriptionGroupIdentifier": GROUP, "webOrderLineItemId": f"9{number}"}
        known |= {"expiresDate": _millis(at + length), "price": price}
    else:
        known |= {"type": PRODUCTS[product][2], "price": PRODUCTS[product][3]}
    return {**known, **({"appAccountToken": account} if account else {}), **more}


def _subscription(who: str, told: Json, status: int = ACTIVE, renews: int = 1) -> Json:
    """Return what is kept of a subscription: its last transaction, and what follows."""
    kept = {"original": told["originalTransactionId"], "who": who, "last": told["transactionId"], "status": status}
    return {**kept, "renews": renews, "next": told["productId"], "account": told.get("appAccountToken"), "extended": []}


def _millis(seconds: float) -> int:
    return int(seconds * 1000)


# --- keys -----------------------------------------------------------------------------------------------------------------


def _key(store: Store, name: str) -> str:
    """Return a private key, which is made when somebody first asks for it."""
    if (known := store.get(KEY, "key", name)) is None:
        known = {"pem": new_key()}
        store.put(KEY, "key", name, known)
    return str(known["pem"])


def authority(store: Store) -> Authority:
    """Return who signs here, who is made at first need: its root is what ENGAGE_APPLE_ROOT is to name."""
    if (known := store.get(KEY, "key", "authority")) is None:
        known = asdict(Authority.new())
        store.put(KEY, "key", "authority", known)
    return Authority(**known)


def setup(store: Store) -> Mapping[str, str]:
    """Return the settings of the connection, with keys of the sandbox's own."""
    return {
        "environment": "live",
        "bundle_id": BUNDLE,
        "app_apple_id": APP_ID,
        "issuer_id": ISSUER,
        "iap_key_id": IAP_KEY,
        "iap_private_key": _key(store, IAP_KEY),
        "asc_key_id": ASC_KEY,
        "asc_private_key": _key(store, ASC_KEY),
        "apns_team_id": apns.TEAM,
        "apns_key_id": apns.KEY_ID,
        "apns_private_key": _key(store, apns.KEY_ID),
    }


def traits(person: Person) -> Mapping[str, str]:
    """Return the device; and the subscription's first transaction. Emma and Grace have none; Ben asks for a refund of his."""
    device = {"endpoint_apns": devices.address("apns", person)}
    has_bought = person in {AVA, BEN, CHLOE, DIEGO, FARID, HUGO}
    asks = {"apple_refund_transaction_id": original_id(person)} if person is BEN else {}
    return {**device, "apple_original_transaction_id": original_id(person), **asks} if has_bought else device


def _public_key(store: Store, name: str) -> str:
    public = serialization.load_pem_private_key(_key(store, name).encode(), password=None).public_key()
    return public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()


def _signed_by_key(store: Store, name: str, token: str, audience: str) -> Json | None:
    """Return what a token of one of the keys says; None where that key has not signed it."""
    try:
        if jwt.get_unverified_header(token).get("kid") != name:
            return None
        claims: Json = jwt.decode(
            token, _public_key(store, name), algorithms=["ES256"], audience=audience, issuer=ISSUER
        )
    except jwt.PyJWTError:
        return None
    return claims


# --- what it answers ------------------------------------------------------------------------------------------------------


def answer(request: Request, store: Store) -> Response:
    """Answer one request, inside the store's transaction."""
    _pass_time(store)
    if request.path.startswith("/catalogue/"):
        if _signed_by_key(store, ASC_KEY, request.bearer(), AUDIENCE) is None:
            told = {"status": "401", "code": "NOT_AUTHORIZED", "title": "Authentication credentials are invalid."}
            return Response(HTTPStatus.UNAUTHORIZED, {"errors": [told]})
        return routed(request, store, CATALOGUE_ROUTES, lambda status: {"errors": [{"status": str(int(status))}]})
    if request.path.startswith("/push/"):
        return apns.answer(request, store, _public_key(store, apns.KEY_ID))
    claims = _signed_by_key(store, IAP_KEY, request.bearer(), AUDIENCE)
    if claims is None or claims.get("bid") != BUNDLE:
        return Response(HTTPStatus.UNAUTHORIZED, raw="Unauthenticated\n", content_type="text/plain")
    return routed(request, store, ROUTES, lambda status: {"errorCode": int(status) * 10_000, "errorMessage": "Error"})


def _no(code: int, message: str) -> Refusal:
    return Refusal(code // 10_000, {"errorCode": code, "errorMessage": message})


def _pass_time(store: Store) -> None:
    """Renew what renews, to the product that was chosen for it, and end the rest."""
    now = _millis(store.now())
    for row in store.all(KEY, "subscription"):
        while row["status"] == ACTIVE and (due := _last(store, row)["expiresDate"]) <= now:
            if row["renews"]:
                _go_on(store, row, row["next"], due / 1000, transactionReason="RENEWAL")
            else:
                row["status"] = EXPIRED
            store.put(KEY, "subscription", row["original"], row)


def _last(store: Store, row: Json) -> Json:
    found: Json = (store.get(KEY, "transaction", row["last"]) or {})["told"]
    return found


def _new_number(store: Store) -> str:
    return f"2000001{len(store.all(KEY, 'transaction')):09d}"


def _go_on(store: Store, row: Json, product: str, at: float, **more: Any) -> Json:
    """Add a transaction to a subscription; return what Apple says of it."""
    told = _told(_new_number(store), row["original"], product, at, row["account"], **more)
    store.put(KEY, "transaction", told["transactionId"], {"who": row["who"], "told": told})
    row |= {"last": told["transactionId"], "status": ACTIVE, "next": product, "renews": 1}
    store.put(KEY, "subscription", row["original"], row)
    return told


def _signed(store: Store, told: Json) -> str:
    return authority(store).sign({**told, "signedDate": _millis(store.now())})


def _transaction(store: Store, number: str) -> Json:
    if not number.isdecimal():
        raise _no(4000006, "Invalid transaction id.")
    row = store.get(KEY, "transaction", number)
    if row is None:
        raise _no(4040010, "Transaction id not found.")
    told: Json = row["told"]
    return told


def transaction(_: Request, store: Store, number: str) -> Response:
    """`GET /inApps/v1/transactions/{transactionId}`."""
    return Response(body={"signedTransactionInfo": _signed(store, _transaction(store, number))})


def not_in_sandbox(_: Request, __: Store) -> Response:
    """`GET /inApps/v1/transactions/{transactionId}` of Apple's own sandbox."""
    raise _no(4040010, "Transaction id not found.")


def subscription(_: Request, store: Store, number: str) -> Response:
    """`GET /inApps/v1/subscriptions/{transactionId}`: any transaction of it will do."""
    original = _transaction(store, number)["originalTransactionId"]
    row = store.get(KEY, "subscription", original)
    group = {"subscriptionGroupIdentifier": GROUP, "lastTransactions": [_status(store, row)]} if row else None
    about = {"environment": ENVIRONMENT, "bundleId": BUNDLE, "appAppleId": int(APP_ID)}
    return Response(body={**about, "data": [group] if group else []})


def _status(store: Store, row: Json) -> Json:
    last = _last(store, row)
    renewal = {
        "originalTransactionId": row["original"],
        "productId": last["productId"],
        "autoRenewProductId": row["next"],
        "autoRenewStatus": row["renews"],
        "renewalDate": last["expiresDate"],
        "environment": ENVIRONMENT,
        **({"appAccountToken": row["account"]} if row["account"] else {}),
    }
    return {
        "originalTransactionId": row["original"],
        "status": row["status"],
        "signedTransactionInfo": _signed(store, last),
        "signedRenewalInfo": _signed(store, renewal),
    }


def extend(request: Request, store: Store, number: str) -> Response:
    """`PUT /inApps/v1/subscriptions/extend/{originalTransactionId}`: twice in 365 days; a repeat extends again."""
    wish = request.members()
    days, reason = wish.get("extendByDays"), wish.get("extendReasonCode")
    row = store.get(KEY, "subscription", number)
    if row is None:
        _transaction(store, number)
        raise _no(4000187, "Invalid originalTransactionId.")
    if not isinstance(days, int) or isinstance(days, bool) or not 1 <= days <= 90:
        raise _no(4000009, "Invalid extend by days value.")
    if reason not in REASONS:
        raise _no(4000010, "Invalid extend reason code.")
    if not wish.get("requestIdentifier"):
        raise _no(4000011, "Invalid request identifier.")
    if row["status"] != ACTIVE:
        raise _no(4030004, "The subscription is ineligible for a renewal-date extension.")
    if len([at for at in row["extended"] if at > store.now() - A_YEAR]) >= MOST_EXTENSIONS:
        raise _no(4030005, "The subscription has already received the maximum renewal-date extensions.")
    last = _last(store, row)
    last["expiresDate"] += _millis(days * DAY)
    store.put(KEY, "transaction", last["transactionId"], {"who": row["who"], "told": last})
    store.put(KEY, "subscription", number, {**row, "extended": [*row["extended"], store.now()]})
    store.effect(KEY, "renewal_extended", row["who"], days=days, until=_day(last["expiresDate"]))
    told = {"originalTransactionId": number, "webOrderLineItemId": last["webOrderLineItemId"]}
    return Response(body={**told, "success": True, "effectiveDate": last["expiresDate"]})


def set_account(request: Request, store: Store, number: str) -> Response:
    """`PUT /inApps/v1/transactions/{originalTransactionId}/appAccountToken`: on the purchase, and on what renews it."""
    told = _transaction(store, number)
    if told["originalTransactionId"] != number:
        raise _no(4000187, "The transaction identifier is not an original transaction identifier.")
    try:
        account = str(uuid.UUID(request.members().get("appAccountToken")))
    except (ValueError, TypeError, AttributeError):
        raise _no(4000183, "Invalid request. The app account token value must be a valid UUID.") from None
    row, who = store.get(KEY, "subscription", number), (store.get(KEY, "transaction", number) or {})["who"]
    for shown in (told, _last(store, row)) if row else (told,):
        store.put(
            KEY, "transaction", shown["transactionId"], {"who": who, "told": {**shown, "appAccountToken": account}}
        )
    if row:
        store.put(KEY, "subscription", number, {**row, "account": account})
    store.effect(KEY, "account_token_set", who, account=account)
    return Response(raw="")


def consumption(request: Request, store: Store, number: str) -> Response:
    """`PUT /inApps/v2/transactions/consumption/{transactionId}`: how it was used, of which nothing comes here."""
    told, wish = _transaction(store, number), request.members()
    used, delivery, preference = (
        wish.get(name) for name in ("consumptionPercentage", "deliveryStatus", "refundPreference")
    )
    if wish.get("customerConsented") is not True:
        raise _no(4000035, "Invalid request. The customer consented field is invalid.")
    if delivery not in DELIVERIES:
        raise _no(4000036, "Invalid request. The delivery status field is invalid.")
    if not isinstance(wish.get("sampleContentProvided"), bool):
        raise _no(4000041, "Invalid request. The sample content provided field is invalid.")
    if preference not in PREFERENCES:
        raise _no(4000000, "Invalid request. The refund preference field is invalid.")
    if used is not None and told["type"] == SUBSCRIPTION:
        raise _no(4000000, "The consumption percentage is unsupported for auto-renewable subscriptions.")
    if used is not None and not (isinstance(used, int) and 0 <= used <= ALL_OF_IT):
        raise _no(4000000, "The consumption percentage is outside the valid range.")
    if used and delivery != DELIVERED:
        raise _no(4000000, "The consumption percentage must be zero for the delivery status.")
    who = (store.get(KEY, "transaction", number) or {})["who"]
    store.effect(KEY, "consumption_told", who, transaction=number, delivery=delivery, preference=preference or "")
    return Response(HTTPStatus.ACCEPTED, raw="")


ROUTES: tuple[Route, ...] = (
    ("GET", "/inApps/v1/transactions/([^/]+)", transaction),
    ("PUT", "/inApps/v1/transactions/([^/]+)/appAccountToken", set_account),
    ("PUT", "/inApps/v2/transactions/consumption/([^/]+)", consumption),
    ("GET", "/sandbox/inApps/v1/transactions/[^/]+", not_in_sandbox),
    ("GET", "/inApps/v1/subscriptions/([^/]+)", subscription),
    ("PUT", "/inApps/v1/subscriptions/extend/([^/]+)", extend),
)


# --- App Store Connect ----------------------------------------------------------------------------------------------------


def _data(kind: str, rows: Sequence[tuple[str, Json]]) -> Response:
    data = [{"type": kind, "id": number, "attributes": attributes} for number, attributes in rows]
    return Response(body={"data": data, "links": {}})


def apps(request: Request, _: Store) -> Response:
    """`GET /v1/apps?filter[bundleId]=`."""
    is_ours = request.first("filter[bundleId]") in {"", BUNDLE}
    return _data("apps", [(APP_ID, {"name": "Streamly", "bundleId": BUNDLE})] if is_ours else [])


def groups(_: Request, __: Store) -> Response:
    """`GET /v1/apps/{id}/subscriptionGroups`."""
    return _data("subscriptionGroups", [(GROUP, {"referenceName": "Streamly"})])


def subscriptions(_: Request, __: Store) -> Response:
    """`GET /v1/subscriptionGroups/{id}/subscriptions`: with one that is not for sale yet."""
    rows = [
        (number, {"name": name, "productId": product, "state": "APPROVED", "groupLevel": level})
        for product, (number, name, level, _, _) in SUBSCRIPTIONS.items()
    ]
    planned = {"name": "Family", "productId": f"{BUNDLE}.family", "state": "MISSING_METADATA", "groupLevel": 1}
    return _data("subscriptions", [*rows, ("104", planned)])


def _offers(number: str, offers: Mapping[str, str], kind: str, member: str) -> Response:
    found = [offer for product, offer in offers.items() if SUBSCRIPTIONS[product][0] == number]
    return _data(kind, [(f"{kind}-{offer}", {"name": offer, member: offer}) for offer in found])


def promotional_offers(_: Request, __: Store, number: str) -> Response:
    """`GET /v1/subscriptions/{id}/promotionalOffers`."""
    return _offers(number, PROMOTIONAL, "subscriptionPromotionalOffers", "offerCode")


def win_back_offers(_: Request, __: Store, number: str) -> Response:
    """`GET /v1/subscriptions/{id}/winBackOffers`."""
    return _offers(number, WINBACK, "winBackOffers", "offerId")


def purchases(_: Request, __: Store) -> Response:
    """`GET /v1/apps/{id}/inAppPurchasesV2`."""
    kinds = {CONSUMABLE: "CONSUMABLE", ONCE: "NON_CONSUMABLE"}
    rows = [
        (number, {"name": name, "productId": product, "inAppPurchaseType": kinds[kind], "state": "APPROVED"})
        for product, (number, name, kind, _) in PRODUCTS.items()
    ]
    return _data("inAppPurchases", rows)


CATALOGUE_ROUTES: tuple[Route, ...] = (
    ("GET", "/catalogue/v1/apps", apps),
    ("GET", f"/catalogue/v1/apps/{APP_ID}/subscriptionGroups", groups),
    ("GET", f"/catalogue/v1/apps/{APP_ID}/inAppPurchasesV2", purchases),
    ("GET", f"/catalogue/v1/subscriptionGroups/{GROUP}/subscriptions", subscriptions),
    ("GET", "/catalogue/v1/subscriptions/([^/]+)/promotionalOffers", promotional_offers),
    ("GET", "/catalogue/v1/subscriptions/([^/]+)/winBackOffers", win_back_offers),
)


# --- the device -----------------------------------------------------------------------------------------------------------


def device(person: Person, instruction: Json, store: Store) -> Json:
    """Buy with StoreKit, as somebody who agrees to what Apple's sheet asks; returns the signed transaction."""
    _pass_time(store)
    is_subscription = instruction["purchase"]["type"] == "Subs"
    wish = instruction["purchase"]["requestSubscription" if is_subscription else "requestPurchase"]["apple"]
    if (instruction["bundle_id"], instruction["environment"]) != (BUNDLE, ENVIRONMENT):
        raise Declined("The App Store does not sell this app's products here.")
    product, account = wish["sku"], wish.get("appAccountToken")
    if product not in (SUBSCRIPTIONS if is_subscription else PRODUCTS):
        raise Declined("productUnavailable")
    if is_subscription:
        return {"signedTransactionInfo": _signed(store, _subscribe(person, product, wish, store))}
    owned = [row for row in store.all(KEY, "transaction") if row["who"] == person.user_id]
    if PRODUCTS[product][2] == ONCE and product in {row["told"]["productId"] for row in owned}:
        raise Declined("The product was bought before.")
    number = _new_number(store)
    told = _told(number, number, product, store.now(), account, quantity=int(wish["quantity"]))
    store.put(KEY, "transaction", number, {"who": person.user_id, "told": told})
    store.effect(KEY, "product_bought", person.user_id, product=product, quantity=told["quantity"])
    return {"signedTransactionInfo": _signed(store, told)}


def _subscribe(person: Person, product: str, wish: Json, store: Store) -> Json:
    """Subscribe, come back, or change within the group; return the transaction that shows it."""
    row = next((row for row in store.all(KEY, "subscription") if row["who"] == person.user_id), None)
    offer = _offer(person, product, wish, row, store)
    account = wish.get("appAccountToken")
    if row is None:
        number = _new_number(store)
        told = _told(number, number, product, store.now(), account, **offer)
        store.put(KEY, "transaction", number, {"who": person.user_id, "told": told})
        store.put(KEY, "subscription", number, _subscription(person.user_id, told))
        store.effect(
            KEY, "subscription_bought", person.user_id, product=product, offer=offer.get("offerIdentifier", "")
        )
        return told
    present, runs = _last(store, row)["productId"], row["status"] in {ACTIVE, GRACE}
    if runs and present == product and row["renews"] and row["next"] == product:
        raise Declined("The person is subscribed to this product.")
    row["account"] = account
    level, length = SUBSCRIPTIONS[product][2:4]
    higher, same = level < SUBSCRIPTIONS[present][2], level == SUBSCRIPTIONS[present][2]
    # A change within a level comes at once where the periods are as long, else with the renewal, as one to a lower level does.
    if runs and not higher and not (same and length == SUBSCRIPTIONS[present][3]):
        store.put(KEY, "subscription", row["original"], {**row, "next": product, "renews": 1})
        store.effect(KEY, "change_scheduled", person.user_id, product=product)
        return _last(store, row)
    told = _go_on(store, row, product, store.now(), **offer)
    store.effect(KEY, "plan_changed" if runs else "subscription_bought", person.user_id, product=product)
    return told


def _offer(person: Person, product: str, wish: Json, row: Json | None, store: Store) -> Json:
    """Return what the transaction says of its offer, whose signature must be the In-App Purchase key's; Declined otherwise."""
    if promotional := wish.get("promotionalOfferJWS"):
        claims = _signed_by_key(store, IAP_KEY, promotional["jws"], "promotional-offer")
        named = (product, promotional["offerId"])
        if claims is None or (claims.get("productId"), claims.get("offerIdentifier")) != named:
            raise Declined("invalidOfferSignature")
        if PROMOTIONAL.get(product) != promotional["offerId"] or row is None:
            raise Declined("ineligibleForOffer")
        if store.get(KEY, "nonce", claims["nonce"]) is not None:
            raise Declined("invalidOfferSignature: it was used before.")
        _require_own(person, claims, store)
        store.put(KEY, "nonce", claims["nonce"], {"at": store.now()})
        return {"offerType": 2, "offerIdentifier": promotional["offerId"]}
    if winback := wish.get("winBackOffer"):
        if WINBACK.get(product) != winback["offerId"] or row is None or row["status"] != EXPIRED:
            raise Declined("ineligibleForOffer")
        return {"offerType": 4, "offerIdentifier": winback["offerId"]}
    if introductory := wish.get("compactJWS"):
        claims = _signed_by_key(store, IAP_KEY, introductory, "introductory-offer-eligibility")
        if claims is None or claims.get("productId") != product:
            raise Declined("invalidOfferSignature")
        _require_own(person, claims, store)
        return {"offerType": 1} if claims.get("allowIntroductoryOffer") else {}
    return {}


def _require_own(person: Person, claims: Json, store: Store) -> None:
    number = claims.get("transactionId")
    known = store.get(KEY, "transaction", number) if number else None
    if number and (known is None or known["who"] != person.user_id):
        raise Declined("invalidOfferSignature: the transaction is another customer's.")


# --- shown to people ------------------------------------------------------------------------------------------------------


def state(store: Store) -> Json:
    """Return this world for the control API."""
    _pass_time(store)
    rows = [{**row, "shown": _last(store, row)} for row in store.all(KEY, "subscription")]
    kept = {"transactions": store.all(KEY, "transaction"), "notifications": store.all(KEY, "notification")}
    return {"subscriptions": rows, **kept}


def tables(store: Store) -> Sequence[Table]:
    """Return what the page shows of this world: subscriptions, what else was bought, and notifications."""
    world, words = state(store), {ACTIVE: "active", EXPIRED: "expired", GRACE: "in the time of grace"}
    rows = [
        (
            row["who"],
            row["shown"]["productId"],
            words[row["status"]],
            _day(row["shown"]["expiresDate"]),
            _follows(row),
            row["original"],
        )
        for row in world["subscriptions"]
    ]
    once = [
        (row["who"], row["told"]["productId"], row["told"]["quantity"], row["told"]["transactionId"])
        for row in world["transactions"]
        if row["told"]["productId"] in PRODUCTS
    ]
    return [
        ("Subscriptions", ("Of", "Product", "State", "Until", "Then", "Original transaction id"), rows),
        ("Other purchases", ("By", "Product", "Quantity", "Transaction id"), once),
        devices.table(store, KEY),
    ]


def _follows(row: Json) -> str:
    if not row["renews"]:
        return "does not renew"
    return "renews" if row["next"] == row["shown"]["productId"] else str(row["next"])


def _day(millis: int) -> str:
    return str(datetime.fromtimestamp(millis / 1000, UTC).date())


NOTE = (
    "What this world signs leads to a root of its own, which the demo believes in place of Apple's. Outside the demo, start the "
    "sandbox with --apple-root FILE, and name that file in ENGAGE_APPLE_ROOT."
)
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
    note=NOTE,
)

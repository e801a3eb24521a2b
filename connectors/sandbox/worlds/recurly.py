"""Recurly's API v2021-02-25, as its published contract describes it (recurly.com/developers): what Engage asks of it.

The mount point stands for `https://v3.recurly.com`. Farid's card is declined, and Grace has no payment method. With its period a
cancelled subscription expires, a pause begins and a scheduled change takes effect; everything else renews for thirty days.
Invoices have a state and nothing more. Where Recurly says nothing (how long it knows a key, what a page's cursor is), this world
picks something.
"""

import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

from connectors.sandbox.http import Refusal, Request, Response, Route, once, routed
from connectors.sandbox.people import AVA, BEN, CHLOE, DIEGO, FARID, GRACE, HUGO, PEOPLE, Person
from connectors.sandbox.store import Json, Store
from connectors.sandbox.world import Table, World

KEY, LABEL = "recurly", "Recurly"
API_KEY = "5a4db0c5a4db0c5a4db0c5a4db0c0001"
VERSION = "v2021-02-25"
DAY = 86_400
PERIOD = 30 * DAY
MOST = 200
TIMEFRAMES = ("now", "bill_date", "term_end", "renewal")
REFUNDS = ("full", "partial", "none")
OVER = ("expired", "failed")
SORTED_BY = {"created_at": "created_at", "updated_at": "updated_at", "recorded_timestamp": "recording_timestamp"}

PLANS: Mapping[str, Json] = {
    code: {
        "id": f"plan{number:08}",
        "object": "plan",
        "code": code,
        "name": name,
        "state": state,
        "currencies": [{"currency": "USD", "unit_amount": price}],
    }
    for number, (code, name, state, price) in enumerate(
        (
            ("basic", "Basic", "active", 7.99),
            ("standard", "Standard", "active", 11.99),
            ("premium", "Premium", "active", 15.99),
            ("sports", "Sports", "active", 9.99),
            ("founders", "Founders' plan", "inactive", 5.0),
        ),
        start=1,
    )
}
RENTALS: Json = {"id": "addon0000001", "object": "add_on", "code": "rentals", "name": "Film rentals", "state": "active"}
EXTRA_SCREEN: Json = {
    "id": "addon0000002",
    "object": "add_on",
    "code": "screen",
    "name": "Extra screen",
    "state": "active",
}
ADD_ONS = (
    RENTALS | {"plan_id": PLANS["standard"]["id"], "add_on_type": "usage", "usage_type": "price"},
    EXTRA_SCREEN | {"plan_id": PLANS["premium"]["id"], "add_on_type": "fixed", "usage_type": None},
)


def _coupon(number: int, code: str, name: str, discount: Json, **more: Any) -> Json:
    known = {"id": f"coupon{number:06}", "object": "coupon", "code": code, "name": name, "discount": discount}
    return {**known, "state": "redeemable", "coupon_type": "single_code", "redemption_resource": "account", **more}


COUPONS = (
    _coupon(1, "SAVE20", "20 % off", {"type": "percent", "percent": 20}),
    _coupon(2, "FIVER", "5 dollars off", {"type": "fixed", "currencies": [{"currency": "USD", "amount": 5.0}]}),
    _coupon(3, "STAY50", "Half price", {"type": "percent", "percent": 50}, redemption_resource="subscription"),
    _coupon(4, "GIFT", "Single codes", {"type": "percent", "percent": 100}, coupon_type="bulk"),
    _coupon(5, "SUMMER24", "A summer that is over", {"type": "percent", "percent": 25}, state="expired"),
)


def account_id(person: Person) -> str:
    """Return Recurly's own id of somebody's account."""
    return f"account{person.number:05}"


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _moment(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def _mini(row: Json, *names: str) -> Json:
    return {name: row[name] for name in ("id", "object", "code", *names)}


def _new_subscription(store: Store, account: Json, plan: str, starts: float, **changes: Any) -> Json:
    number = f"subscr{len(store.all(KEY, 'subscription')) + 1:06}"
    price = PLANS[plan]["currencies"][0]["unit_amount"]
    row: Json = {
        "id": number,
        "object": "subscription",
        "uuid": uuid.uuid5(uuid.NAMESPACE_URL, number).hex,
        "account": _mini(account, "email", "first_name", "last_name"),
        "plan": _mini(PLANS[plan], "name"),
        "state": "active",
        "currency": "USD",
        "unit_amount": price,
        "quantity": 1,
        "total": price,
        "coupon_redemptions": [],
        "pending_change": None,
        "current_period_started_at": _time(starts),
        "current_period_ends_at": _time(starts + PERIOD),
        "trial_started_at": None,
        "trial_ends_at": None,
        "paused_at": None,
        "remaining_pause_cycles": None,
        "created_at": _time(starts),
        "updated_at": _time(starts),
        "activated_at": _time(starts),
        "canceled_at": None,
        "expires_at": None,
        **changes,
    }
    store.put(KEY, "subscription", number, row)
    return row


def seed(store: Store, more: Json | None = None) -> None:
    """Fill the world with an account for everybody; with `more`, put these `subscriptions` (as the API shows them) into it."""
    for row in (more or {}).get("subscriptions", ()):
        store.put(KEY, "subscription", row["id"], row)
    if more is not None:
        return
    now = store.now()
    begun = now - 10 * DAY
    for person in PEOPLE:
        known = {"id": account_id(person), "object": "account", "code": person.user_id, "email": person.email}
        account = known | {"first_name": person.first, "last_name": person.last, "state": "active"}
        store.put(KEY, "account", known["id"], account)
        for plan, changes in _bought(now).get(person, ()):
            row = _new_subscription(store, account, plan, begun, **changes)
            state = "past_due" if person is FARID else "paid"
            invoice = {"id": row["id"].replace("subscr", "invoic"), "object": "invoice", "account": row["account"]}
            shown = invoice | {"state": state, "created_at": _time(begun), "updated_at": _time(begun)}
            store.put(KEY, "invoice", shown["id"], shown)


def _bought(now: float) -> Mapping[Person, Sequence[tuple[str, Json]]]:
    """Return who has which plans, and what is particular of it. Emma has none."""
    ended = _time(now - 3 * DAY)
    return {
        AVA: [("standard", {})],
        BEN: [("premium", {"state": "canceled", "canceled_at": ended, "expires_at": _time(now + 20 * DAY)})],
        CHLOE: [("basic", {"trial_started_at": _time(now - 10 * DAY), "trial_ends_at": _time(now + 20 * DAY)})],
        DIEGO: [("basic", {}), ("sports", {})],
        FARID: [("standard", {})],
        GRACE: [("standard", {"state": "paused", "paused_at": ended, "remaining_pause_cycles": 2})],
        HUGO: [("premium", {"state": "expired", "canceled_at": ended, "expires_at": ended})],
    }


def setup(_: Store) -> Mapping[str, str]:
    """Return the settings of the connection."""
    return {"region": "us", "api_key": API_KEY, "use_account_code": "on", "traits_for": "trait"}


def traits(person: Person) -> Mapping[str, str]:
    """Return the account's code, which is the App's own id."""
    return {"account_code": person.user_id}


# --- what it answers ------------------------------------------------------------------------------------------------------


def _error(kind: str, message: str, params: Sequence[str] = (), **more: Any) -> Json:
    return {"error": {"type": kind, "message": message, "params": [{"param": name} for name in params], **more}}


def _no(message: str, *params: str) -> Refusal:
    return Refusal(HTTPStatus.UNPROCESSABLE_ENTITY, _error("validation", message, params))


def answer(request: Request, store: Store) -> Response:
    """Answer one request, inside the store's transaction; to a key that came before, what was answered to it then."""
    if request.basic() != (API_KEY, ""):
        words = "There was a problem authenticating the given API key."
        return Response(HTTPStatus.UNAUTHORIZED, _error("unauthorized", words))
    if f"application/vnd.recurly.{VERSION}" not in request.headers.get("accept", ""):
        return Response(HTTPStatus.NOT_ACCEPTABLE, _error("invalid_api_version", "Use a valid API version."))
    _end_periods(store)

    def act() -> Response:
        return routed(request, store, ROUTES, lambda status: _error("not_found", status.phrase))

    if request.method == "GET":
        return act()
    clash = _no("This Idempotency-Key came with another request.").response
    return once(request, store, KEY, act, header="idempotency-key", clash=clash, mark={"Idempotency-Prior": "true"})


def _end_periods(store: Store) -> None:
    """Let what waits for the end of a period come true."""
    for row in store.all(KEY, "subscription"):
        ends = row["current_period_ends_at"]
        if row["state"] not in ("active", "canceled") or _moment(ends) > store.now():
            continue
        if row["state"] == "canceled":
            _put(store, row, state="expired")
            store.effect(KEY, "expired", row["id"])
            continue
        if row["pending_change"]:
            _take_effect(row, row["pending_change"])
        if row["remaining_pause_cycles"]:
            row["state"] = "paused"
        _put(store, row, current_period_started_at=ends, current_period_ends_at=_time(_moment(ends) + PERIOD))


def _put(store: Store, row: Json, **changes: Any) -> Response:
    """Keep a subscription, changed; returns the answer that shows it."""
    row |= {**changes, "updated_at": _time(store.now())}
    store.put(KEY, "subscription", row["id"], row)
    return Response(body=row)


def _list(request: Request, rows: Sequence[Json]) -> Response:
    """Return a page of a list, in the order that is asked for: the newest first where none is."""
    by, limit = SORTED_BY.get(request.first("sort", "created_at")), request.first("limit", "20")
    since = request.first("begin_time")
    if by is None or not limit.isdecimal() or not 1 <= int(limit[:9]) <= MOST:
        raise Refusal(HTTPStatus.BAD_REQUEST, _error("bad_request", f"limit is 1 to {MOST}.", ["limit", "sort"]))
    rows = [row for row in rows if str(row.get(by)) >= since]
    rows = sorted(rows, key=lambda row: str(row.get(by)), reverse=request.first("order", "desc") == "desc")
    ids = [row["id"] for row in rows]
    start = ids.index(request.first("cursor")) if request.first("cursor") in ids else 0
    shown = rows[start : start + int(limit)]
    more = len(rows) > start + len(shown)
    asked = "".join(f"&{name}={value}" for name, (value, *_) in request.query.items() if name != "cursor")
    following = f"{request.path}?cursor={ids[start + len(shown)]}{asked}" if more else None
    return Response(body={"object": "list", "has_more": more, "next": following, "data": shown})


def _known(store: Store, kind: str, segment: Any) -> Json:
    """Return what a path names: by Recurly's id, by `code-`, or by `uuid-`."""
    for prefix, name in (("code-", "code"), ("uuid-", "uuid"), ("", "id")):
        if str(segment).startswith(prefix):
            wanted = str(segment).removeprefix(prefix)
            rows = ADD_ONS if kind == "add_on" else store.all(KEY, kind)
            for row in rows:
                if row.get(name) == wanted:
                    return row
            break
    words = f"Couldn't find {kind.replace('_', '-').title()} with id = {segment}"
    raise Refusal(HTTPStatus.NOT_FOUND, _error("not_found", words, [f"{kind}_id"]))


def _charge(account: Json) -> None:
    """Take a payment.

    Raises:
        Refusal: there is nothing to take it from, or the card is declined.

    """
    if account["id"] not in [account_id(person) for person in PEOPLE if person is not GRACE]:
        raise _no("Billing info can't be blank.", "account.billing_info")
    if account["id"] == account_id(FARID):
        words = "The transaction was declined. Please use a different card or contact your bank."
        declined = {"category": "soft", "code": "declined", "message": words, "merchant_advice": words}
        told = _error("transaction", words, transaction_error={"object": "transaction_error", **declined})
        raise Refusal(HTTPStatus.UNPROCESSABLE_ENTITY, told)


def sites(request: Request, _: Store) -> Response:
    """`GET /sites`: the one of the key."""
    return _list(request, [{"id": "site00000001", "object": "site", "subdomain": "streamly", "mode": "sandbox"}])


def plans(request: Request, _: Store) -> Response:
    """`GET /plans`."""
    return _list(request, [row for row in PLANS.values() if request.first("state", row["state"]) == row["state"]])


def add_ons(request: Request, _: Store) -> Response:
    """`GET /add_ons`: those of all plans."""
    return _list(request, [row for row in ADD_ONS if request.first("state", row["state"]) == row["state"]])


def coupons(request: Request, _: Store) -> Response:
    """`GET /coupons`."""
    return _list(request, COUPONS)


def _coupon_of(number: Any) -> Json:
    found = next((row for row in COUPONS if number in (row["id"], f"code-{row['code']}")), None)
    if found is None:
        words = f"Couldn't find Coupon with id = {number}"
        raise Refusal(HTTPStatus.NOT_FOUND, _error("not_found", words, ["coupon_id"]))
    return found


def coupon(_: Request, __: Store, number: str) -> Response:
    """`GET /coupons/{coupon_id}`."""
    return Response(body=_coupon_of(number))


def accounts(request: Request, store: Store) -> Response:
    """`GET /accounts`: `email` finds the address exactly."""
    rows = store.all(KEY, "account")
    return _list(request, [row for row in rows if request.first("email", row["email"]) == row["email"]])


def account(_: Request, store: Store, segment: str) -> Response:
    """`GET /accounts/{account_id}`."""
    return Response(body=_known(store, "account", segment))


def subscriptions(request: Request, store: Store, segment: str = "") -> Response:
    """`GET /subscriptions` and `/accounts/{account_id}/subscriptions`: of all states, unless one is asked for."""
    rows = _of(store, "subscription", segment)
    state = request.first("state")
    wanted = ("active", "canceled", "future") if state == "live" else (state,)
    return _list(request, [row for row in rows if not state or row["state"] in wanted])


def invoices(request: Request, store: Store, segment: str = "") -> Response:
    """`GET /invoices` and `/accounts/{account_id}/invoices`."""
    return _list(request, _of(store, "invoice", segment))


def _of(store: Store, kind: str, segment: str) -> list[Json]:
    owner = _known(store, "account", segment)["id"] if segment else ""
    return [row for row in store.all(KEY, kind) if owner in ("", row["account"]["id"])]


def subscription(_: Request, store: Store, segment: str) -> Response:
    """`GET /subscriptions/{subscription_id}`."""
    return Response(body=_known(store, "subscription", segment))


def redemptions(_: Request, store: Store, segment: str) -> Response:
    """`GET /accounts/{account_id}/coupon_redemptions/active`: all at once."""
    rows = _of(store, "redemption", segment)
    return Response(body={"object": "list", "has_more": False, "next": None, "data": rows})


def redeem(request: Request, store: Store, segment: str) -> Response:
    """`POST /accounts/{account_id}/coupon_redemptions/active`: on the account, or on one of its subscriptions."""
    owner, told = _known(store, "account", segment), request.members()
    meant = _coupon_of(told.get("coupon_id"))
    if meant["state"] != "redeemable" or meant["coupon_type"] != "single_code":
        raise _no("The coupon is not redeemable.", "coupon_id")
    on = told.get("subscription_id")
    if (meant["redemption_resource"] == "subscription") is not (on is not None):
        raise _no("The coupon is for another resource.", "subscription_id")
    currency = told.get("currency")
    if meant["discount"]["type"] == "fixed" and currency != "USD":
        raise _no("The coupon has no discount in this currency.", "currency")
    if any(row["coupon"]["id"] == meant["id"] for row in _of(store, "redemption", owner["id"])):
        raise _no("This coupon has already been redeemed.", "coupon_id")
    number = f"redeem{len(store.all(KEY, 'redemption')) + 1:06}"
    row = {
        "id": number,
        "object": "coupon_redemption",
        "account": _mini(owner, "email"),
        "subscription_id": on,
        "coupon": meant,
        "state": "active",
        "currency": currency or "USD",
        "discounted": 0.0,
        "created_at": _time(store.now()),
    }
    if on is not None:
        found = _known(store, "subscription", on)
        _put(store, found, coupon_redemptions=[*found["coupon_redemptions"], {"id": number, "coupon": meant}])
    store.put(KEY, "redemption", number, row)
    store.effect(KEY, "coupon_redeemed", owner["code"], coupon=meant["code"])
    return Response(body=row)


def _sold(told: Json, default: str = "") -> str:
    code = told.get("plan_code", default)
    if code not in PLANS or PLANS[code]["state"] != "active":
        raise _no("The plan code is invalid.", "plan_code")
    return str(code)


def create(request: Request, store: Store) -> Response:
    """`POST /subscriptions`: with a plan, a currency and an account, which pays unless there is a trial."""
    told = request.members()
    plan = _sold(told)
    if told.get("currency") != "USD":
        raise _no("The plan has no price in this currency.", "currency")
    wanted = told.get("account")
    code = wanted.get("code") if isinstance(wanted, dict) else None
    owner = next((row for row in store.all(KEY, "account") if row["code"] == code), None)
    if owner is None:  # which Recurly would make, and then have nothing to charge
        raise _no("Billing info can't be blank.", "account.billing_info")
    codes = {row["code"]: row for row in COUPONS if row["state"] == "redeemable"}
    if unknown := [one for one in told.get("coupon_codes") or () if one not in codes]:
        raise _no(f"Coupon code {unknown[0]} is invalid.", "coupon_codes")
    now = store.now()
    ends = told.get("trial_ends_at")
    trial = {"trial_started_at": _time(now), "trial_ends_at": ends, "current_period_ends_at": ends} if ends else {}
    if not ends:
        _charge(owner)
    redeemed = [
        {"id": f"redeem{place}", "coupon": codes[one]} for place, one in enumerate(told.get("coupon_codes") or ())
    ]
    row = _new_subscription(store, owner, plan, now, coupon_redemptions=redeemed, **trial)
    store.effect(KEY, "subscription_created", owner["code"], plan=plan)
    return Response(HTTPStatus.CREATED, row)


def change(request: Request, store: Store, segment: str) -> Response:
    """`POST /subscriptions/{subscription_id}/change`: now, or in place of what is scheduled."""
    row, told = _known(store, "subscription", segment), request.members()
    when = told.get("timeframe", "now")
    if when not in TIMEFRAMES:
        raise _no("Please provide valid values for these parameters: timeframe.", "timeframe")
    if row["state"] in OVER:
        raise _no("Expired subscriptions cannot be changed.")
    code = _sold(told, row["plan"]["code"])
    kept = row["unit_amount"] if code == row["plan"]["code"] else PLANS[code]["currencies"][0]["unit_amount"]
    wished = {
        "plan": _mini(PLANS[code], "name"),
        "unit_amount": told.get("unit_amount", kept),
        "quantity": told.get("quantity", row["quantity"]),
    }
    if all(row[name] == value for name, value in wished.items()):
        if row["pending_change"] is None:
            raise _no("Subscription hasn't been changed.")
        _put(store, row, pending_change=None)
        store.effect(KEY, "change_reverted", row["id"])
        return Response(HTTPStatus.NO_CONTENT, raw="")
    shown: Json = {"id": f"change{row['id'][6:]}", "object": "subscription_change", "subscription_id": row["id"]}
    at = _time(store.now()) if when == "now" else row["current_period_ends_at"]
    shown |= wished | {"activated": when == "now", "activate_at": at}
    if when == "now":
        _charge(_known(store, "account", row["account"]["id"]))
        _take_effect(row, shown)
    else:
        row["pending_change"] = shown
    _put(store, row)
    what = "subscription_changed" if when == "now" else "change_scheduled"
    store.effect(KEY, what, row["id"], plan=code, price=wished["unit_amount"])
    return Response(HTTPStatus.CREATED, shown)


def _take_effect(row: Json, shown: Json) -> None:
    row |= {name: shown[name] for name in ("plan", "unit_amount", "quantity")}
    row |= {"total": shown["unit_amount"] * shown["quantity"], "pending_change": None}


def pause(request: Request, store: Store, segment: str) -> Response:
    """`PUT /subscriptions/{subscription_id}/pause`: from the next renewal on; with 0 cycles, no longer."""
    row, cycles = _known(store, "subscription", segment), request.members().get("remaining_pause_cycles")
    if not isinstance(cycles, int) or cycles < 0:
        raise _no("remaining_pause_cycles is required", "remaining_pause_cycles")
    if row["state"] not in ("active", "paused"):
        raise _no("Only active and paused subscriptions can be paused.")
    if cycles == 0:
        return _run_on(store, row)
    store.effect(KEY, "pause_scheduled", row["id"], cycles=cycles)
    return _put(store, row, remaining_pause_cycles=cycles, paused_at=row["paused_at"] or row["current_period_ends_at"])


def resume(_: Request, store: Store, segment: str) -> Response:
    """`PUT /subscriptions/{subscription_id}/resume`."""
    row = _known(store, "subscription", segment)
    if row["state"] != "paused":
        raise _no("The subscription must be in the paused state.")
    return _run_on(store, row)


def _run_on(store: Store, row: Json) -> Response:
    store.effect(KEY, "resumed" if row["state"] == "paused" else "pause_called_off", row["id"])
    return _put(store, row, state="active", remaining_pause_cycles=None, paused_at=None)


def cancel(request: Request, store: Store, segment: str) -> Response:
    """`PUT /subscriptions/{subscription_id}/cancel`: it runs to its end."""
    row, when = _known(store, "subscription", segment), request.members().get("timeframe", "term_end")
    if when not in ("bill_date", "term_end"):
        raise _no("Please provide valid values for these parameters: timeframe.", "timeframe")
    if row["state"] not in ("active", "future"):
        raise _no("Only active and future subscriptions can be canceled.")
    store.effect(KEY, "canceled", row["id"], ends=row["current_period_ends_at"])
    state = "canceled" if row["state"] == "active" else "failed"
    return _put(store, row, state=state, canceled_at=_time(store.now()), expires_at=row["current_period_ends_at"])


def terminate(request: Request, store: Store, segment: str) -> Response:
    """`DELETE /subscriptions/{subscription_id}`: at once."""
    row, refund = _known(store, "subscription", segment), request.first("refund", "none")
    if refund not in REFUNDS:
        raise _no("Please provide valid values for these parameters: refund.", "refund")
    if row["state"] in OVER:
        raise _no("Cannot expire an inactive subscription.")
    store.effect(KEY, "terminated", row["id"], refund=f"refund: {refund}")
    now = _time(store.now())
    return _put(store, row, state="expired", expires_at=now, canceled_at=row["canceled_at"] or now)


def reactivate(_: Request, store: Store, segment: str) -> Response:
    """`PUT /subscriptions/{subscription_id}/reactivate`."""
    row = _known(store, "subscription", segment)
    if row["state"] != "canceled":
        raise _no("Only canceled subscriptions can be reactivated.")
    store.effect(KEY, "reactivated", row["id"])
    return _put(store, row, state="active", canceled_at=None, expires_at=None)


def convert_trial(_: Request, store: Store, segment: str) -> Response:
    """`PUT /subscriptions/{subscription_id}/convert_trial`: it is paid from now on."""
    row, now = _known(store, "subscription", segment), store.now()
    if row["state"] != "active" or not row["trial_ends_at"] or _moment(row["trial_ends_at"]) <= now:
        raise _no("Unable to convert active subscription")
    _charge(_known(store, "account", row["account"]["id"]))
    store.effect(KEY, "trial_converted", row["id"])
    period = {"current_period_started_at": _time(now), "current_period_ends_at": _time(now + PERIOD)}
    return _put(store, row, trial_ends_at=_time(now), **period)


def usages(request: Request, store: Store, segment: str, add_on: str) -> Response:
    """`GET /subscriptions/{subscription_id}/add_ons/{add_on_id}/usage`: nothing is billed yet."""
    of = [_known(store, "subscription", segment)["id"], _known(store, "add_on", add_on)["id"]]
    billed = request.first("billing_status", "unbilled") == "billed"
    return _list(request, [row["usage"] for row in store.all(KEY, "usage") if row["of"] == of and not billed])


def record_usage(request: Request, store: Store, segment: str, add_on: str) -> Response:
    """`POST /subscriptions/{subscription_id}/add_ons/{add_on_id}/usage`."""
    row, used, told = _known(store, "subscription", segment), _known(store, "add_on", add_on), request.members()
    if used["add_on_type"] != "usage" or used["plan_id"] != row["plan"]["id"]:
        words = f"Couldn't find Subscription Add-On with id = {add_on}"
        raise Refusal(HTTPStatus.NOT_FOUND, _error("not_found", words, ["add_on_id"]))
    if not isinstance(told.get("amount"), (int, float)) or row["state"] in OVER:
        raise _no("amount is required", "amount")
    now = _time(store.now())
    usage = {
        "id": f"usage{len(store.all(KEY, 'usage')) + 1:07}",
        "object": "usage",
        "merchant_tag": told.get("merchant_tag"),
        "amount": told["amount"],
        "usage_type": used["usage_type"],
        "recording_timestamp": told.get("recording_timestamp", now),
        "usage_timestamp": told.get("usage_timestamp", now),
        "created_at": now,
    }
    store.put(KEY, "usage", usage["id"], {"of": [row["id"], used["id"]], "usage": usage})
    store.effect(KEY, "usage_recorded", row["id"], add_on=used["code"], amount=told["amount"])
    return Response(HTTPStatus.CREATED, usage)


ROUTES: tuple[Route, ...] = (
    ("GET", "/sites", sites),
    ("GET", "/plans", plans),
    ("GET", "/add_ons", add_ons),
    ("GET", "/coupons", coupons),
    ("GET", "/coupons/([^/]+)", coupon),
    ("GET", "/accounts", accounts),
    ("GET", "/accounts/([^/]+)", account),
    ("GET", "/accounts/([^/]+)/subscriptions", subscriptions),
    ("GET", "/accounts/([^/]+)/invoices", invoices),
    ("GET", "/accounts/([^/]+)/coupon_redemptions/active", redemptions),
    ("POST", "/accounts/([^/]+)/coupon_redemptions/active", redeem),
    ("GET", "/invoices", invoices),
    ("GET", "/subscriptions", subscriptions),
    ("POST", "/subscriptions", create),
    ("GET", "/subscriptions/([^/]+)", subscription),
    ("DELETE", "/subscriptions/([^/]+)", terminate),
    ("POST", "/subscriptions/([^/]+)/change", change),
    ("PUT", "/subscriptions/([^/]+)/pause", pause),
    ("PUT", "/subscriptions/([^/]+)/resume", resume),
    ("PUT", "/subscriptions/([^/]+)/cancel", cancel),
    ("PUT", "/subscriptions/([^/]+)/reactivate", reactivate),
    ("PUT", "/subscriptions/([^/]+)/convert_trial", convert_trial),
    ("GET", "/subscriptions/([^/]+)/add_ons/([^/]+)/usage", usages),
    ("POST", "/subscriptions/([^/]+)/add_ons/([^/]+)/usage", record_usage),
)


# --- shown to people ------------------------------------------------------------------------------------------------------


def state(store: Store) -> Json:
    """Return this world for the control API."""
    _end_periods(store)
    kinds = ("account", "subscription", "redemption", "usage", "invoice")
    return {f"{kind}s": store.all(KEY, kind) for kind in kinds}


def tables(store: Store) -> Sequence[Table]:
    """Return what the page shows of this world: the subscriptions, what was redeemed and used, and the coupons there are."""
    world = state(store)
    rows = [
        (
            row["id"],
            f"{row['account']['first_name']} {row['account']['last_name']}",
            row["account"]["code"],
            row["plan"]["name"],
            f"{row['unit_amount']:.2f} {row['currency']}",
            row["state"],
            _ahead(row),
        )
        for row in world["subscriptions"]
    ]
    redeemed = [(row["account"]["code"], row["coupon"]["code"], row["subscription_id"]) for row in world["redemptions"]]
    used = [(row["of"][0], row["usage"]["amount"], row["usage"]["merchant_tag"]) for row in world["usages"]]
    codes = [(row["code"], row["name"], row["redemption_resource"], row["state"]) for row in COUPONS]
    return [
        ("Subscriptions", ("Id", "Account", "Account code", "Plan", "Price", "State", "Ahead"), rows),
        ("Redeemed coupons", ("Account code", "Coupon", "Subscription"), redeemed),
        ("Usage", ("Subscription", "Amount", "Merchant tag"), used),
        ("Coupons", ("Code", "Name", "For", "State"), codes),
    ]


def _ahead(row: Json) -> str:
    if row["pending_change"]:
        return f"{row['pending_change']['plan']['name']} from {row['pending_change']['activate_at']} on"
    if row["state"] == "canceled":
        return f"expires at {row['expires_at']}"
    if row["remaining_pause_cycles"]:
        return f"pause: {row['remaining_pause_cycles']} cycles"
    return f"trial until {row['trial_ends_at']}" if row["trial_ends_at"] else ""


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

"""Zuora's actions in both object models, each by somebody whom it is for."""

from connectors.sandbox.people import AVA, CHLOE, DIEGO, EMMA, FARID, GRACE
from connectors.sandbox.worlds.zuora import PREMIUM, SPORTS, STANDARD
from tests.sandbox.tries import Try

AMENDS = {"tenant_model": "subscribe_amend"}
UNCHARGED = {"run_billing": False, "collect": False}
FOR_A_YEAR = {
    "plan": PREMIUM,
    "term_type": "TERMED",
    "initial_term": 12,
    "renewal_term": 12,
    "period": "Month",
    "auto_renew": True,
    **UNCHARGED,
}
IN_MONTHS = {"policy": "FixedPeriodsFromToday", "periods": 2, "period": "Month", **UNCHARGED}
RESUMES = {"policy": "Today", "extends_term": True, **UNCHARGED}

TRIES = (
    Try("add_plan", {"plan": SPORTS, **UNCHARGED}, "plan_added", AVA),
    Try("add_plan", {"plan": SPORTS, **UNCHARGED}, "plan_added", FARID, settings=AMENDS),
    Try("remove_plan", {"plan": SPORTS, **UNCHARGED}, "plan_removed", GRACE),
    Try("remove_plan", {"plan": SPORTS, **UNCHARGED}, "plan_removed", GRACE, settings=AMENDS),
    Try("cancel", {"policy": "EndOfCurrentTerm", **UNCHARGED}, "cancelled", AVA),
    Try(
        "cancel",
        {"policy": "EndOfLastInvoicePeriod", "only_plan": STANDARD, **UNCHARGED},
        "cancelled",
        DIEGO,
        settings=AMENDS,
    ),
    Try("suspend", IN_MONTHS, "suspended", AVA),
    Try("suspend", {"policy": "Today", **UNCHARGED}, "suspended", FARID, settings=AMENDS),
    Try("resume", RESUMES, "resumed", CHLOE),
    Try("resume", RESUMES, "resumed", CHLOE, settings=AMENDS),
    Try("auto_renew", {"auto_renew": "off"}, "auto_renew_changed", AVA),
    Try("auto_renew", {"auto_renew": "on"}, "auto_renew_changed", FARID, settings=AMENDS),
    Try("create", FOR_A_YEAR, "subscription_created", EMMA),
    Try("create", FOR_A_YEAR, "subscription_created", EMMA, settings=AMENDS),
)

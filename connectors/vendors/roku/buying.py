"""What the person's own device does: order, and change to another plan. No server can do either.

https://developer.roku.com/docs/references/scenegraph/control-nodes/channelstore.md
"""

import re
from datetime import UTC, datetime
from typing import Any

from django import forms

from connectors.app_stores import InAppPurchase, reported
from connectors.base import NOTHING, CatalogueField, Confirmed, Json, Pending, Values, if_known
from connectors.bodies import without_empty
from connectors.choosing import require
from connectors.http import Api
from connectors.typed_lists import typed
from connectors.vendors.roku.purchases import PRODUCT, TRANSACTION, confirm, is_cancelled, purchase, transaction_of

LINE = re.compile(rf"(?P<code>{PRODUCT})(\s*;\s*(?P<group>[^;]*?)(\s*;\s*(?P<name>[^;]*?)(\s*;.*)?)?)?")


def groups(settings: Values) -> dict[str, str]:
    """Return the products that were typed, and the product group of each, as far as it was said."""
    return {line["code"]: line["group"] or "" for line in typed(settings, "products", LINE)}


class Buying(InAppPurchase):
    """What is bought on the device: the order, and what Roku shows of it afterwards."""

    check_at = "In Roku's Developer Dashboard, open the transaction report and search for the purchase."
    by_client = (
        "A channel on a Roku device fills `order` into a ContentNode of the ChannelStore, a child for each item, runs `doOrder`, "
        "and reports the `purchaseId` that `orderStatus` has. A web page cannot buy here."
    )
    store, reports = "roku", ("purchaseId",)
    order: str | None = None  # the ChannelStore's `order.action`, letter by letter

    class Inputs(forms.Form):
        """What is bought."""

        product = CatalogueField("products", label="Product", help_text="What the person is offered.")

    def wanted(self, api: Api, user: Json, inputs: Values) -> tuple[str, Json]:
        """The order."""
        product = str(inputs["product"])
        require(re.fullmatch(PRODUCT, product), "The product is none of Roku's; choose it again.")
        order = {"action": self.order, "items": [{"code": product, "qty": 1}]}
        return product, {
            "channel_id": api.settings["channel_id"],
            "order": without_empty(order),
            "command": "doOrder",
            "replaces": self.replaces(api, user, product),
            "asked_at": datetime.now(UTC).isoformat(timespec="seconds"),
        }

    def replaces(self, api: Api, user: Json, product: str) -> str | None:
        """Return the transaction whose plan it takes the place of, as far as it is known."""
        return None

    def claimed(self, instruction: Json, detail: Json) -> Json:
        """Ask Roku about the transaction that the channel reports."""
        number = reported(detail, "purchaseId", TRANSACTION, "Roku's")
        order: Any = instruction["order"]
        told = {name: instruction[name] for name in ("operation", "replaces", "asked_at")}
        return {**told, "transaction": number, "product": order["items"][0]["code"]}

    def follow_up(self, api: Api, job: Json) -> Confirmed | Pending:
        """Done once Roku shows it."""
        return confirm(api, job)


class Purchase(Buying):
    """Buy a product."""

    key, label = "purchase", "In-app purchase"
    description = "Opens Roku Pay's order of a product on the device. Trials and offers are those of the dashboard."
    needs = NOTHING


class PlanChange(Buying):
    """Change to another plan of the same product group, for subscriptions that the device's own account has bought."""

    needs = if_known("roku_transaction_id")

    def replaces(self, api: Api, user: Json, product: str) -> str | None:
        """Look at the present plan, where it is known: it must run, and be of the same group."""
        if "roku_transaction_id" not in user:
            return None
        number = transaction_of(user)
        present = purchase(api, number)
        old, known = present.text("productId"), groups(api.settings)
        runs = present.shows("isEntitled", True, False) and not is_cancelled(present)
        require(runs, f"The present plan {old} does not run, or is cancelled: it cannot be changed.")
        require(old != product, f"The person has {product} already.")
        apart = known.get(old) and known.get(product) and known[old] != known[product]
        require(not apart, f"{old} and {product} are of different product groups: Roku changes within one only.")
        return number


class Upgrade(PlanChange):
    """Change to a dearer plan."""

    key, label, order = "upgrade", "Upgrade", "Upgrade"
    description = "Opens Roku Pay's change to a dearer plan on the device: at once, with a credit for what is left."


class Downgrade(PlanChange):
    """Change to a cheaper plan."""

    key, label, order = "downgrade", "Downgrade", "Downgrade"
    description = "Opens Roku Pay's change to a cheaper plan on the device: at the end of the period."

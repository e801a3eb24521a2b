"""Cleeng."""

from connectors.base import Category, Connector


class Cleeng(Connector):
    """Cleeng."""

    key, label, category = "cleeng", "Cleeng", Category.BILLING

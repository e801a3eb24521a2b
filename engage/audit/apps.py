"""The history as a Django app."""

from django.apps import AppConfig


class AuditConfig(AppConfig):
    """Who changed what, when and from where."""

    name = "engage.audit"
    label = "audit"

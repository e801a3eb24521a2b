"""Alerts as a Django app."""

from django.apps import AppConfig


class AlertsConfig(AppConfig):
    """What has gone wrong, and who hears of it."""

    name = "engage.alerts"
    label = "alerts"

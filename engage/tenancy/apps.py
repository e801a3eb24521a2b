"""Tenancy as a Django app."""

from django.apps import AppConfig


class TenancyConfig(AppConfig):
    """People, companies, Apps, and who may do what in which App."""

    name = "engage.tenancy"
    label = "tenancy"

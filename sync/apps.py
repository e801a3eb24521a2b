"""Sync as a Django app."""

from django.apps import AppConfig


class SyncConfig(AppConfig):
    """Subscribers, what is known of them, and the files and webhooks that it comes from."""

    name = "sync"
    verbose_name = "User traits"

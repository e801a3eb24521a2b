"""The vault as a Django app."""

from django.apps import AppConfig
from django.db.models.signals import post_migrate


class VaultConfig(AppConfig):
    """Makes the canary once the tables exist."""

    name = "engage.vault"
    label = "vault"

    def ready(self) -> None:
        """After every `migrate`: the key must fit, and a new database gets its canary."""
        from engage.vault.canary import after_migrate

        post_migrate.connect(after_migrate, sender=self)

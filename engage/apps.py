"""The project as a Django app: commands, checks and the demo."""

from django.apps import AppConfig


class EngageConfig(AppConfig):
    """Commands, checks and the demo."""

    name = "engage"

"""Prompts as a Django app."""

from django.apps import AppConfig


class PromptsConfig(AppConfig):
    """Prompts, what their answers set in motion, and how that went."""

    name = "prompts"

"""Schedules as a Django app."""

from django.apps import AppConfig


class SchedulesConfig(AppConfig):
    """Slots of schedules: which were due, and whether they were done."""

    name = "engage.schedules"
    label = "schedules"

"""The project: settings, wiring, and (in the packages below it) the lowest rooms."""

from engage.celery import app as celery_app

__all__ = ["celery_app"]

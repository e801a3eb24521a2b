"""A Celery that carries a call in its message: no row, no claim, no record."""

import requests
from celery import Celery
from django.conf import settings

app = Celery("bare", set_as_current=False)  # the bell of the product rings at the current one
app.conf.update(
    broker_url=settings.CELERY_BROKER_URL,
    broker_transport_options=settings.CELERY_BROKER_TRANSPORT_OPTIONS,
    task_ignore_result=True,
    task_default_queue="bare",
    worker_prefetch_multiplier=1,
    worker_concurrency=settings.ENGAGE_WORKER_THREADS,
)


@app.task(name="bare.call")
def call(url: str) -> None:
    """Call a vendor."""
    requests.post(url, json={}, timeout=10).raise_for_status()


@app.task(name="bare.nothing")
def nothing(execution: str) -> None:
    """Stand for whatever a row's id is sent for."""

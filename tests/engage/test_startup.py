"""What a process says of itself when it starts."""

import logging

import pytest

from engage.startup import begin

pytestmark = pytest.mark.django_db


def test_settings_are_said_without_their_secrets(settings: object, caplog: pytest.LogCaptureFixture) -> None:
    settings.CELERY_BROKER_URL = "amqp://engage:rabbit-password@broker.example:5672//"  # type: ignore[attr-defined]
    settings.ENGAGE_VENDOR_URLS = {"cleeng": "http://user:vendor-password@127.0.0.1:9000/cleeng"}  # type: ignore[attr-defined]
    settings.ENGAGE_PRIVATE_HOSTS = ["crm.internal:443"]  # type: ignore[attr-defined]
    with caplog.at_level(logging.INFO):
        begin("worker")
    said = caplog.text
    assert "amqp://broker.example:5672" in said
    assert "cleeng at http://127.0.0.1:9000/cleeng" in said
    assert "crm.internal:443" in said
    assert "password" not in said

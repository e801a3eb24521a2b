"""E-mails to the people of the console."""

import logging
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from smtplib import SMTPException
from typing import Any

from django.conf import settings
from django.core.mail import send_mail
from django.template.loader import render_to_string

from engage.tenancy.models import User
from engage.tenancy.rates import HOUR, within

MOST_BY_STRANGERS = 5

logger = logging.getLogger(__name__)
_background = ThreadPoolExecutor(max_workers=1, thread_name_prefix="mail")


def send(to: str, subject: str, template: str, context: Mapping[str, Any]) -> bool:
    """Send a plain text e-mail; its subject becomes one line. Returns whether the mail server took it; else the log says why."""
    text = render_to_string(template, {**context, "base_url": settings.ENGAGE_BASE_URL})
    try:
        send_mail(" ".join(subject.split()), text, None, [to])
    except (SMTPException, OSError):
        logger.exception("An e-mail could not be sent")
        return False
    return True


def send_in_background(to: str, subject: str, template: str, context: Mapping[str, Any]) -> "Future[bool]":
    """Send it after the answer, so that the time that an answer takes does not tell whether somebody was written to."""
    return _background.submit(send, to, subject, template, dict(context))


def send_sparingly(to: User, subject: str, template: str, context: Mapping[str, Any]) -> None:
    """Send in the background what strangers can cause: of one kind at most five e-mails in an hour to one person."""
    if within(f"mail:{template}:{to.pk}", MOST_BY_STRANGERS, HOUR):
        send_in_background(to.email, subject, template, context)

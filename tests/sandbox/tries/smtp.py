"""E-mail's actions, each to somebody whom it is for."""

from connectors.runner import Result
from connectors.sandbox.people import AVA, GRACE
from tests.sandbox.tries import Try

MAIL = {
    "subject": "Thank you, %first_name|friend%",
    "text": "We are glad that you stay.",
    "html": "<p>We are glad.</p>",
}

TRIES = (
    Try("send_email", MAIL, "message_sent", AVA),
    Try("send_email", MAIL, "", GRACE, Result.REJECTED, ends=Result.REJECTED),  # her mailbox is closed
    Try("send_email_to", {**MAIL, "to": "team@streamly.example"}, "message_sent"),
)

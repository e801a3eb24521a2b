"""Twilio's actions, each by somebody whom it is for."""

from connectors.runner import Result
from connectors.sandbox.people import AVA, FARID, HUGO
from connectors.sandbox.worlds.twilio import SECONDS, SERVICE
from tests.sandbox.tries import Try

HELLO = {"text": "Hello %first_name|there%, thank you for staying."}
LOST = Result.REJECTED

TRIES = (
    Try("send_sms", HELLO, "message_sent", AVA, Result.PENDING, later=SECONDS),
    Try("send_sms", HELLO, "message_sent", HUGO, Result.PENDING, later=SECONDS, ends=LOST),
    Try("send_sms", HELLO, "", FARID, LOST, ends=LOST),
    Try(
        "send_sms_to",
        {**HELLO, "to": "+442071838750", "sender": SERVICE},
        "message_sent",
        result=Result.PENDING,
        later=SECONDS,
    ),
)

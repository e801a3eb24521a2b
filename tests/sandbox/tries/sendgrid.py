"""SendGrid's actions, each by somebody whom it is for."""

from connectors.runner import Result
from connectors.sandbox.people import AVA, BEN, EMMA, GRACE
from connectors.sandbox.worlds.sendgrid import JOB_SECONDS, NEWSLETTER, THANKS, WELCOME, WINBACK
from tests.sandbox.tries import Try

TRIES = (
    Try("send_template", {"template": THANKS, "template_data": '{"plan": "Premium"}', "group": "1701"}, "message_sent"),
    Try("send_template", {"template": THANKS}, "message_dropped", GRACE),
    Try("send_template", {"template": THANKS}, settings={"sandbox_mode": True}),
    Try("send_template_to", {"template": WELCOME, "email": "friend@example.org"}, "message_sent"),
    Try("list_add", {"list_id": WINBACK}, "added_to_list", EMMA, Result.PENDING, later=JOB_SECONDS),
    Try("list_remove", {"list_id": NEWSLETTER}, "removed_from_list", AVA, Result.PENDING, later=JOB_SECONDS),
    Try("global_unsubscribe", {}, "unsubscribed", BEN),
)

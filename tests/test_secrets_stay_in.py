"""Secrets stay in: everything is used as people use it, with planted secrets, and nothing that is left holds one."""

import base64
import io
import json
import logging
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
import redis
from celery import current_app
from celery.app.trace import build_tracer
from django.conf import settings as django_settings
from django.contrib.sessions.models import Session
from django.core import mail
from django.core.management import CommandError, call_command
from django.db import connection as database
from django.db import transaction
from django.dispatch import Signal
from django.test import Client
from django.urls import reverse
from django.utils.html import escape
from django_otp.oath import totp

from connectors import connections
from connectors.models import Connection
from engage import settings as product
from engage.logs import JsonFormatter
from engage.tenancy.models import Authenticator, KeyKind
from engage.tenancy.roles import Role
from prompts import executions, identity
from prompts.models import Execution, State
from sync.models import Source
from tests import factories
from tests.prompts import runtime
from tests.prompts.conftest import House, house, live_app
from tests.sandbox_fixture import sandbox
from tests.sync.conftest import REGION, TestBucket, _moto, bucket, s3_url

__all__ = ["_moto", "bucket", "house", "live_app", "s3_url", "sandbox"]

S3_SECRET = "Planted/Reader+Secret&Key=0123456789abcd"
WRONG_KEY = 'planted-wrong"key&of<cleeng>-0123456789'
WRONG_PASSWORD = "planted wrong pass phrase"
MOST_PAGES = 250


class Kept:
    """What came out of the product, by where."""

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}

    def add(self, where: str, text: str | bytes) -> None:
        text = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
        self.texts[where] = self.texts.get(where, "") + text

    def holding(self, secret: str) -> set[str]:
        in_json = json.dumps(secret)[1:-1]
        spellings = {
            secret,
            quote(secret, safe=""),
            quote_plus(secret),
            escape(secret),
            in_json,
            json.dumps(in_json)[1:-1],
        }
        spellings |= {base64.b64encode(secret.encode()).decode().rstrip("=")}
        return {where for where, text in self.texts.items() if any(spelling in text for spelling in spellings)}


@pytest.fixture
def logged() -> Iterator[io.StringIO]:
    """Everything that is logged, as the product writes it, down to DEBUG."""
    lines = io.StringIO()
    handler = logging.StreamHandler(lines)
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    before = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield lines
    root.setLevel(before)
    root.removeHandler(handler)


def walk(client: Client, kept: Kept) -> set[str]:
    """Open every page that the console's own links lead to."""
    waiting, seen = [reverse("admin:index")], set[str]()
    while waiting and len(seen) < MOST_PAGES:
        path = waiting.pop()
        if path in seen or "logout" in path:
            continue
        seen.add(path)
        answer = client.get(path)
        content = answer.getvalue()
        kept.add(f"page {path}", content)
        kept.add("headers", str(answer.headers))
        found = re.findall(
            r"""(?:href|data-[a-z-]+|action|hx-get)="(/console/[^"#]*)""", content.decode("utf-8", "replace")
        )
        waiting += [link.replace("&amp;", "&") for link in found]
    return seen


def shown_once(page: Any) -> str:
    found = re.search(r'<input id="once"[^>]*value="([^"]+)"', page.content.decode())
    assert found
    return found[1]


@pytest.mark.django_db(transaction=True)
def test_planted_secrets_are_found_nowhere_but_encrypted(
    house: House,
    bucket: TestBucket,
    s3_url: str,
    logged: io.StringIO,
    settings: Any,
    capsys: pytest.CaptureFixture[str],
) -> None:
    settings.EMAIL_IS_SET_UP = True
    kept, app, secrets = Kept(), house.app, {}
    secrets["password"] = factories.PASSWORD
    secrets["encryption key"], secrets["SECRET_KEY"] = settings.FIELD_ENCRYPTION_KEY[0], settings.SECRET_KEY
    person = factories.person(app, Role.COMPANY_ADMIN)

    # Somebody fails to sign in, and signs in.
    client = Client(raise_request_exception=False)
    secrets["wrong password"] = WRONG_PASSWORD
    for password in (WRONG_PASSWORD, factories.PASSWORD):
        client.post(reverse("admin:login"), {"username": person.email, "password": password})
    assert client.session["_auth_user_id"] == str(person.pk)

    # Keys, an identity secret, an invitation, a new password.
    keys = reverse("admin:tenancy_apikey_changelist")
    for name, data in {
        "secret key": {"do": "make-key", "kind": KeyKind.SECRET},
        "publishable key": {"do": "make-key", "kind": KeyKind.PUBLISHABLE},
        "identity secret": {"do": "make-secret"},
    }.items():
        secrets[name] = shown_once(client.post(keys, data))
    invited = client.post(
        reverse("admin:tenancy_membership_invite"), {"email": "new@example.com", "role": Role.READ_ONLY}
    )
    secrets["invitation"] = shown_once(invited).rstrip("/").rpartition("/")[2]
    # A second factor; and somebody who has the password types a wrong recovery code.
    mine = reverse("admin:second_factor")
    client.post(mine, {"do": "begin", "password": factories.PASSWORD})
    secrets["authenticator's secret"] = Authenticator.objects.get().secrets()["secret"]
    code = totp(base64.b32decode(secrets["authenticator's secret"]))
    confirmed = client.post(mine, {"do": "confirm", "code": f"{code:06d}"}).content.decode()
    secrets["recovery code"] = re.findall(r"\b[A-Z2-7]{4}(?:-[A-Z2-7]{4}){3}\b", confirmed)[0]
    secrets["wrong recovery code"] = "PLANTED-WRONG-CODE"
    half_way = Client()
    half_way.post(reverse("admin:login"), {"username": person.email, "password": factories.PASSWORD})
    half_way.post(reverse("sign_in_code"), {"code": secrets["wrong recovery code"]})

    Client().post(reverse("admin_password_reset"), {"email": person.email})
    _wait_for_mail()
    secrets["password reset"] = re.findall(r"/password/[^/]+/([^/\s]+)/", str(mail.outbox[-1].body))[0]
    for token in (secrets["invitation"], "inv_" + "x" * 43):
        Client().get(reverse("accept_invitation", args=[token]) + "nothing-there")

    # A vendor account: a wrong key, then the right one; a test of each.
    page = reverse("admin:connectors_connection_page", args=["cleeng"])
    secrets["API key"], secrets["wrong API key"] = house.sandbox.token, WRONG_KEY
    for key in (WRONG_KEY, house.sandbox.token):
        for path in (f"{page}test/", page):
            data = {"environment": "sandbox", "api_key": key, "connection-app": str(app.pk), "connection-active": "on"}
            stamp = connections.stamp(Connection.objects.get(app=app))
            kept.add(f"answer {path}", client.post(path, {**data, "connection-seen": stamp}).content)

    # A bucket.
    secrets["S3 secret"] = S3_SECRET
    bucket.put("cleeng/a.csv", "user_id,Customer ID\nann,640000001\n,5\n")
    source = {"name": "Planted", "bucket": "exports", "prefix": "cleeng/", "region": REGION, "endpoint_url": s3_url}
    source |= {"access_key_id": "AKIAREADER", "secret_access_key": S3_SECRET, "id_column": "user_id", "mode": "changes"}
    source |= {"access": "key", "row_wins": "last", "empty_cells": "keep", "misfit": "keep_row"}
    source |= {
        "time_zone": "UTC",
        "schedule": "none",
        "schedule_zone": "UTC",
        "customer_id_trait": "cleeng_customer_id",
    }
    for path in (reverse("admin:sync_source_test_new"), reverse("admin:sync_source_add")):
        kept.add(f"answer {path}", client.post(path, source).content)
    row = Source.objects.get(app=app)
    client.post(reverse("admin:sync_source_check", args=[row.pk]))
    kept.add(f"answer {row.pk}", client.post(reverse("admin:sync_source_change", args=[row.pk]), {"name": ""}).content)

    # Answers of people: one is carried out, and one at a vendor that repeats the key in an error.
    house.prompt.limit = "none"
    house.prompt.save()
    house.bind()
    server = runtime.Caller(app)
    server.token = secrets["secret key"]
    secrets["identity"] = identity.sign(secrets["identity secret"], "ann", secrets["publishable key"])
    browser = runtime.Caller(app)
    browser.token, browser.identity = secrets["publishable key"], secrets["identity"]
    kept.add("API", browser.post("/events", runtime.event("stay", "ann")).content)
    executions.work("tests")
    assert Execution.objects.get().state == State.DONE
    echo = json.dumps({"error": f"bad key {house.sandbox.token}", "token": house.sandbox.token})
    house.sandbox.fault("GET", status=500, raw=echo, content_type="application/json")
    kept.add("API", server.post("/events", runtime.event("stay", "ann")).content)
    executions.work("tests")
    misplaced = [
        server.post("/events", runtime.event(secrets["secret key"], "ann")),
        server.post(
            "/events", {**runtime.event("stay", "ann"), secrets["identity"]: 1, "prompt": secrets["identity secret"]}
        ),
        server.get(f"/prompts?{secrets['secret key']}=1"),
        browser.get("/prompts", Origin=f"https://{secrets['secret key']}.example"),
        server.get(f"/{secrets['secret key']}"),
        Client().post(
            "/api/v1/events",
            json.dumps({"key": secrets["secret key"] + "x", "identity": secrets["identity"]}),
            "text/plain",
        ),
    ]
    assert all(answer.status_code >= 400 for answer in misplaced)

    # Commands.
    for command in (
        ["sync_subscriptions", "--app", app.key, "--no-progress"],
        ["run_action", "cleeng", "apply_coupon", "--app", app.key, "--user", "ann", "--input", "coupon=SAVE20"],
        ["rotate_keys"],
        ["dumpdata"],
    ):
        try:
            call_command(*command)
        except (CommandError, SystemExit) as end:
            kept.add("commands", str(end))
    kept.add("commands", "".join(capsys.readouterr()))

    seen = walk(client, kept)
    assert {keys, page, reverse("admin:sync_source_change", args=[row.pk])} <= seen
    assert any("execution" in path for path in seen)

    kept.add("log", logged.getvalue())
    kept.add("sessions", json.dumps([row.get_decoded() for row in Session.objects.all()]))
    for message in mail.outbox:
        kept.add(f"e-mail {message.subject}", str(message.body))
    _database(kept)
    _broker(kept)
    # What was done did happen, and would have been found.
    assert house.sandbox.effects("coupon_applied")
    assert {"database", "broker"} <= kept.holding(str(row.pk))
    assert {"database", "commands", "headers"} & kept.holding("SAVE20") == {"database", "commands"}
    assert "[secret]" in kept.texts["log"] + kept.texts["database"]
    assert {row.secrets()["secret_access_key"], Connection.objects.get(app=app).secrets()["api_key"]} == {
        S3_SECRET,
        house.sandbox.token,
    }

    allowed = {
        "invitation": {"e-mail You are invited to Engage"},
        "password reset": {"e-mail Set a new password for Engage"},
    }
    found = {name: kept.holding(secret) - allowed.get(name, set()) for name, secret in secrets.items()}
    assert {name: places for name, places in found.items() if places} == {}


PLANTED = "planted-secret-4711"


def fails(**_: Any) -> None:
    raise ValueError(f"Key (user_id)=(person@example.com) exists: https://user:{PLANTED}@vendor.example.com")


def as_task() -> None:
    task = current_app.task(name="tests.fails", throws=())(fails)
    build_tracer(task.name, task, app=current_app)("a-task", [], {}, {"id": "a-task", "hostname": "here"})


def as_expected_task() -> None:
    task = current_app.task(name="tests.fails_expectedly", throws=(ValueError,))(fails)
    build_tracer(task.name, task, app=current_app)("a-task", [], {}, {"id": "a-task", "hostname": "here"})


def after_a_commit() -> None:
    transaction.on_commit(fails, robust=True)


def as_receiver() -> None:
    signal = Signal()
    signal.connect(fails)
    signal.send_robust(sender=None)


def as_argument() -> None:
    try:
        fails()
    except ValueError as error:
        logging.getLogger("kombu").warning("The connection was lost: %r, for %d seconds", error, 3)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("fail", "told"),
    [
        (as_task, "Task tests.fails[a-task] raised unexpected: ValueError"),
        (as_expected_task, "Task tests.fails_expectedly[a-task] raised expected: (left out)"),
        (after_a_commit, "Error calling fails in on_commit() (ValueError)."),
        (as_receiver, "Error calling fails in Signal.send_robust() (ValueError)"),
        (as_argument, "The connection was lost: 'ValueError', for 3 seconds"),
    ],
)
def test_what_an_exception_says_is_in_no_librarys_line(
    logged: io.StringIO, fail: Callable[[], None], told: str
) -> None:
    fail()
    lines = [json.loads(line) for line in logged.getvalue().splitlines()]
    assert told in [line["message"] for line in lines]
    assert PLANTED not in logged.getvalue()
    assert "person@example.com" not in logged.getvalue()
    if fail is as_task:
        assert any("test_secrets_stay_in.py" in frame for line in lines for frame in line.get("where", ()))


def _wait_for_mail() -> None:
    from engage.tenancy.mail import _background

    _background.submit(lambda: None).result(10)


def _database(kept: Kept) -> None:
    if database.vendor == "sqlite":
        path = Path(str(database.settings_dict["NAME"]))
        for file in path.parent.glob(f"{path.name}*"):
            kept.add("database", file.read_bytes())
        return
    with database.cursor() as cursor:
        for table in database.introspection.table_names():
            cursor.execute(
                f"SELECT row_to_json(t)::text FROM {database.ops.quote_name(table)} t"  # noqa: S608 - a table's own name
            )
            kept.add("database", "\n".join(text for (text,) in cursor.fetchall()))


def _broker(kept: Kept) -> None:
    """Keep the messages that wait, in files or in Redis, as they are and decoded."""
    broker = django_settings.CELERY_BROKER_URL
    if broker.startswith("redis"):
        waiting = redis.Redis.from_url(broker, decode_responses=True).lrange(
            django_settings.CELERY_TASK_DEFAULT_QUEUE, 0, -1
        )
        messages = [str(message) for message in waiting]
    else:
        messages = [file.read_text() for file in (django_settings.VAR_DIR / "broker").rglob("*.msg")]
    for message in messages:
        kept.add("broker", message)
        kept.add("broker", base64.b64decode(json.loads(message)["body"]))


def test_without_a_mail_server_no_link_is_written_anywhere() -> None:
    # What the product chooses by itself; the suite's own settings keep e-mails in memory.
    if not product.EMAIL_IS_SET_UP:
        assert product.EMAIL_BACKEND == "django.core.mail.backends.dummy.EmailBackend"

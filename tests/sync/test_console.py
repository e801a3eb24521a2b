"""User traits in the console: who may see and change what, what never comes back, and what a test tells."""

import csv
import io
import json
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django_celery_beat.models import CrontabSchedule
from pytest_django import Settings

from engage.audit.models import Entry
from engage.tenancy.models import App
from engage.tenancy.roles import Role
from sync.csv_rows import BadRow
from sync.models import ImportRun, RunState, Source, Trait
from sync.rejected import reject
from tests import factories
from tests.sync.conftest import REGION, TestBucket

pytestmark = pytest.mark.django_db
SECRET = "the-readers-secret-key-of-the-tests"
Console = Callable[[Role], Client]
ADD = reverse("admin:sync_source_add")


def change(source: Source) -> str:
    return reverse("admin:sync_source_change", args=[source.pk])


@pytest.fixture
def typed(s3_url: str) -> dict[str, Any]:
    """What an administrator types for the bucket of the tests."""
    return {
        "name": "Cleeng",
        "bucket": "exports",
        "prefix": "cleeng/",
        "region": REGION,
        "endpoint_url": s3_url,
        "access_key_id": "AKIAREADER",
        "secret_access_key": SECRET,
        "id_column": "user_id",
        "customer_id_trait": "cleeng_customer_id",
        "access": "key",
        "row_wins": "last",
        "empty_cells": "keep",
        "misfit": "drop_row",
        "column": ["Email Address", "Churn risk", ""],
        "trait": ["email", "", ""],
        "time_zone": "Europe/Paris",
        "mode": "changes",
        "schedule": "daily",
        "daily_at": "03:15",
        "cron": "",
        "schedule_zone": "America/Los_Angeles",
    }


def test_an_administrator_adds_a_source(console: Console, app: App, typed: dict[str, Any]) -> None:
    answer = console(Role.APP_ADMIN).post(ADD, typed)
    source = Source.objects.get()
    assert answer.headers["Location"] == change(source)
    assert (source.app, source.bucket, source.prefix) == (app, "exports", "cleeng/")
    assert source.mapping == {"Email Address": "email", "Churn risk": "", "Customer ID": "cleeng_customer_id"}
    assert source.secrets() == {"secret_access_key": SECRET}
    assert source.crontab is not None
    assert (source.crontab.hour, source.crontab.minute, str(source.crontab.timezone)) == (
        "3",
        "15",
        "America/Los_Angeles",
    )
    entry = Entry.objects.get(kind="source")
    assert entry.verb == "created"
    assert entry.changes["secret_access_key"] == [None, "set"]
    assert SECRET not in str(entry.changes)


def test_an_endpoint_without_a_scheme_is_one_over_tls(console: Console, typed: dict[str, Any]) -> None:
    console(Role.APP_ADMIN).post(ADD, {**typed, "endpoint_url": "minio.example.com"})
    assert Source.objects.get().endpoint_url == "https://minio.example.com"


def test_the_stored_secret_is_on_no_page(console: Console, source: Source) -> None:
    page = console(Role.APP_ADMIN).get(change(source)).content.decode()
    assert SECRET not in page
    assert "Stored, 35 characters" in page


def test_blank_keeps_the_secret_and_a_new_one_replaces_it(
    console: Console, source: Source, typed: dict[str, Any]
) -> None:
    client = console(Role.APP_ADMIN)
    client.post(change(source), {**typed, "secret_access_key": "", "prefix": "other/"})
    source.refresh_from_db()
    assert (source.prefix, source.secrets(), source.generation) == ("other/", {"secret_access_key": SECRET}, 1)
    client.post(change(source), {**typed, "secret_access_key": "another-secret"})
    assert Source.objects.get().secrets() == {"secret_access_key": "another-secret"}
    assert Entry.objects.latest("pk").changes["secret_access_key"] == [None, "replaced"]


@pytest.mark.parametrize(
    "other",
    [
        {"bucket": "other-bucket"},
        {"region": "us-west-2"},
        {"endpoint_url": "https://evil.example.com"},
        {"access_key_id": "AKIAOTHER"},
    ],
)
def test_a_kept_secret_never_goes_to_another_place(
    console: Console, source: Source, typed: dict[str, Any], other: dict[str, str]
) -> None:
    client = console(Role.APP_ADMIN)
    page = client.post(change(source), {**typed, "secret_access_key": "", **other}).content.decode()
    assert "a stored secret is never sent elsewhere" in page
    source.refresh_from_db()
    assert (source.bucket, source.endpoint_url) == ("exports", typed["endpoint_url"])
    tested = client.post(
        reverse("admin:sync_source_test", args=[source.pk]), {**typed, "secret_access_key": "", **other}
    )
    assert "Nothing was tested yet" in tested.content.decode()
    client.post(change(source), {**typed, "secret_access_key": "typed-anew", **other})
    source = Source.objects.get()
    assert (source.generation, source.secrets()) == (2, {"secret_access_key": "typed-anew"})


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"bucket": "Exports/.."}, "A bucket&#x27;s name has"),
        ({"region": "evil.example.com/"}, "A region looks like"),
        ({"endpoint_url": "https://name:key@minio.example.com"}, "without a name, key or question mark"),
        ({"endpoint_url": "ftp://minio.example.com"}, "An endpoint looks like"),
        ({"endpoint_url": "http://minio.example.com"}, "Begin with https://"),
        ({"endpoint_url": "http://minio.example.com:9000/"}, "Begin with https://"),
        ({"endpoint_url": "https://minio.example.com:99999"}, "There is no such port"),
        ({"secret_access_key": ""}, "Enter the secret access key"),
        ({"id_column": ""}, "This field is required"),
        ({"customer_id_trait": "Customer ID"}, "lower-case"),
        ({"trait": ["E-Mail", "", ""]}, "cannot become “E-Mail”"),
        ({"schedule": "cron", "cron": "61 2 * * *"}, "not a cron expression"),
        ({"schedule": "cron", "cron": "every day"}, "five parts"),
        ({"schedule": "daily", "daily_at": ""}, "Enter the time of day"),
        ({"schedule_zone": "Europe/Atlantis"}, "Select a valid choice"),
    ],
)
def test_what_is_wrong_is_said_and_what_was_typed_is_kept(
    console: Console, typed: dict[str, Any], wrong: dict[str, Any], said: str
) -> None:
    page = console(Role.APP_ADMIN).post(ADD, {**typed, **wrong}).content.decode()
    assert said in page
    assert 'value="cleeng/"' in page
    assert SECRET not in page
    assert not Source.objects.exists()


@pytest.mark.parametrize(
    ("schedule", "shown"),
    [
        ({"schedule": "hourly"}, "Every hour"),
        ({"schedule": "cron", "cron": "5 */2 * * mon-fri"}, "5 */2 * * mon-fri, America/Los_Angeles"),
        ({"schedule": "none"}, "Only by hand"),
        ({}, "Daily at 03:15, America/Los_Angeles"),
    ],
)
def test_a_schedule_comes_back_as_it_was_chosen(
    console: Console, typed: dict[str, Any], schedule: dict[str, str], shown: str
) -> None:
    client = console(Role.APP_ADMIN)
    client.post(ADD, {**typed, **schedule})
    source = Source.objects.get()
    page = client.get(change(source))
    assert shown in page.content.decode()
    form = page.context["form"]
    assert form["schedule"].value() == {**typed, **schedule}["schedule"]
    rows = CrontabSchedule.objects.count()
    since = source.schedule_since
    client.post(change(source), {**typed, **schedule})
    source.refresh_from_db()
    assert (CrontabSchedule.objects.count(), source.schedule_since) == (rows, since)


def test_the_test_tells_what_it_finds_before_anything_is_saved(
    console: Console, app: App, bucket: TestBucket, typed: dict[str, Any]
) -> None:
    factories.EventFactory(prompt__app=app, subscriber=factories.SubscriberFactory(app=app, user_id="app-7"))
    bucket.put("cleeng/a.csv", "user_id,Customer ID,Country,Email Address\n7,1,France,a@example.com\n,2,Spain,\n")
    page = console(Role.APP_ADMIN).post(reverse("admin:sync_source_test_new"), typed).content.decode()
    assert "The test passed." in page
    assert "Its columns: user_id, Customer ID, Country, Email Address." in page
    assert "Its 2 rows: 1 can be imported, 1 cannot. Most frequent reason (1 times): The id is empty." in page
    assert "0 of the 1 ids in your app&#x27;s last 1,000 events occur" in page
    assert "Ids in the file look like “7”, your app&#x27;s like “app-7”" in page
    assert 'data-take-column="Country"' in page
    assert 'data-take-column="Email Address"' not in page
    assert [model.objects.count() for model in (Source, ImportRun, Trait)] == [0, 0, 0]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "There is no file under"),
        ("id,plan\n1,gold\n", "There is no column “user_id”"),
        ("user_id,plan\n", "has a header and no rows"),
    ],
)
def test_the_test_says_what_would_stand_in_the_way(
    console: Console, bucket: TestBucket, typed: dict[str, Any], content: str | None, said: str
) -> None:
    if content is not None:
        bucket.put("cleeng/a.csv", content)
    page = console(Role.APP_ADMIN).post(reverse("admin:sync_source_test_new"), typed).content.decode()
    assert said in page
    assert ("The test passed." in page) == (content is None)


def test_the_test_reads_the_header_and_offers_the_id_columns(
    console: Console, app: App, other_app: App, bucket: TestBucket, typed: dict[str, Any]
) -> None:
    for where, user_id in ((app, "u-1"), (app, "u-2"), (other_app, "9")):
        factories.EventFactory(
            prompt__app=where, subscriber=factories.SubscriberFactory(app=where, user_id=user_id), source="api"
        )
    factories.SubscriberFactory(app=app, user_id="9")  # an import brought it; the app never sent it
    bucket.put("cleeng/a.csv", "Customer ID,External\n9,u-2\n8,u-7\n")
    page = console(Role.APP_ADMIN).post(reverse("admin:sync_source_test_new"), {**typed, "id_column": ""})
    text = page.content.decode()
    assert "Which of them is the id that your app sends?" in text
    assert page.context["id_columns"] == [("External", 1), ("Customer ID", 0)]
    assert 'data-take-id="External"' in text
    assert not Source.objects.exists()


def test_policies_name_this_bucket_and_nothing_more(console: Console, source: Source) -> None:
    answer = console(Role.APP_ADMIN).get(change(source))
    reader, writer = answer.context["reader_policy"], answer.context["writer_policy"]
    assert "s3:GetObject" in reader
    assert "arn:aws:s3:::exports/cleeng/*" in reader
    assert "Put" not in reader
    assert '"s3:PutObject"' in writer
    assert "Get" not in writer
    assert "All results" in answer.content.decode()


@pytest.mark.parametrize("role", [Role.APP_MEMBER, Role.READ_ONLY])
def test_others_look_and_change_nothing(console: Console, source: Source, typed: dict[str, Any], role: Role) -> None:
    client = console(role)
    page = client.get(change(source)).content.decode()
    assert "Settings are seen and changed by administrators" in page
    assert "AKIAREADER" not in page
    run = ImportRun.objects.create(app=source.app, source=source, object_key="a", etag="e", state=RunState.FAILED)
    assert client.get(ADD).status_code in {403, 404}
    for url in (
        change(source),
        ADD,
        reverse("admin:sync_source_test_new"),
        reverse("admin:sync_source_test", args=[source.pk]),
        reverse("admin:sync_source_check", args=[source.pk]),
        reverse("admin:sync_source_pause", args=[source.pk]),
        reverse("admin:sync_importrun_again", args=[run.pk]),
    ):
        assert client.post(url, typed).status_code == 403, url
    assert Source.objects.get().paused is False


def test_what_belongs_to_another_app_is_not_there(
    console: Console, make_source: Callable[..., Source], other_app: App, typed: dict[str, Any]
) -> None:
    theirs = make_source(app=other_app, name="Theirs")
    run = ImportRun.objects.create(app=other_app, source=theirs, object_key="theirs.csv", etag="e")
    client = console(Role.COMPANY_ADMIN)
    for name in ("source_change", "source_test", "source_check", "source_pause"):
        assert client.post(reverse(f"admin:sync_{name}", args=[theirs.pk]), typed).status_code == 404
    for name in ("importrun_change", "importrun_rejected"):
        assert client.get(reverse(f"admin:sync_{name}", args=[run.pk])).status_code == 404
    assert client.post(reverse("admin:sync_importrun_again", args=[run.pk])).status_code == 404
    for name in ("source", "importrun"):
        assert "heirs" not in client.get(reverse(f"admin:sync_{name}_changelist")).content.decode()


def test_a_source_is_paused_and_resumed(console: Console, source: Source) -> None:
    client = console(Role.APP_ADMIN)
    for paused in (True, False):
        client.post(reverse("admin:sync_source_pause", args=[source.pk]), {"paused": "yes" if paused else "no"})
        assert Source.objects.get().paused is paused
    assert list(Entry.objects.filter(kind="source").order_by("pk").values_list("verb", flat=True)) == [
        "paused",
        "resumed",
    ]


def test_a_source_says_how_it_stands(console: Console, make_source: Callable[..., Source], bucket: TestBucket) -> None:
    from django.utils import timezone

    make_source(name="a", problem="The key is known, but may not list.")
    make_source(name="b", checked_at=timezone.now())
    make_source(name="c", paused=True)
    failed = make_source(name="d")
    ImportRun.objects.create(
        app=failed.app, source=failed, object_key="x", etag="e", state=RunState.FAILED, message="No id."
    )
    page = console(Role.READ_ONLY).get(reverse("admin:sync_source_changelist")).content.decode()
    for words in ("Cannot be read", "may not list", "Waiting for first file", "Paused", "Last file failed", "No id."):
        assert words in page


@pytest.fixture
def run(source: Source) -> ImportRun:
    made: ImportRun = ImportRun.objects.create(
        app=source.app,
        source=source,
        object_key="cleeng/a.csv",
        etag="e",
        state=RunState.FAILED,
        rows_read=3,
        rows_rejected=3,
        columns=["user_id", "@x"],
    )
    values = ["=cmd|' /C calc'!A0", "@SUM(1)", "plain"]
    reject(made, [BadRow(line, "user_id", "-1 is no id.", value, (value, "x")) for line, value in enumerate(values, 2)])
    return made


def test_a_run_shows_its_rejected_rows_masked_for_those_who_only_read(console: Console, run: ImportRun) -> None:
    url = reverse("admin:sync_importrun_change", args=[run.pk])
    assert "@SUM(1)" in console(Role.APP_MEMBER).get(url).content.decode()
    page = console(Role.READ_ONLY).get(url).content.decode()
    assert "-1 is no id." in page
    assert "@SUM(1)" not in page


def test_rejected_rows_are_downloaded_without_formulas(console: Console, run: ImportRun) -> None:
    url = reverse("admin:sync_importrun_rejected", args=[run.pk])
    assert console(Role.READ_ONLY).get(url).status_code == 403
    answer = console(Role.APP_MEMBER).get(url)
    rows = list(csv.reader(io.StringIO(answer.getvalue().decode("utf-8-sig"))))
    assert rows[0] == ["user_id", "'@x", "engage_line", "engage_column", "engage_reason", "engage_unfit"]
    assert [row[0] for row in rows[1:]] == ["'=cmd|' /C calc'!A0", "'@SUM(1)", "plain"]
    assert {tuple(row[3:]) for row in rows[1:]} == {("user_id", "'-1 is no id.", "")}


def test_import_again_puts_a_failed_file_back(console: Console, run: ImportRun) -> None:
    console(Role.APP_ADMIN).post(reverse("admin:sync_importrun_again", args=[run.pk]))
    run.refresh_from_db()
    assert run.state == RunState.STOPPED
    assert Entry.objects.get(kind="importrun").verb == "asked for again"


def test_traits_are_listed_with_how_filled_they_are_and_samples_masked(
    console: Console, app: App, other_app: App
) -> None:
    factories.SubscriberFactory(app=app, traits={"email": "a@example.com", "plan": "gold"})
    factories.SubscriberFactory(app=app, traits={"plan": "gold"})
    factories.SubscriberFactory(app=other_app, traits={"email": "x"})
    Trait.objects.create(app=app, name="email")
    Trait.objects.create(app=app, name="plan", personal=False, confirmed=False)
    Trait.objects.create(app=other_app, name="theirs")
    url = reverse("admin:sync_trait_changelist")
    page = console(Role.APP_MEMBER).get(url).content.decode()
    assert "50% (1)" in page
    assert "100% (2)" in page
    assert "a@example.com" in page
    assert "To be confirmed" in page
    assert "theirs" not in page
    page = console(Role.READ_ONLY).get(url).content.decode()
    assert "a@example.com" not in page
    assert "gold" in page


def test_an_administrator_changes_what_is_known_of_a_trait(console: Console, app: App) -> None:
    trait = Trait.objects.create(app=app, name="age", confirmed=False)
    url = reverse("admin:sync_trait_change", args=[trait.pk])
    data = {"type": "number", "description": "In years", "confirmed": "on"}
    assert console(Role.APP_MEMBER).post(url, data).status_code == 403
    console(Role.APP_ADMIN).post(url, data)
    trait.refresh_from_db()
    assert (trait.type, trait.description, trait.personal, trait.confirmed) == ("number", "In years", False, True)
    assert Entry.objects.get(kind="trait").changes["type"] == ["text", "number"]


# --- ways in, rules ---------------------------------------------------------------------------------------------------------

ROLE_ARN = "arn:aws:iam::123456789012:role/engage-reader"


def test_the_rules_of_rows_and_cells_are_stored_and_come_back(console: Console, typed: dict[str, Any]) -> None:
    client = console(Role.APP_ADMIN)
    rules = {
        "pattern": "subscribers-*.csv",
        "trait_prefix": "cleeng_",
        "row_wins": "first_active",
        "row_wins_column": "Status",
        "row_wins_value": "active",
        "empty_cells": "clear",
        "misfit": "keep_row",
        "alert_after_days": "4",
    }
    client.post(ADD, {**typed, **rules})
    source = Source.objects.get()
    assert {name: str(getattr(source, name)) for name in rules} == rules
    form = client.get(change(source)).context["form"]
    assert {name: str(form[name].value()) for name in rules} == rules
    assert Entry.objects.get(kind="source").changes["row_wins"] == [None, "first_active"]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"row_wins": "newest_by"}, "Name the column that decides"),
        ({"row_wins": "first_active", "row_wins_column": "Status"}, "Say which value the row that counts has"),
        ({"trait_prefix": "Cleeng-"}, "It begins with a letter"),
        ({"alert_after_days": "0"}, "greater than or equal to 1"),
        ({"bucket": ""}, "Enter the bucket&#x27;s name"),
        ({"access": "role"}, "Select a valid choice"),
    ],
)
def test_rules_that_cannot_be_are_refused(
    console: Console, typed: dict[str, Any], wrong: dict[str, str], said: str
) -> None:
    page = console(Role.APP_ADMIN).post(ADD, {**typed, **wrong}).content.decode()
    assert said in page
    assert not Source.objects.exists()


def test_a_role_is_assumed_with_the_external_id_of_this_app(
    console: Console, app: App, typed: dict[str, Any], settings: Settings
) -> None:
    settings.ENGAGE_S3_OWN_CREDENTIALS = True
    client = console(Role.APP_ADMIN)
    role = {"access": "role", "role_arn": ROLE_ARN, "access_key_id": "", "secret_access_key": ""}
    assert "only go to AWS itself" in client.post(ADD, {**typed, **role}).content.decode()
    client.post(ADD, {**typed, **role, "endpoint_url": "", "external_id": "engage-another-app"})
    source = Source.objects.get()
    assert (source.role_arn, source.external_id, source.secrets()) == (ROLE_ARN, f"engage-{app.key}", {})
    page = client.get(change(source)).content.decode()
    assert "sts:ExternalId" in page
    client.post(change(source), {**typed, "access": "key", "secret_access_key": SECRET})
    source = Source.objects.get()
    assert (source.role_arn, source.external_id, source.secrets()) == ("", "", {"secret_access_key": SECRET})


def test_a_source_of_uploads_needs_no_bucket(console: Console, typed: dict[str, Any]) -> None:
    empty = {"bucket": "", "region": "", "endpoint_url": "", "access_key_id": "", "secret_access_key": ""}
    client = console(Role.APP_ADMIN)
    client.post(ADD, {**typed, **empty, "access": "upload"})
    source = Source.objects.get()
    assert (source.access, source.bucket, source.crontab) == ("upload", "", None)
    assert "Upload one by hand." in client.get(change(source)).content.decode()


def test_the_template_of_cloudformation_makes_no_more_than_is_needed(console: Console, source: Source) -> None:
    answer = console(Role.READ_ONLY).get(reverse("admin:sync_source_cloudformation", args=[source.pk]))
    assert "attachment" in answer.headers["Content-Disposition"]
    made = json.loads(answer.content)["Resources"]
    bucket = made["Bucket"]["Properties"]
    assert bucket["BucketName"] == "exports"
    assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}
    assert bucket["LifecycleConfiguration"]["Rules"][0]["ExpirationInDays"] == 30
    allowed = {
        name: [rule["Action"] for rule in made[name]["Properties"]["Policies"][0]["PolicyDocument"]["Statement"]]
        for name in ("Writer", "Reader")
    }
    assert allowed == {"Writer": ["s3:PutObject"], "Reader": ["s3:ListBucket", "s3:GetObject"]}
    assert "AccessKey" not in answer.content.decode()

"""E-mails of a source: to whom, about what, and not again and again."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.core import mail
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from engage.tenancy.models import App, Membership
from engage.tenancy.roles import Role
from sync import reports, schedule
from sync.models import ImportRun, MailWhen, RunState, Source, SourceMail
from tests.factories import person
from tests.sync.conftest import TestBucket

pytestmark = pytest.mark.django_db
Console = Callable[[Role], Client]
GOOD = "user_id,plan\n1,gold\n2,gold\n"


def wants(source: Source, email: str, when: MailWhen, role: Role = Role.APP_ADMIN) -> None:
    SourceMail.objects.create(source=source, user=person(source.app, role, email=email), when=when)


def written() -> dict[str, str]:
    """Return and forget who was written to, with the subject."""
    found = {message.to[0]: str(message.subject) for message in mail.outbox}
    mail.outbox.clear()
    return found


def test_each_is_told_what_they_chose(source: Source, bucket: TestBucket) -> None:
    wants(source, "all@example.com", MailWhen.ALWAYS)
    wants(source, "bad@example.com", MailWhen.PROBLEMS)
    bucket.put("cleeng/a.csv", GOOD)
    schedule.carry_out(str(source.pk), "test")
    text = mail.outbox[0].body
    assert "cleeng/a.csv: Done" in text
    assert "2 rows read: 2 new, 0 changed, 0 unchanged, 0 superseded, 0 rejected" in text
    assert reverse("admin:sync_source_change", args=[source.pk]) in text
    assert list(written()) == ["all@example.com"]
    schedule.carry_out(str(source.pk), "test")
    assert written() == {}
    bucket.put("cleeng/b.csv", GOOD + ",gold\n")
    schedule.carry_out(str(source.pk), "test")
    assert {to: subject.split(":")[0] for to, subject in written().items()} == {
        "all@example.com": "Needs a look",
        "bad@example.com": "Needs a look",
    }


def test_a_problem_of_the_source_is_told_once(make_source: Callable[..., Source]) -> None:
    source = make_source(bucket="not-there")
    wants(source, "bad@example.com", MailWhen.PROBLEMS)
    schedule.carry_out(str(source.pk), "test")
    assert "There is no bucket not-there" in mail.outbox[0].body
    schedule.carry_out(str(source.pk), "test")
    assert len(mail.outbox) == 1


def test_only_people_who_may_manage_sources_are_written_to(source: Source, bucket: TestBucket) -> None:
    wants(source, "was@example.com", MailWhen.ALWAYS)
    Membership.objects.update(role=Role.READ_ONLY)
    wants(source, "gone@example.com", MailWhen.ALWAYS)
    Membership.objects.filter(user__email="gone@example.com").delete()
    wants(source, "company@example.com", MailWhen.ALWAYS, Role.COMPANY_ADMIN)
    bucket.put("cleeng/a.csv", GOOD)
    schedule.carry_out(str(source.pk), "test")
    assert list(written()) == ["company@example.com"]


def file_of(source: Source, days_ago: int, **fields: Any) -> ImportRun:
    at = timezone.now() - timedelta(days=days_ago)
    run: ImportRun = ImportRun.objects.create(
        app=source.app, source=source, object_key=f"{days_ago}.csv", etag="e", modified_at=at, **fields
    )
    return run


def test_files_that_stay_away_are_told_once_per_absence(make_source: Callable[..., Source]) -> None:
    source = make_source(alert_after_days=3)
    Source.objects.update(created_at=timezone.now() - timedelta(days=30))
    wants(source, "bad@example.com", MailWhen.PROBLEMS)
    file_of(source, 2)
    now = timezone.now()
    assert reports.tell_of_missing_files(now) == 0
    assert reports.tell_of_missing_files(now + timedelta(days=1, minutes=1)) == 1
    assert reports.tell_of_missing_files(now + timedelta(days=5)) == 0
    assert written() == {"bad@example.com": f"No file for 3 days: Cleeng ({source.app.name})"}
    run = file_of(source, 0)
    ImportRun.objects.filter(pk=run.pk).update(modified_at=now + timedelta(days=6))
    assert reports.tell_of_missing_files(now + timedelta(days=8)) == 0
    assert reports.tell_of_missing_files(now + timedelta(days=9, minutes=1)) == 1


def test_a_wish_that_nobody_subscribed_to_reaches_the_administrators(make_source: Callable[..., Source]) -> None:
    source = make_source(alert_after_days=3)
    Source.objects.update(created_at=timezone.now() - timedelta(days=4))
    person(source.app, Role.APP_ADMIN, email="admin@example.com")
    person(source.app, Role.APP_MEMBER, email="member@example.com")
    reports.tell_of_missing_files(timezone.now())
    assert list(written()) == ["admin@example.com"]


def test_a_name_of_two_lines_holds_up_nobodys_e_mails(make_source: Callable[..., Source]) -> None:
    source = make_source(name="Cleeng\r\nBcc: everybody@example.com", alert_after_days=3)
    Source.objects.update(created_at=timezone.now() - timedelta(days=4))
    person(source.app, Role.APP_ADMIN, email="admin@example.com")
    assert reports.tell_of_missing_files(timezone.now()) == 1
    assert written() == {
        "admin@example.com": f"No file for 3 days: Cleeng Bcc: everybody@example.com ({source.app.name})"
    }


@pytest.mark.parametrize("fields", [{"paused": True}, {"alert_after_days": None}, {"access": "upload"}])
def test_nobody_is_told_where_absence_is_right(make_source: Callable[..., Source], fields: dict[str, Any]) -> None:
    make_source(**{"alert_after_days": 3, **fields})
    Source.objects.update(created_at=timezone.now() - timedelta(days=400))
    assert reports.without_files(timezone.now()) == []


def test_a_person_chooses_for_themselves(console: Console, app: App, source: Source) -> None:
    client = console(Role.APP_ADMIN)
    url = reverse("admin:sync_source_mail", args=[source.pk])
    client.post(url, {"when": "problems"})
    client.post(url, {"when": "always"})
    assert [(row.source, row.when) for row in SourceMail.objects.all()] == [(source, "always")]
    client.post(url, {"when": ""})
    assert not SourceMail.objects.exists()
    assert console(Role.APP_MEMBER).post(url, {"when": "always"}).status_code == 403


def test_far_fewer_rows_than_usual_are_said(source: Source) -> None:
    for rows in (100, 90, 110):
        file_of(source, rows, state=RunState.DONE, rows_read=rows)
    assert reports.fewer_than_usual(file_of(source, 1, state=RunState.DONE, rows_read=62)) == 38
    assert reports.fewer_than_usual(file_of(source, 2, state=RunState.DONE, rows_read=85)) == 0

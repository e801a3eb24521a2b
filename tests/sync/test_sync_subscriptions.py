"""The command: what it says, what it leaves alone, and how it exits."""

from collections.abc import Callable
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from engage.tenancy.models import App
from sync.models import ImportRun, Source, Subscriber, Trait
from tests.sync.conftest import TestBucket

pytestmark = pytest.mark.django_db


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Return a function that runs the command: exit status, what it said, what it complained of."""

    def call(*arguments: str) -> tuple[int, str, str]:
        status = 0
        try:
            call_command("sync_subscriptions", *arguments)
        except SystemExit as end:
            status = int(end.code or 0)
        said = capsys.readouterr()
        return status, said.out, said.err

    return call


Command = Callable[..., tuple[int, str, str]]


def test_new_files_are_imported_and_summed_up(source: Source, bucket: TestBucket, command: Command) -> None:
    bucket.put("cleeng/a.csv", "user_id,plan\n1,gold\n2,gold\n,x\n2,silver\n")
    status, out, err = command()
    assert status == 0
    assert "streamly: Cleeng, s3://exports/cleeng/" in out
    assert "4 rows read: 2 new, 0 changed, 0 unchanged, 1 superseded, 1 rejected." in out
    assert err == ""
    assert command()[1].endswith("  Nothing new.\n")


def test_a_file_that_failed_is_exit_status_1_and_the_others_are_imported(
    source: Source, bucket: TestBucket, command: Command
) -> None:
    bucket.put("cleeng/a.csv", "id,plan\n1,gold\n")
    bucket.put("cleeng/b.csv", "user_id,plan\n1,gold\n")
    status, out, err = command()
    assert status == 1
    assert "cleeng/a.csv" in err
    assert "There is no column “user_id”" in err
    assert "cleeng/b.csv" in out
    assert Subscriber.objects.count() == 1


def test_a_source_that_cannot_be_listed_is_exit_status_1(
    make_source: Callable[..., Source], bucket: TestBucket, command: Command
) -> None:
    make_source(bucket="nowhere")
    status, _, err = command()
    assert status == 1
    assert "There is no bucket nowhere" in err
    assert "the-readers-secret" not in err


def test_a_dry_run_says_what_would_happen_and_writes_nothing(
    source: Source, bucket: TestBucket, command: Command
) -> None:
    bucket.put("cleeng/a.csv", "user_id,plan\n1,gold\n,x\n")
    status, out, _ = command("--dry-run")
    assert status == 0
    assert "would be imported: 2 rows, 1 of new subscribers, 0 of known ones, 1 rejected." in out
    assert "1 times: The id is empty." in out
    assert [model.objects.count() for model in (Subscriber, ImportRun, Trait)] == [0, 0, 0]
    source.refresh_from_db()
    assert source.checked_at is None


def test_app_and_source_choose(
    make_source: Callable[..., Source], other_app: App, bucket: TestBucket, command: Command
) -> None:
    make_source(name="First")
    second = make_source(name="Second", prefix="two/")
    make_source(app=other_app, name="Third", prefix="three/")
    for prefix in ("cleeng", "two", "three"):
        bucket.put(f"{prefix}/a.csv", f"user_id\n{prefix}\n")

    def imported() -> set[str]:
        return set(Subscriber.objects.values_list("user_id", flat=True))

    command("--source", str(second.pk))
    assert imported() == {"two"}
    command("--app", "elsewhere")
    assert imported() == {"two", "three"}
    command()
    assert imported() == {"two", "three", "cleeng"}


def test_a_paused_source_is_imported_only_when_it_is_named(
    make_source: Callable[..., Source], bucket: TestBucket, command: Command
) -> None:
    make_source(paused=True)
    bucket.put("cleeng/a.csv", "user_id\n1\n")
    command()
    assert not Subscriber.objects.exists()
    command("--source", "Cleeng")
    assert Subscriber.objects.exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--app", "strem"], "There is no App 'strem'. There are: streamly."),
        (["--source", "Clean"], "There is no source 'Clean'. There are: Cleeng .streamly.."),
    ],
)
def test_an_unknown_app_or_source_is_said_with_those_that_there_are(
    source: Source, arguments: list[Any], said: str
) -> None:
    with pytest.raises(CommandError, match=said):
        call_command("sync_subscriptions", *arguments)


def test_another_run_under_way_is_no_failure(source: Source, command: Command) -> None:
    from sync.imports import Lease

    Lease(source)
    status, out, _ = command()
    assert status == 0
    assert "Another run of this source is under way" in out

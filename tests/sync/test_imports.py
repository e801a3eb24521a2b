"""A file's way into traits: counted to the last row, judged before it is merged, once, and on from where it was."""

from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from uuid import uuid4

import pytest
from django.db import transaction
from django.utils import timezone
from pytest_django import Settings

from engage.tenancy.models import App
from sync import imports
from sync.csv_rows import SEPARATOR
from sync.imports import Busy, Lease, Summary, forecast, import_source
from sync.models import ImportRun, RejectedRow, RunState, Source, SourceMode, Subscriber, Trait
from sync.s3 import Bucket
from sync.staging import Shape, staging_for
from sync.traits import set_traits
from tests.factories import SubscriberFactory
from tests.sync.conftest import TestBucket

pytestmark = pytest.mark.django_db


def run(source: Source) -> Summary:
    source.refresh_from_db()
    return import_source(source, started_by="test")


def one(source: Source) -> ImportRun:
    (only,) = run(source).runs
    only.refresh_from_db()
    return only


def counts(run: ImportRun) -> dict[str, int]:
    return {
        name: getattr(run, f"rows_{name}") for name in ("read", "new", "changed", "unchanged", "superseded", "rejected")
    }


def everybody(app: App) -> dict[str, dict[str, object]]:
    return dict(Subscriber.objects.filter(app=app).values_list("user_id", "traits"))


@pytest.mark.parametrize("compress", [False, True])
def test_a_file_becomes_traits_and_is_counted_to_the_last_row(
    app: App, other_app: App, source: Source, bucket: TestBucket, *, compress: bool
) -> None:
    SubscriberFactory(
        app=app, user_id="same", traits={"email": "same@example.com", "cleeng_customer_id": "1", "kept": True}
    )
    SubscriberFactory(app=app, user_id="other", traits={"email": "old@example.com", "kept": 5})
    SubscriberFactory(app=other_app, user_id="new", traits={"email": "elsewhere@example.com"})
    bucket.put(
        "cleeng/a.csv",
        "user_id,Customer ID,Email\nsame,1,same@example.com\nother,2,new@example.com\nnew,3,\ntwice,4,first\n,5,x\ntwice,4,last\n",
        compress=compress,
    )
    done = one(source)
    assert counts(done) == {"read": 6, "new": 2, "changed": 1, "unchanged": 1, "superseded": 1, "rejected": 1}
    assert (done.state, done.message) == (RunState.DONE_WITH_REJECTED, "")
    assert everybody(app) == {
        "same": {"email": "same@example.com", "cleeng_customer_id": "1", "kept": True},
        "other": {"email": "new@example.com", "cleeng_customer_id": "2", "kept": 5},
        "new": {"cleeng_customer_id": "3"},
        "twice": {"cleeng_customer_id": "4", "email": "last"},
    }
    assert everybody(other_app) == {"new": {"email": "elsewhere@example.com"}}
    (rejected,) = RejectedRow.objects.all()
    assert (rejected.line, rejected.column, rejected.reason) == (6, "user_id", "The id is empty.")
    assert set(Trait.objects.filter(app=app).values_list("name", "confirmed", "origin")) == {
        ("cleeng_customer_id", False, "Cleeng"),
        ("email", False, "Cleeng"),
    }


def test_the_same_file_twice_does_nothing_and_a_changed_one_is_imported_again(
    app: App, source: Source, bucket: TestBucket
) -> None:
    bucket.put("cleeng/a.csv", "user_id,plan\n1,gold\n")
    assert one(source).rows_new == 1
    assert run(source).runs == []
    bucket.put("cleeng/a.csv", "user_id,plan\n1,silver\n")
    assert one(source).rows_changed == 1
    assert everybody(app) == {"1": {"plan": "silver"}}


def test_traits_as_the_api_wrote_them_are_unchanged_for_a_file_that_says_the_same(
    app: App, source: Source, bucket: TestBucket
) -> None:
    Trait.objects.create(app=app, name="age", type="number")
    row = set_traits(app, "1", {"name": "Zoë “Z” \U0001f600", "age": 41, "z": "x", "vip": True}, origin="API")
    bucket.put("cleeng/a.csv", "user_id,name,age\n1,Zoë “Z” \U0001f600,41\n")
    assert counts(one(source))["unchanged"] == 1
    assert Subscriber.objects.get(pk=row.pk).updated_at == row.updated_at


def test_files_count_oldest_first(app: App, source: Source, bucket: TestBucket) -> None:
    for number, plan in enumerate(["bronze", "silver", "gold"]):
        bucket.put(f"cleeng/{9 - number}.csv", f"user_id,plan\n1,{plan}\n")
    files = Bucket(imports.location_of(source)).files()
    assert [one.object_key for one in run(source).runs] == [file.key for file in files]
    last = bucket.client.get_object(Bucket="exports", Key=files[-1].key)["Body"].read().decode()
    assert everybody(app)["1"]["plan"] in last


def test_of_snapshots_only_the_newest_counts(
    app: App, make_source: Callable[..., Source], bucket: TestBucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = make_source(mode=SourceMode.SNAPSHOTS)
    for name in "abc":
        bucket.put(f"cleeng/{name}.csv", f"user_id,plan\n{name},gold\n")
    (done,) = run(source).runs
    newest = Bucket(imports.location_of(source)).files()[-1].key
    assert done.object_key == newest
    states = dict(ImportRun.objects.values_list("object_key", "state"))
    assert {key: state for key, state in states.items() if key != newest} == dict.fromkeys(
        {f"cleeng/{name}.csv" for name in "abc"} - {newest}, RunState.SUPERSEDED
    )
    assert list(everybody(app)) == [newest[7]]
    assert run(source).runs == []


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "The file is empty."),
        ("user_id,plan\n", "has a header and no rows"),
        ("user_id,plan\n,gold\n,gold\n", "None of the 2 rows can be imported. Most frequent reason: The id is empty."),
        (
            "Customer ID,plan\n1,gold\n",
            "There is no column “user_id”, which holds the id. The file has: Customer ID, plan.",
        ),
    ],
)
def test_a_file_without_a_usable_row_is_never_a_success(
    app: App, source: Source, bucket: TestBucket, content: str, said: str
) -> None:
    bucket.put("cleeng/a.csv", content)
    summary = run(source)
    assert summary.failed
    assert summary.runs[0].state == RunState.FAILED
    assert said in summary.runs[0].message
    assert everybody(app) == {}
    assert run(source).runs == []


def test_too_many_bad_rows_and_nothing_of_the_file_is_merged(app: App, source: Source, bucket: TestBucket) -> None:
    bucket.put("cleeng/a.csv", "user_id,plan\n" + "1,gold\n" * 370 + ",gold\n" * 20)
    failed = one(source)
    assert failed.state == RunState.FAILED
    assert "20 of 390 rows (5%) cannot be imported; nothing of the file was" in failed.message
    assert everybody(app) == {}
    assert RejectedRow.objects.count() == 20


@pytest.mark.parametrize(("good", "bad"), [(381, 20), (1, 19)])
def test_fewer_bad_rows_do_not_stop_the_file(app: App, source: Source, bucket: TestBucket, good: int, bad: int) -> None:
    rows = "".join(f"{number},gold\n" for number in range(good))
    bucket.put("cleeng/a.csv", "user_id,plan\n" + rows + ",gold\n" * bad)
    assert one(source).state == RunState.DONE_WITH_REJECTED
    assert len(everybody(app)) == good


def test_over_a_thousand_bad_rows_stop_the_reading(
    app: App, source: Source, bucket: TestBucket, settings: Settings
) -> None:
    settings.ENGAGE_IMPORT_REJECTED_SHARE = 1
    bucket.put("cleeng/a.csv", "user_id,plan\n" + ",gold\n" * 1001 + "1,gold\n" * 9000)
    failed = one(source)
    assert failed.state == RunState.FAILED
    assert failed.message.startswith("More than 1,000 of the first")


def test_a_problem_of_the_bucket_is_kept_at_the_source(make_source: Callable[..., Source], bucket: TestBucket) -> None:
    source = make_source(bucket="nowhere")
    summary = run(source)
    source.refresh_from_db()
    assert summary.failed
    assert source.problem == "There is no bucket nowhere. Look for a typo in its name and in the endpoint " + (
        source.endpoint_url + "."
    )
    assert source.checked_at is not None
    assert source.lease_until is None


def test_two_runs_of_a_source_at_once_are_one(source: Source, bucket: TestBucket) -> None:
    bucket.put("cleeng/a.csv", "user_id,plan\n1,gold\n")
    lease = Lease(source)
    with pytest.raises(Busy):
        run(source)
    assert not ImportRun.objects.exists()
    lease.give_back()
    assert one(source).state == RunState.DONE


def test_the_lease_of_a_process_that_died_is_taken_over(source: Source, bucket: TestBucket) -> None:
    Lease(source)
    Source.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
    bucket.put("cleeng/a.csv", "user_id,plan\n1,gold\n")
    assert one(source).state == RunState.DONE


def test_a_process_that_lost_its_lease_writes_nothing_more(
    app: App, source: Source, bucket: TestBucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket.put("cleeng/a.csv", "user_id,plan\n1,gold\n")

    class Thief(imports.Silent):
        def reading(self, run: ImportRun) -> None:
            Source.objects.update(lease_until=timezone.now() + timedelta(seconds=77), lease_holder=uuid4())

    with pytest.raises(imports.LostLease):
        import_source(source, started_by="slow", progress=Thief())
    assert everybody(app) == {}
    assert ImportRun.objects.get().merged_through == 0


def test_a_run_that_reads_again_after_an_interruption_counts_each_row_once(
    app: App, source: Source, bucket: TestBucket
) -> None:
    bucket.put("cleeng/a.csv", "user_id,plan\n1,gold\n,x\n")

    class Died(Exception):
        pass

    class Dies(imports.Silent):
        def reading(self, run: ImportRun) -> None:
            raise Died

    with pytest.raises(Died):
        import_source(source, started_by="dies", progress=Dies())
    assert ImportRun.objects.get().state == RunState.RUNNING
    assert counts(one(source)) == {"read": 2, "new": 1, "changed": 0, "unchanged": 0, "superseded": 0, "rejected": 1}
    assert RejectedRow.objects.count() == 1


def test_an_import_that_never_gets_on_is_given_up(source: Source, bucket: TestBucket) -> None:
    bucket.put("cleeng/a.csv", "user_id,plan\n1,gold\n")
    (file,) = Bucket(imports.location_of(source)).files()
    ImportRun.objects.create(
        app=source.app,
        source=source,
        bucket="exports",
        object_key=file.key,
        etag=file.etag,
        size=file.size,
        starts=imports.MOST_STARTS,
    )
    failed = one(source)
    assert failed.state == RunState.FAILED
    assert "never came to its end" in failed.message


def test_an_interrupted_import_whose_file_is_gone_ends(source: Source, bucket: TestBucket) -> None:
    ImportRun.objects.create(
        app=source.app, source=source, bucket="exports", object_key="cleeng/gone.csv", etag="e", size=3
    )
    ended = one(source)
    assert ended.state == RunState.FAILED
    assert "removed or replaced" in ended.message


def test_a_forecast_writes_nothing(app: App, source: Source, bucket: TestBucket) -> None:
    SubscriberFactory(app=app, user_id="known")
    bucket.put("cleeng/a.csv", "user_id,plan\nknown,gold\nnew,gold\n,x\n")
    bucket.put("cleeng/b.csv", "wrong,plan\n1,gold\n")
    first, second = sorted(forecast(source), key=lambda item: item.file.key)
    assert (first.rows_read, first.rows_new, first.rows_known, first.rows_rejected) == (3, 1, 1, 1)
    assert first.reasons == {"The id is empty.": 1}
    assert "no column" in second.problem
    assert not ImportRun.objects.exists()
    assert not Trait.objects.exists()
    assert everybody(app) == {"known": {}}


def test_nothing_of_a_secret_is_in_a_source_as_it_is_printed(source: Source) -> None:
    assert "the-readers-secret" not in repr(imports.location_of(source))


# --- the rules of a source --------------------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)  # PostgreSQL's now() is the transaction's
def test_the_same_rows_again_cost_nothing_and_a_changed_one_is_written(
    app: App, source: Source, bucket: TestBucket
) -> None:
    bucket.put("cleeng/a.csv", "user_id,plan,email\n" + "".join(f"{n},gold,{n}@example.com\n" for n in range(50)))
    assert one(source).rows_new == 50
    written = dict(Subscriber.objects.values_list("user_id", "updated_at"))
    rows = [f"{n},{'silver' if n == 7 else 'gold'},{n}@example.com\n" for n in reversed(range(50))]
    bucket.put("cleeng/b.csv", "user_id,plan,email\n" + "".join(rows))
    assert counts(one(source)) == {
        "read": 50, "new": 0, "changed": 1, "unchanged": 49, "superseded": 0, "rejected": 0,
    }  # fmt: skip
    again = dict(Subscriber.objects.values_list("user_id", "updated_at"))
    assert {user_id for user_id in again if again[user_id] != written[user_id]} == {"7"}


def test_what_was_written_since_the_last_file_is_written_over_by_the_next(
    app: App, source: Source, bucket: TestBucket
) -> None:
    bucket.put("cleeng/a.csv", "user_id,plan\n1,gold\n")
    run(source)
    set_traits(app, "1", {"plan": "silver", "vip": True}, origin="API")
    bucket.put("cleeng/b.csv", "user_id,plan\n1,gold\n2,gold\n")
    assert counts(one(source))["changed"] == 1
    assert everybody(app)["1"] == {"plan": "gold", "vip": True}


@pytest.mark.parametrize(
    ("empty_cells", "expected"),
    [
        ("keep", {"plan": "gold", "age": 41, "kept": "x", "email": "new@example.com"}),
        ("clear", {"kept": "x", "email": "new@example.com"}),
    ],
)
def test_an_empty_cell_keeps_or_clears(
    app: App, make_source: Callable[..., Source], bucket: TestBucket, empty_cells: str, expected: dict[str, object]
) -> None:
    Trait.objects.create(app=app, name="age", type="number")
    source = make_source(empty_cells=empty_cells)
    SubscriberFactory(app=app, user_id="1", traits={"plan": "gold", "age": 41, "kept": "x"})
    bucket.put("cleeng/a.csv", "user_id,plan,age,email\n1,,,new@example.com\n2,,,\n")
    assert counts(one(source)) == {
        "read": 2, "new": 1, "changed": 1, "unchanged": 0, "superseded": 0, "rejected": 0,
    }  # fmt: skip
    assert everybody(app) == {"1": expected, "2": {}}


def test_a_single_text_column_may_be_empty(app: App, source: Source, bucket: TestBucket) -> None:
    bucket.put("cleeng/a.csv", 'user_id,plan\n1,\n2,"a,""b\\t\n\tc"\n3,Zoë \\N\n')
    assert one(source).rows_new == 3
    assert everybody(app) == {"1": {}, "2": {"plan": 'a,"b\\t\n\tc'}, "3": {"plan": "Zoë \\N"}}


def test_texts_of_every_kind_arrive_as_they_are(app: App, source: Source, bucket: TestBucket) -> None:
    first, second = 'a\\b "c" \t\r\nd\\.', "%s %(x)s \\N \u2028 Zoë \U0001f600"
    rows = [["user_id", "one", "two"], ["1", first, second], ["back\\slash", second, ""]]
    text = "\r\n".join(",".join('"' + cell.replace('"', '""') + '"' for cell in row) for row in rows)
    bucket.put("cleeng/a.csv", text)
    assert one(source).rows_new == 2
    assert everybody(app) == {"1": {"one": first, "two": second}, "back\\slash": {"one": second}}


def test_columns_are_renamed_ignored_and_prefixed(
    app: App, make_source: Callable[..., Source], bucket: TestBucket
) -> None:
    source = make_source(columns={"Plan": {"trait": "tier"}, "Secret": {"ignore": True}}, trait_prefix="cleeng_")
    bucket.put("cleeng/a.csv", "user_id,Plan,Secret,Churn risk\n1,gold,x,high\n")
    run(source)
    assert everybody(app) == {"1": {"tier": "gold", "cleeng_churn_risk": "high"}}


SEVERAL = "user_id,state,since,plan\n1,active,2026-02-01,a\n1,stopped,2026-03-01 10:00,b\n1,active,2026-01-01,c\n2,stopped,,d\n2,stopped,,e\n"  # noqa: E501


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ({}, {"1": "c", "2": "e"}),
        ({"row_wins": "newest_by", "row_wins_column": "Since"}, {"1": "b", "2": "e"}),
        (
            {"row_wins": "first_active", "row_wins_column": "state", "row_wins_value": "Active"},
            {"1": "a", "2": "e"},
        ),
    ],
)
def test_which_row_of_an_id_counts(
    app: App, make_source: Callable[..., Source], bucket: TestBucket, rules: dict[str, str], expected: dict[str, str]
) -> None:
    source = make_source(**rules)
    bucket.put("cleeng/a.csv", SEVERAL)
    done = one(source)
    assert (done.rows_read, done.rows_new, done.rows_superseded) == (5, 2, 3)
    assert {user_id: traits["plan"] for user_id, traits in everybody(app).items()} == expected


def test_the_column_that_chooses_the_row_must_be_there(make_source: Callable[..., Source], bucket: TestBucket) -> None:
    source = make_source(row_wins="newest_by", row_wins_column="Changed")
    bucket.put("cleeng/a.csv", SEVERAL)
    assert one(source).message == "There is no column “Changed”, by which it is told which row of an id counts."


@pytest.mark.parametrize("empty_cells", ["keep", "clear"])
def test_a_value_that_does_not_fit_is_left_out_where_the_source_says_so(
    app: App, make_source: Callable[..., Source], bucket: TestBucket, empty_cells: str
) -> None:
    Trait.objects.create(app=app, name="age", type="number")
    SubscriberFactory(app=app, user_id="1", traits={"age": 41})
    source = make_source(misfit="keep_row", empty_cells=empty_cells)
    bucket.put("cleeng/a.csv", "user_id,plan,age\n1,gold,forty\n2,gold,42\n")
    done = one(source)
    assert (done.state, done.rows_rejected) == (RunState.DONE, 0)
    assert "1 values that do not fit their trait were left out, the first in line 2, column “age”" in done.message
    assert everybody(app) == {"1": {"age": 41, "plan": "gold"}, "2": {"age": 42, "plan": "gold"}}


# --- each content once ------------------------------------------------------------------------------------------------------


def test_the_same_content_under_a_new_name_is_not_merged(app: App, source: Source, bucket: TestBucket) -> None:
    bucket.put("cleeng/a.csv", "user_id,plan\n1,gold\n")
    run(source)
    bucket.put("cleeng/b.csv.gz", "user_id,plan\n1,gold\n", compress=True)
    set_traits(app, "1", {"plan": "silver"}, origin="API")
    same = one(source)
    assert (same.state, same.message) == (
        RunState.SAME,
        "Same content as cleeng/a.csv, so nothing was merged.",
    )
    assert everybody(app) == {"1": {"plan": "silver"}}
    assert not run(source).failed
    assert run(source).runs == []


def test_the_same_content_after_another_file_says_something_again(app: App, source: Source, bucket: TestBucket) -> None:
    for name, plan in (("a", "gold"), ("b", "silver"), ("c", "gold")):
        bucket.put(f"cleeng/{name}.csv", f"user_id,plan\n1,{plan}\n")
        assert one(source).state == RunState.DONE
    assert everybody(app) == {"1": {"plan": "gold"}}


def test_the_same_content_by_other_rules_is_merged(app: App, source: Source, bucket: TestBucket) -> None:
    bucket.put("cleeng/a.csv", "user_id,plan\n1,gold\n")
    run(source)
    Source.objects.update(columns={"plan": {"trait": "tier"}})
    bucket.put("cleeng/b.csv", "user_id,plan\n1,gold\n")
    assert one(source).state == RunState.DONE
    assert everybody(app) == {"1": {"plan": "gold", "tier": "gold"}}


def test_another_bucket_is_another_ledger(source: Source, bucket: TestBucket) -> None:
    bucket.put("cleeng/a.csv", "user_id,plan\n1,gold\n")
    assert one(source).rows_new == 1
    Source.objects.update(bucket="elsewhere")
    bucket.client.create_bucket(Bucket="elsewhere", CreateBucketConfiguration={"LocationConstraint": source.region})
    bucket.client.put_object(Bucket="elsewhere", Key="cleeng/a.csv", Body=b"user_id,plan\n1,gold\n")
    try:
        assert one(source).state == RunState.SAME
    finally:
        bucket.client.delete_object(Bucket="elsewhere", Key="cleeng/a.csv")
        bucket.client.delete_bucket(Bucket="elsewhere")


def test_rules_that_change_while_an_import_is_interrupted_begin_its_merge_anew(
    app: App, source: Source, bucket: TestBucket
) -> None:
    bucket.put("cleeng/a.csv", "user_id,plan\n1,gold\n2,gold\n")

    class Died(Exception):
        pass

    class Dies(imports.Silent):
        def merging(self, run: ImportRun) -> None:
            raise Died

    with pytest.raises(Died):
        import_source(source, started_by="dies", progress=Dies())
    Source.objects.update(columns={"plan": {"trait": "tier"}})
    assert counts(one(source)) == {
        "read": 2, "new": 0, "changed": 2, "unchanged": 0, "superseded": 0, "rejected": 0,
    }  # fmt: skip
    assert everybody(app)["1"] == {"plan": "gold", "tier": "gold"}


def test_a_subscriber_that_appears_while_a_file_is_merged_is_merged_as_well(
    app: App, source: Source, bucket: TestBucket
) -> None:
    bucket.put("cleeng/a.csv", "user_id,plan,email\n1,gold,\n2,gold,\n3,gold,x\n")
    SubscriberFactory(app=app, user_id="3", traits={"plan": "old"})
    stage = staging_for(Shape(app.pk, ["email", "plan"], clears=True))
    with closing(stage):
        stage.add([(n, str(n), 0.0, n, f"{SEPARATOR}gold", "{}") for n in (1, 2, 3)])
        stage.sort(0)
        batch = stage.next()
        assert batch is not None
        set_traits(app, "1", {"email": "1@example.com", "kept": 5}, origin="API")
        Subscriber.objects.get(user_id="3").delete()
        with transaction.atomic():
            assert stage.merge(batch) == (2, 1)
        assert stage.next() is None
    assert everybody(app) == {"1": {"kept": 5, "plan": "gold"}, "2": {"plan": "gold"}, "3": {"plan": "gold"}}

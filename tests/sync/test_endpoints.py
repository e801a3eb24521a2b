"""Files of push endpoints: a person has a row per channel, and each channel's address is kept."""

from collections.abc import Callable

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse

from engage.tenancy.models import App
from engage.tenancy.roles import Role
from sync import uploads
from sync.endpoints import MOST_CHANNELS
from sync.imports import import_source
from sync.models import (
    Access,
    Content,
    EmptyCells,
    ImportRun,
    RowWins,
    RunState,
    Source,
    Subscriber,
    Trait,
    TraitColumn,
)
from tests.factories import SourceFactory, SubscriberFactory

pytestmark = pytest.mark.django_db
Console = Callable[[Role], Client]
HEADER = "Id,ChannelType,Address,User.UserId\n"


@pytest.fixture
def source(app: App) -> Source:
    """A source of push endpoints without a bucket."""
    made: Source = SourceFactory(
        app=app,
        access=Access.UPLOAD,
        bucket="",
        prefix="",
        access_key_id="",
        id_column="User.UserId",
        content=Content.ENDPOINTS,
        secrets={},
    )
    return made


def imported(source: Source, rows: str, header: str = HEADER) -> ImportRun:
    run = uploads.keep(source, SimpleUploadedFile("endpoints.csv", (header + rows).encode()), "somebody")
    ImportRun.objects.filter(pk=run.pk).update(state=RunState.STOPPED)
    import_source(source, started_by="test")
    run.refresh_from_db()
    return run


def traits(user_id: str) -> dict[str, object]:
    return dict(Subscriber.objects.get(user_id=user_id).traits)


def counts(run: ImportRun) -> tuple[int, int, int, int, int, int]:
    merged = (run.rows_new, run.rows_changed, run.rows_unchanged)
    return (run.rows_read, *merged, run.rows_superseded, run.rows_rejected)


def test_each_channels_address_becomes_a_trait_and_the_last_of_the_same_wins(source: Source) -> None:
    SubscriberFactory(app=source.app, user_id="bob", traits={"plan": "gold", "endpoint_sms": "+1"})
    run = imported(
        source,
        "e1,APNS,aaa,ann\ne2,GCM,ggg,ann\ne3,EMAIL,ann@example.com,ann\ne4,SMS,+2,bob\ne5,APNS,bbb,ann\ne6,Smart Fridge,f,ann\n",
    )
    assert (run.state, counts(run)) == (RunState.DONE, (6, 1, 1, 0, 4, 0))
    assert traits("ann") == {
        "endpoint_apns": "bbb",
        "endpoint_gcm": "ggg",
        "endpoint_email": "ann@example.com",
        "endpoint_smart_fridge": "f",
    }
    assert traits("bob") == {"plan": "gold", "endpoint_sms": "+2"}
    made = Trait.objects.get(name="endpoint_apns")
    assert (made.personal, made.confirmed, made.origin) == (True, False, source.name)
    assert TraitColumn.objects.get(trait=made).column == "Address"
    assert not Trait.objects.filter(name__in=["id", "user_userid"]).exists()


def test_the_same_endpoints_again_change_nothing_in_whatever_order_they_come(source: Source) -> None:
    imported(source, "e1,APNS,aaa,ann\ne2,GCM,ggg,ann\ne3,GCM,x,bob\n")
    written = Subscriber.objects.get(user_id="ann").updated_at
    run = imported(source, "e2,GCM,ggg,ann\ne3,GCM,y,bob\ne1,APNS,aaa,ann\n")
    assert counts(run) == (3, 0, 1, 1, 1, 0)
    assert Subscriber.objects.get(user_id="ann").updated_at == written


def test_the_newest_by_a_column_wins_on_its_channel(source: Source) -> None:
    Source.objects.update(row_wins=RowWins.NEWEST_BY, row_wins_column="EffectiveDate")
    source.refresh_from_db()
    imported(
        source,
        "APNS,new,ann,2026-11-02T00:00:00Z\nAPNS,old,ann,2026-11-01T00:00:00Z\nGCM,g,ann,2020-01-01T00:00:00Z\n",
        "ChannelType,Address,User.UserId,EffectiveDate\n",
    )
    assert traits("ann") == {"endpoint_apns": "new", "endpoint_gcm": "g"}


def test_rows_that_are_no_endpoint_are_rejected_and_the_others_imported(source: Source) -> None:
    run = imported(source, f"1,,aaa,ann\n2,鈴,aaa,ann\n3,GCM,g,\n4,GCM,{'x' * 2001},ann\n5,GCM,ok,ann\n6,GCM\n")
    assert counts(run) == (6, 1, 0, 0, 0, 5)
    assert traits("ann") == {"endpoint_gcm": "ok"}
    rows = run.rejected_rows.order_by("line").values_list("column", "reason")
    assert [(column, reason[:22]) for column, reason in rows] == [
        ("ChannelType", "The channel is empty, "),
        ("ChannelType", "The channel is empty, "),
        ("User.UserId", "The id is empty."),
        ("Address", "The cell has 2,001 cha"),
        ("", "The row has 2 cells, t"),
    ]


@pytest.mark.parametrize(
    ("rule", "left"), [(EmptyCells.KEEP, {"endpoint_apns", "endpoint_gcm"}), (EmptyCells.CLEAR, {"endpoint_gcm"})]
)
def test_an_empty_address_says_what_empty_cells_say(source: Source, rule: EmptyCells, left: set[str]) -> None:
    Source.objects.update(empty_cells=rule)
    source.refresh_from_db()
    imported(source, "1,APNS,a,ann\n2,GCM,g,ann\n")
    imported(source, "1,APNS,,ann\n2,GCM,h,new\n3,APNS,,new\n4,APNS,,nobody\n")
    assert set(traits("ann")) == left
    assert traits("new") == {"endpoint_gcm": "h"}
    assert traits("nobody") == {}


@pytest.mark.parametrize(
    ("header", "rows", "said"),
    [
        ("User.UserId,Address\n", "ann,a\n", "no column “ChannelType”, which holds the channel"),
        ("User.UserId,ChannelType\n", "ann,a\n", "no column “Address”"),
        ("ChannelType,Address\n", "ann,a\n", "no column “User.UserId”, which holds the id"),
        (HEADER, "".join(f"1,c{n},a,ann\n" for n in range(MOST_CHANNELS + 1)), "names more than 50 channels"),
    ],
)
def test_a_file_that_holds_something_else_is_refused(source: Source, header: str, rows: str, said: str) -> None:
    run = imported(source, rows, header)
    assert run.state == RunState.FAILED
    assert said in run.message
    assert not Subscriber.objects.exists()


def test_the_preview_says_what_the_addresses_become(console: Console, source: Source) -> None:
    run = uploads.keep(source, SimpleUploadedFile("e.csv", f"{HEADER}1,APNS,a,ann\n2,GCM,g,ann\n".encode()), "somebody")
    page = console(Role.APP_ADMIN).get(reverse("admin:sync_importrun_change", args=[run.pk]))
    assert [(column.trait, column.is_id) for column in page.context["preview"].columns] == [
        ("", False),
        ("", False),
        ("endpoint_apns, endpoint_gcm", False),
        ("", True),
    ]


def test_the_traits_get_the_sources_prefix_and_a_confirmed_type(source: Source) -> None:
    Source.objects.update(trait_prefix="pinpoint_")
    source.refresh_from_db()
    Trait.objects.create(app=source.app, name="pinpoint_endpoint_custom", type="number")
    run = imported(source, "1,CUSTOM,7,ann\n2,CUSTOM,seven,bob\n")
    assert traits("ann") == {"pinpoint_endpoint_custom": 7}
    assert run.rejected_rows.get().column == "Address"

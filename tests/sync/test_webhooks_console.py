"""*Webhooks* in the console, and what a connector's page says of them."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from pytest_django.fixtures import Settings

from connectors import registry
from connectors.models import Connection
from engage.audit.models import Entry
from engage.tenancy.models import App
from engage.tenancy.roles import Role
from sync import inbound
from sync.models import InboundMessage, MessageState
from tests import factories
from tests.connectors.inbound_contract import OTHER_SECRET, SECRET
from tests.connectors.tellers import Slipping, sign_slip, slip

Console = Callable[[Role], Client]
LIST = "/console/sync/inboundmessage/"
PAGE = "/console/connectors/connection/slipping/"


@pytest.fixture(autouse=True)
def _slipping(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    known = registry._by_key  # noqa: SLF001 - the registry's memory, forgotten before and after
    monkeypatch.setattr(registry, "CONNECTORS", (*registry.CONNECTORS, Slipping))
    known.cache_clear()
    yield
    known.cache_clear()


@pytest.fixture
def admin(console: Console) -> Client:
    return console(Role.APP_ADMIN)


def connect(app: App, secret: str = SECRET, **fields: Any) -> Connection:
    secrets = {"api_key": "api-key-of-the-tests", "webhook_secret": secret}
    made: Connection = factories.ConnectionFactory(
        app=app, connector="slipping", settings={}, secrets=secrets, **fields
    )
    return made


def send(connection: Connection, content: bytes = b"", secret: str = SECRET) -> None:
    sent = sign_slip(content or slip(), secret, datetime.now(UTC))
    Client().generic("POST", f"/hooks/{connection.pk}", sent.body, content_type=sent.content_type)


def text(client: Client, url: str, **query: str) -> str:
    answer = client.get(url, query)
    assert answer.status_code == 200, url
    return answer.content.decode()


# --- a connector's page -----------------------------------------------------------------------------------------------------


def test_the_address_and_how_to_set_it_up_are_for_administrators(app: App, console: Console) -> None:
    row = connect(app)
    address = f"http://testserver/hooks/{row.pk}"
    for role in Role:
        page = text(console(role), PAGE)
        may = role in {Role.COMPANY_ADMIN, Role.APP_ADMIN}
        assert (address in page) is may
        assert ("Paste the address." in page) is may
        assert "Nothing has come yet." in page
        assert "plan_changed" in page


def test_before_it_is_set_up_there_is_no_address(app: App, admin: Client) -> None:
    page = text(admin, PAGE)
    assert "/hooks/" not in page
    assert "Save the settings first" in page


def test_a_connector_without_webhooks_says_nothing_of_them(app: App, admin: Client) -> None:
    assert "#webhooks" not in text(admin, "/console/connectors/connection/builtin/")


def test_what_stands_in_the_way_is_said(app: App, admin: Client, settings: Settings) -> None:
    row = connect(app, secret="", active=False)
    page = text(admin, PAGE)
    assert "Webhook signing secret is not stored yet" in page
    assert "The connection is switched off: what comes is kept" in page
    assert "public HTTPS addresses only" in page
    settings.HTTPS = True
    assert "public HTTPS addresses only" not in text(admin, PAGE)
    send(row)
    assert "No signing secret is stored." in text(admin, PAGE)


def test_who_was_refused_is_said_until_a_message_comes(app: App, admin: Client) -> None:
    row = connect(app)
    send(row, secret=OTHER_SECRET)
    page = text(admin, PAGE)
    assert "Somebody was refused" in page
    assert "No signature fits." in page
    send(row)
    page = text(admin, PAGE)
    assert "Somebody was refused" not in page
    assert "plan_changed" in page
    assert "waiting" in page


def test_the_last_message_and_what_could_not_be_read_are_led_to(app: App, admin: Client) -> None:
    row = connect(app)
    send(row, b"no XML")
    page = text(admin, PAGE)
    message = InboundMessage.objects.get()
    assert f'href="{LIST}{message.pk}/change/"' in page
    assert "could not be read" in page
    filtered = text(admin, LIST, connection=str(row.pk), state__exact="failed")
    assert f"{LIST}{message.pk}/change/" in filtered


# --- the list ---------------------------------------------------------------------------------------------------------------


def test_the_list_shows_state_type_when_and_why(app: App, admin: Client) -> None:
    factories.SubscriberFactory(app=app, traits={"customer_id": "c-1"})
    row = connect(app)
    send(row, slip(1))
    send(row, slip(2, kind="dispute_opened"))
    send(row, b"no XML")
    inbound.work()
    page = text(admin, LIST)
    for words in ("plan_changed", "slip-1", "Done", "It told of plan.", "dispute_opened", "Not used", "no XML."):
        assert words in page


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"q": "slip-2"}, {"slip-2"}),
        ({"q": "slip"}, set()),
        ({"state__exact": "ignored"}, {"slip-2"}),
        ({"state__exact": "done"}, set()),
        ({"connection": "nonsense"}, {"slip-1", "slip-2"}),
    ],
)
def test_it_is_searched_and_filtered_by_its_address(
    app: App, admin: Client, query: dict[str, str], found: set[str]
) -> None:
    row = connect(app)
    send(row, slip(1))
    send(row, slip(2, kind="dispute_opened"))
    page = text(admin, LIST, **query)
    assert {name for name in ("slip-1", "slip-2") if name in page} == found


def test_an_empty_list_and_one_without_matches_say_so(app: App, admin: Client) -> None:
    assert "No vendor has told anything yet" in text(admin, LIST)
    assert "No message fits" in text(admin, LIST, q="nothing")


# --- a message --------------------------------------------------------------------------------------------------------------


def test_what_came_is_shown_without_secrets_to_those_who_may_see_personal_data(app: App, console: Console) -> None:
    row = connect(app)
    message = InboundMessage.objects.create(
        app=app,
        connection=row,
        event_id="e",
        type="plan_changed",
        state=MessageState.FAILED,
        reason="No account ann@example.com.",
        payload={"email": "ann@example.com", "client_secret": "pi_secret_123456"},
    )
    for role in Role:
        page = text(console(role), f"{LIST}{message.pk}/change/")
        listed = text(console(role), LIST)
        assert "pi_secret_123456" not in page
        for shown in (page, listed):
            assert ("ann@example.com" in shown) is (role != Role.READ_ONLY and (shown is page or "No account" in shown))


def test_what_could_not_be_taken_apart_is_shown_as_it_came(app: App, admin: Client) -> None:
    row = connect(app)
    send(row, b"\xff<b>no XML")
    page = text(admin, f"{LIST}{InboundMessage.objects.get().pk}/change/")
    assert "It could not be taken apart" in page
    assert "payload=" in page
    assert "application/x-www-form-urlencoded" in page


def test_a_message_of_another_app_is_not_there(app: App, other_app: App, admin: Client) -> None:
    theirs = connect(other_app)
    send(theirs)
    message = InboundMessage.objects.get()
    assert admin.get(f"{LIST}{message.pk}/change/").status_code == 404
    assert admin.post(f"{LIST}{message.pk}/again/").status_code == 404
    assert "slip-1" not in text(admin, LIST)
    admin.post(LIST, {"action": "process_again", "_selected_action": [message.pk]})
    assert not Entry.objects.filter(verb="processed webhooks again", app=other_app).exists()


def test_administrators_process_again_one_or_many(app: App, console: Console) -> None:
    row = connect(app)
    for number in (1, 2):
        send(row, slip(number))
    inbound.work()
    assert {message.state for message in InboundMessage.objects.all()} == {MessageState.UNMATCHED}
    one, other = InboundMessage.objects.order_by("pk")
    for role in (Role.APP_MEMBER, Role.READ_ONLY):
        client = console(role)
        assert "Process again" not in text(client, f"{LIST}{one.pk}/change/")
        assert client.post(f"{LIST}{one.pk}/again/").status_code == 403
        client.post(LIST, {"action": "process_again", "_selected_action": [one.pk]})
    assert not InboundMessage.objects.filter(state=MessageState.QUEUED).exists()
    admin = console(Role.APP_ADMIN)
    subscriber = factories.SubscriberFactory(app=app, traits={"customer_id": "c-1"})
    assert admin.get(f"{LIST}{one.pk}/again/").status_code == 405
    admin.post(f"{LIST}{one.pk}/again/")
    admin.post(LIST, {"action": "process_again", "_selected_action": [other.pk]})
    assert InboundMessage.objects.filter(state=MessageState.QUEUED, due_at__lte=timezone.now()).count() == 2
    inbound.work()
    subscriber.refresh_from_db()
    assert subscriber.traits["plan"] == "premium"
    verbs = list(Entry.objects.filter(app=app, user__isnull=False).values_list("verb", flat=True))
    assert [verbs.count(verb) for verb in ("processed again", "processed webhooks again")] == [1, 1]


def test_while_the_connection_is_off_it_says_what_it_waits_for(app: App, admin: Client) -> None:
    row = connect(app, active=False)
    send(row)
    assert "waits until the connection is switched on" in text(admin, LIST)

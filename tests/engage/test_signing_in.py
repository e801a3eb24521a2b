"""Signing in and out, lock-out, new passwords, and what is told of whom."""

from collections.abc import Callable
from datetime import timedelta

import pytest
import time_machine
from axes.models import AccessAttempt
from django.core import mail
from django.test import Client
from django.utils import timezone
from pytest_django.fixtures import Settings

from engage.audit.models import Entry
from engage.tenancy.mail import _background
from engage.tenancy.models import App, User
from engage.tenancy.roles import Role
from tests import factories
from tests.waiting import until

LOGIN = "/console/login/"


@pytest.fixture(autouse=True)
def email_is_set_up(settings: Settings) -> None:
    settings.EMAIL_IS_SET_UP = True


@pytest.fixture
def ada(app: App) -> User:
    return factories.person(app, Role.APP_ADMIN, email="ada@example.com", name="Ada")


def attempt(client: Client, email: str, password: str = "wrong") -> tuple[int, str]:
    answer = client.post(LOGIN, {"username": email, "password": password})
    return answer.status_code, answer.content.decode().replace(email, "…")


def mails(count: int) -> list[str]:
    """Wait for e-mails, which leave after the answer."""
    until(lambda: len(mail.outbox) >= count, within=5)
    return [f"{message.to} {message.subject} {message.body}" for message in mail.outbox]


def link_in(text: str) -> str:
    """Return the path of the link to a new password."""
    link = next(word for word in text.split() if word.startswith("http://testserver/console/account/password/"))
    return link.removeprefix("http://testserver")


def test_the_form_asks_for_an_e_mail_address(db: None) -> None:
    text = Client().get(LOGIN).content.decode()
    assert "E-mail address" in text
    assert 'type="email"' in text


def test_pages_of_people_without_a_session_have_the_consoles_colours(db: None) -> None:
    for path in (LOGIN, "/console/account/forgotten/", "/console/account/invitation/inv_unknown/"):
        assert 'id="unfold-theme-colors"' in Client().get(path).content.decode(), path


def test_people_sign_in_with_their_address_whatever_its_case_and_it_is_in_the_history(ada: User) -> None:
    client = Client()
    answer = client.post(LOGIN, {"username": "Ada@Example.COM", "password": factories.PASSWORD})
    assert (answer.status_code, answer["Location"]) == (302, "/console/")
    entry = Entry.objects.get(verb="signed in")
    assert (entry.actor, entry.ip, entry.app) == ("ada@example.com", "127.0.0.1", ada.memberships.get().app)


def test_signing_out_ends_the_session(ada: User) -> None:
    client = Client()
    client.post(LOGIN, {"username": ada.email, "password": factories.PASSWORD})
    assert client.get("/console/logout/").status_code == 405
    assert client.post("/console/logout/").status_code == 200
    assert client.get("/console/").status_code == 302


def test_failures_read_alike_whether_the_address_exists_or_not(ada: User) -> None:
    factories.UserFactory(email="gone@example.com", is_active=False)
    known, unknown = Client(), Client()
    for _ in range(6):
        first, second = attempt(known, ada.email), attempt(unknown, "nobody@example.com")
        assert first[0] == second[0]
        assert [line for line in first[1].splitlines() if "csrf" not in line] == [
            line for line in second[1].splitlines() if "csrf" not in line
        ]
    inactive = Client().post(LOGIN, {"username": "gone@example.com", "password": factories.PASSWORD})
    assert "do not fit together" in inactive.content.decode()


def test_five_failures_lock_the_sign_in_also_for_the_right_password_and_other_spellings(ada: User) -> None:
    client = Client()
    statuses = [
        attempt(client, spelling)[0]
        for spelling in ("ada@example.com", "ADA@example.com", "Ada@Example.com", " ada@example.com")
    ]
    assert statuses == [200] * 4
    status, text = attempt(client, "aDa@example.com")
    assert status == 429
    assert "Try again later" in text
    assert "15 minutes" in text
    assert 'id="unfold-theme-colors"' in text
    assert attempt(client, "ada@example.com", factories.PASSWORD)[0] == 429


def test_an_ipv6_network_is_one_address(ada: User) -> None:
    statuses = [attempt(Client(REMOTE_ADDR=f"2001:db8:1:2::{host}"), ada.email)[0] for host in range(6)]
    assert statuses == [200] * 4 + [429] * 2
    assert attempt(Client(REMOTE_ADDR="2001:db8:1:3::1"), ada.email)[0] == 200


@pytest.fixture
def _guessed_from_everywhere(ada: User) -> None:
    """Somebody with many addresses has failed so often that one failure more locks the name."""
    AccessAttempt.objects.bulk_create(
        AccessAttempt(username=ada.email, ip_address=f"198.51.100.{host}", failures_since_start=3) for host in range(33)
    )


@pytest.mark.usefixtures("_guessed_from_everywhere")
def test_guesses_from_everywhere_lock_unknown_browsers_until_they_are_old(ada: User) -> None:
    with time_machine.travel(timezone.now(), tick=False) as clock:
        assert attempt(Client(REMOTE_ADDR="203.0.113.1"), "Ada@example.com")[0] == 429
        elsewhere = Client(REMOTE_ADDR="203.0.113.2")
        assert attempt(elsewhere, ada.email, factories.PASSWORD)[0] == 429
        assert attempt(Client(), "nobody@example.com")[0] == 200
        clock.shift(timedelta(minutes=15, seconds=10))
        assert attempt(elsewhere, ada.email, factories.PASSWORD)[0] == 302


@pytest.mark.usefixtures("_guessed_from_everywhere")
def test_guesses_of_others_keep_nobody_out_of_the_browser_that_they_use(ada: User, app: App) -> None:
    mine = Client()
    assert attempt(mine, ada.email, factories.PASSWORD)[0] == 302
    bob = factories.person(app, Role.READ_ONLY, email="bob@example.com")
    others = Client(REMOTE_ADDR="203.0.113.1")
    assert attempt(others, bob.email, factories.PASSWORD)[0] == 302
    attempt(Client(REMOTE_ADDR="203.0.113.2"), ada.email)
    for browser in (mine, others):
        browser.post("/console/logout/")
    assert attempt(others, ada.email, factories.PASSWORD)[0] == 429
    assert attempt(mine, ada.email, factories.PASSWORD)[0] == 302
    mine.post("/console/logout/")
    assert [attempt(mine, ada.email)[0] for _ in range(5)] == [200] * 4 + [429]


@pytest.mark.usefixtures("_guessed_from_everywhere")
def test_a_new_password_by_e_mail_opens_the_sign_in_and_forgets_the_browsers_of_the_old_one(ada: User) -> None:
    old, new = Client(), Client(REMOTE_ADDR="203.0.113.1")
    attempt(old, ada.email, factories.PASSWORD)
    old.post("/console/logout/")
    attempt(Client(REMOTE_ADDR="203.0.113.2"), ada.email)
    new.post("/console/account/forgotten/", {"email": ada.email})
    link = link_in(mails(2)[1])
    phrase = "another long phrase"
    new.post(new.get(link)["Location"], {"new_password1": phrase, "new_password2": phrase})
    assert attempt(new, ada.email, phrase)[0] == 302
    assert attempt(old, ada.email, phrase)[0] == 429


def test_the_lock_opens_by_itself_at_the_time_that_the_e_mail_names(ada: User) -> None:
    client = Client()
    with time_machine.travel("2026-03-01T12:00:00Z", tick=True) as clock:
        for _ in range(5):
            attempt(client, ada.email)
        [text] = mails(1)
        assert "['ada@example.com']" in text
        assert "1 March 2026, 12:15 (UTC)" in text
        clock.move_to("2026-03-01T12:14:00Z")
        assert attempt(client, ada.email)[0] == 429
        clock.move_to("2026-03-01T12:15:10Z")
        assert attempt(client, ada.email, factories.PASSWORD)[0] == 302
    assert len(mail.outbox) == 1


def test_nobody_is_written_to_for_an_address_without_account(db: None) -> None:
    for _ in range(6):
        attempt(Client(), "nobody@example.com")
    assert attempt(Client(), "nobody@example.com")[0] == 429
    assert mail.outbox == []


def test_a_deactivated_person_is_out_at_the_next_request(ada: User, signed_in: Callable[[User], Client]) -> None:
    client = signed_in(ada)
    assert client.get("/console/").status_code == 200
    User.objects.filter(pk=ada.pk).update(is_active=False)
    answer = client.get("/console/")
    assert (answer.status_code, answer["Location"]) == (302, "/console/login/?next=/console/")


def test_a_person_whose_role_was_taken_is_out_at_the_next_request(
    ada: User, signed_in: Callable[[User], Client]
) -> None:
    client = signed_in(ada)
    ada.memberships.all().delete()
    assert client.get("/console/").status_code == 302


def test_a_new_password_ends_the_other_sessions(ada: User, signed_in: Callable[[User], Client]) -> None:
    here, elsewhere = signed_in(ada), signed_in(ada)
    form = {
        "old_password": factories.PASSWORD,
        "new_password1": "another long phrase",
        "new_password2": "another long phrase",
    }
    assert here.post("/console/password_change/", form).status_code == 302
    assert here.get("/console/").status_code == 200
    assert elsewhere.get("/console/").status_code == 302


def test_a_forgotten_password_is_set_through_the_link_in_the_e_mail(ada: User) -> None:
    client = Client()
    answer = client.post("/console/account/forgotten/", {"email": "ADA@example.com"}, follow=True)
    assert "If there is an account with this address" in answer.content.decode()
    [text] = mails(1)
    form = client.get(link_in(text))
    weak = client.post(form["Location"], {"new_password1": "short", "new_password2": "short"})
    assert "too short" in weak.content.decode()
    assert (
        client.post(
            form["Location"], {"new_password1": "another long phrase", "new_password2": "another long phrase"}
        ).status_code
        == 302
    )
    assert attempt(client, ada.email, "another long phrase")[0] == 302


def test_where_no_email_is_set_up_none_is_promised(ada: User, settings: Settings) -> None:
    settings.EMAIL_IS_SET_UP = False
    client, command = Client(), "<code>.venv/bin/python manage.py changepassword E-MAIL</code>"
    pages = [ask("/console/account/forgotten/", {"email": ada.email}) for ask in (client.get, client.post)]
    for page in pages:
        assert command in page.content.decode()
        assert "Send the link" not in page.content.decode()
    for _ in range(5):
        locked = client.post(LOGIN, {"username": ada.email, "password": "wrong"})
    assert locked.status_code == 429
    assert command in locked.content.decode()
    assert "an e-mail says" not in locked.content.decode()
    assert "Set a new password" not in locked.content.decode()


def forgotten(email: str, address: str = "203.0.113.1") -> str:
    """Ask for a new password and return what the page says."""
    page = Client(REMOTE_ADDR=address).post("/console/account/forgotten/", {"email": email}, follow=True)
    return page.content.decode()


def written() -> int:
    """Return how many e-mails have left."""
    _background.submit(lambda: None).result(10)
    return len(mail.outbox)


def test_nobodys_mailbox_is_filled_with_links(ada: User, app: App) -> None:
    bob = factories.person(app, Role.READ_ONLY)
    with time_machine.travel("2026-03-01T12:00:00Z", tick=False) as clock:
        said = {forgotten(ada.email, f"198.51.100.{host}") for host in range(8)}
        assert ["If there is an account with this address" in page for page in said] == [True]
        assert written() == 5
        forgotten(bob.email)
        assert written() == 6
        clock.shift(3600)
        forgotten(ada.email)
        assert written() == 7


def test_one_address_does_not_fill_the_queue_of_e_mails(ada: User) -> None:
    said = {forgotten(f"nobody{number}@example.com", f"2001:db8::{number}") for number in range(20)}
    assert {*said, forgotten(ada.email, "2001:db8::99")} == said
    assert written() == 0
    forgotten(ada.email, "2001:db8:0:1::1")
    assert written() == 1


def test_locks_fill_nobodys_mailbox(ada: User) -> None:
    for host in range(7):
        for _ in range(5):
            attempt(Client(REMOTE_ADDR=f"198.51.100.{host}"), ada.email)
    assert written() == 5


@pytest.fixture
def _deactivated(ada: User) -> None:
    User.objects.filter(pk=ada.pk).update(is_active=False)


@pytest.mark.usefixtures("_deactivated")
@pytest.mark.parametrize("address", ["nobody@example.com", "ada@example.com"])
def test_a_link_goes_only_to_active_people_and_the_answer_is_the_same(address: str) -> None:
    answer = Client().post("/console/account/forgotten/", {"email": address}, follow=True)
    assert "If there is an account with this address" in answer.content.decode()
    assert written() == 0


def test_the_sign_in_page_does_not_lead_elsewhere(ada: User) -> None:
    answer = Client().post(
        f"{LOGIN}?next=https://evil.example/", {"username": ada.email, "password": factories.PASSWORD}
    )
    assert answer["Location"] == "/console/"

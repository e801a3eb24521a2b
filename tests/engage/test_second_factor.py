"""The second factor: signing in with it, setting it up, replacing, removing, resetting and requiring it."""

import base64
import re
from collections.abc import Callable, Iterator
from html import unescape

import pytest
import time_machine
from axes.models import AccessAttempt
from django.core import mail
from django.core.management import CommandError, call_command
from django.test import Client
from django_otp.oath import totp

from engage.audit.models import Entry
from engage.tenancy.lockout import KNOWN
from engage.tenancy.mail import _background
from engage.tenancy.models import App, Authenticator, Company, User
from engage.tenancy.roles import Role
from tests import factories

LOGIN, CODE, MINE = "/console/login/", "/console/account/code/", "/console/second-factor/"
PEOPLE = "/console/tenancy/membership/"
BEGIN = {"do": "begin", "password": factories.PASSWORD}
SignedIn = Callable[[User], Client]


@pytest.fixture
def clock() -> Iterator[time_machine.Traveller]:
    """Time stands still, so that a code is the same when it is made and when it is checked."""
    with time_machine.travel("2026-03-01T12:00:00Z", tick=False) as coordinates:
        yield coordinates


@pytest.fixture
def ada(app: App, clock: time_machine.Traveller) -> User:
    return factories.person(app, Role.COMPANY_ADMIN, email="ada@example.com", name="Ada")


def code_of(factor: Authenticator) -> str:
    return f"{totp(base64.b32decode(factor.secrets()['secret'])):06d}"


def wrong(code: str) -> str:
    return f"{(int(code) + 1) % 1_000_000:06d}"


def password(user: User, path: str = LOGIN) -> Client:
    """Return a browser in which the password was right."""
    client = Client()
    answer = client.post(path, {"username": user.email, "password": factories.PASSWORD})
    assert (answer.status_code, answer["Location"]) == (302, CODE)
    return client


def is_in(client: Client) -> bool:
    return client.get("/console/").status_code == 200


def verified(user: User, factor: Authenticator, clock: time_machine.Traveller) -> Client:
    """Return a browser in which somebody is signed in with both; the next code is a new one."""
    client = password(user)
    assert client.post(CODE, {"code": code_of(factor)}).status_code == 302
    clock.shift(30)
    return client


def once(page: str) -> list[str]:
    found = re.search(r'<textarea id="once"[^>]*>([^<]*)<', page)
    assert found is not None, page
    return unescape(found[1]).split()


class TestSigningIn:
    def test_the_password_alone_signs_nobody_in_and_the_code_does(
        self, ada: User, clock: time_machine.Traveller
    ) -> None:
        factor = factories.authenticator(ada)
        client = password(ada, f"{LOGIN}?next={PEOPLE}")
        assert not is_in(client)
        assert not Entry.objects.filter(verb="signed in").exists()
        assert "not right" in client.post(CODE, {"code": wrong(code_of(factor))}).content.decode()
        assert not is_in(client)
        assert "Wait 2 seconds" in client.post(CODE, {"code": code_of(factor)}).content.decode()
        clock.shift(2)
        code = code_of(factor)
        answer = client.post(CODE, {"code": f" {code[:3]} {code[3:]} "})
        assert (answer.status_code, answer["Location"]) == (302, PEOPLE)
        assert is_in(client)
        assert Entry.objects.filter(verb="signed in").count() == 1

    def test_a_browser_is_known_by_the_code_and_not_by_the_password_alone(
        self, ada: User, clock: time_machine.Traveller
    ) -> None:
        factor = factories.authenticator(ada)
        assert KNOWN not in password(ada).cookies
        assert KNOWN in verified(ada, factor, clock).cookies

    def test_a_code_counts_once(self, ada: User, clock: time_machine.Traveller) -> None:
        factor = factories.authenticator(ada)
        code = code_of(factor)
        assert password(ada).post(CODE, {"code": code}).status_code == 302
        again = password(ada)
        assert "not right" in again.post(CODE, {"code": code}).content.decode()
        clock.shift(30)
        assert again.post(CODE, {"code": code_of(factor)}).status_code == 302

    @pytest.mark.parametrize("code", ["", "12345", "1234567", "abcdef", "-12345", "١٢٣٤٥٦", "0x1234", "1.2e05"])
    def test_what_is_no_code_is_refused(self, ada: User, code: str) -> None:
        factories.authenticator(ada)
        client = password(ada)
        assert client.post(CODE, {"code": code}).status_code == 200
        assert not is_in(client)

    def test_a_recovery_code_counts_once_and_is_said(self, ada: User, clock: time_machine.Traveller) -> None:
        factor = factories.authenticator(ada)
        codes = factor.new_recovery_codes()
        factor.save()
        client = password(ada)
        page = client.post(CODE, {"code": codes[3].lower()}, follow=True).content.decode()
        assert "9 are left" in page
        assert Entry.objects.filter(verb="signed in with a recovery code").count() == 1
        again = password(ada)
        again.post(CODE, {"code": codes[3]})
        assert not is_in(again)

    def test_wrong_codes_lock_the_sign_in_also_for_the_right_ones(
        self, ada: User, clock: time_machine.Traveller
    ) -> None:
        factor = factories.authenticator(ada)
        client = password(ada)
        for tried in range(5):
            answer = client.post(CODE, {"code": wrong(code_of(factor))})
            assert (answer.status_code, tried) == (429 if tried == 4 else 200, tried)
            clock.shift(60)
        assert client.post(CODE, {"code": code_of(factor)}).status_code == 429
        assert Client().post(LOGIN, {"username": ada.email, "password": factories.PASSWORD}).status_code == 429
        kept = "".join(AccessAttempt.objects.values_list("post_data", flat=True))
        assert "code=*" in kept
        clock.shift(15 * 60)
        assert password(ada).post(CODE, {"code": code_of(factor)}).status_code == 302

    def test_wrong_codes_from_everywhere_make_it_wait(self, ada: User, clock: time_machine.Traveller) -> None:
        factor = factories.authenticator(ada)
        for number in range(4):
            client = Client(REMOTE_ADDR=f"192.0.2.{number}")
            client.post(LOGIN, {"username": ada.email, "password": factories.PASSWORD})
            client.post(CODE, {"code": wrong(code_of(factor))})
            clock.shift(2**number - 0.5)
            assert "Wait" in client.post(CODE, {"code": code_of(factor)}).content.decode()
            clock.shift(1)
        assert password(ada).post(CODE, {"code": code_of(factor)}).status_code == 302

    def test_half_way_ends_after_ten_minutes_and_with_the_password(
        self, ada: User, clock: time_machine.Traveller
    ) -> None:
        factor = factories.authenticator(ada)
        assert Client().get(CODE)["Location"] == LOGIN
        late, changed, gone = password(ada), password(ada), password(ada)
        ada.set_password("another long phrase")
        ada.save()
        assert changed.post(CODE, {"code": code_of(factor)})["Location"] == LOGIN
        User.objects.filter(pk=ada.pk).update(is_active=False)
        assert gone.post(CODE, {"code": code_of(factor)})["Location"] == LOGIN
        User.objects.filter(pk=ada.pk).update(is_active=True, password=User.objects.get(pk=ada.pk).password)
        clock.shift(601)
        assert late.post(CODE, {"code": code_of(factor)})["Location"] == LOGIN
        assert not any(is_in(client) for client in (late, changed, gone))

    def test_a_session_that_has_not_shown_it_is_nobodys(self, ada: User, signed_in: SignedIn) -> None:
        client = signed_in(ada)
        assert is_in(client)
        factories.authenticator(ada)
        assert client.get("/console/")["Location"].startswith(LOGIN)
        assert "_auth_user_id" not in client.session


class TestOnesOwn:
    def test_it_is_set_up_with_the_apps_first_code(
        self, ada: User, signed_in: SignedIn, clock: time_machine.Traveller
    ) -> None:
        client, elsewhere = signed_in(ada), signed_in(ada)
        assert "your password alone signs nobody in" in client.get(MINE).content.decode()
        shown = client.post(MINE, BEGIN)
        assert "no-store" in shown["Cache-Control"]
        waiting = Authenticator.objects.get()
        secret = waiting.secrets()["secret"]
        page = shown.content.decode()
        assert secret in page.replace(" ", "")
        assert 'class="eg-qr"' in page
        assert waiting.address == f"otpauth://totp/Engage%3Aada%40example.com?secret={secret}&issuer=Engage"
        refused = client.post(MINE, {"do": "confirm", "code": wrong(code_of(waiting))}).content.decode()
        assert "not right" in refused
        assert secret in refused.replace(" ", "")
        assert not Authenticator.objects.get().confirmed
        clock.shift(2)
        codes = once(client.post(MINE, {"do": "confirm", "code": code_of(waiting)}).content.decode())
        assert len(set(codes)) == 10
        assert all(re.fullmatch(r"[A-Z2-7]{4}(-[A-Z2-7]{4}){3}", code) for code in codes)
        assert is_in(client)
        assert not is_in(elsewhere)
        assert Entry.objects.get(verb="set up a second factor").actor == ada.email
        later = client.get(MINE).content.decode()
        assert secret not in later.replace(" ", "")
        assert codes[0] not in later
        assert password(ada).post(CODE, {"code": codes[0]}).status_code == 302

    def test_an_open_session_is_not_enough_to_set_one_up(
        self, ada: User, signed_in: SignedIn, clock: time_machine.Traveller
    ) -> None:
        client = signed_in(ada)
        for guess in ("", "wrong", "wrong again", "and again", "once more"):
            page = client.post(MINE, {"do": "begin", "password": guess}).content.decode()
            assert ("not your password" in page) is bool(guess)
        assert client.post(MINE, {"do": "begin", "password": "the fifth"}).status_code == 429
        assert client.post(MINE, BEGIN).status_code == 429
        assert not Authenticator.objects.exists()

    def test_every_visit_makes_another_secret(self, ada: User, signed_in: SignedIn) -> None:
        client = signed_in(ada)
        secrets = set()
        for _ in range(2):
            client.post(MINE, BEGIN)
            secrets.add(Authenticator.objects.get().secrets()["secret"])
        assert len(secrets) == 2

    def test_the_secret_is_encrypted_and_recovery_codes_are_hashed(self, ada: User) -> None:
        factor = factories.authenticator(ada)
        codes = factor.new_recovery_codes()
        factor.save()
        row = str(Authenticator.objects.values("sealed", "recovery_hashes", "secrets_set", "name").get())
        assert factor.secrets()["secret"] not in row
        assert not any(code in row or code.replace("-", "") in row for code in codes)

    @pytest.mark.parametrize("what", ["replace", "recovery", "remove"])
    def test_what_is_there_changes_only_with_a_code(self, ada: User, clock: time_machine.Traveller, what: str) -> None:
        factor = factories.authenticator(ada)
        client, elsewhere = verified(ada, factor, clock), verified(ada, factor, clock)
        before = Authenticator.objects.values("pk", "recovery_hashes").get()
        assert "not right" in client.post(MINE, {"do": what, "code": wrong(code_of(factor))}).content.decode()
        assert client.post(MINE, BEGIN).status_code == 404
        assert client.post(MINE, {"do": "confirm", "code": code_of(factor)})["Location"] == MINE
        assert Authenticator.objects.values("pk", "recovery_hashes").get() == before
        clock.shift(30)
        page = client.post(MINE, {"do": what, "code": code_of(factor)}, follow=True).content.decode()
        if what == "remove":
            assert not Authenticator.objects.exists()
            assert is_in(client)
        elif what == "recovery":
            assert len(once(page)) == 10
        else:
            new = Authenticator.objects.get(confirmed=False)
            assert is_in(elsewhere)
            client.post(MINE, {"do": "confirm", "code": code_of(new)})
            assert Authenticator.objects.get().pk == new.pk
            assert is_in(client)
            assert not is_in(elsewhere)

    def test_one_that_waits_belongs_to_the_session_that_made_it(self, ada: User, clock: time_machine.Traveller) -> None:
        factor = factories.authenticator(ada)
        client, elsewhere = verified(ada, factor, clock), verified(ada, factor, clock)
        client.post(MINE, {"do": "replace", "code": code_of(factor)})
        new = Authenticator.objects.get(confirmed=False)
        secret = new.secrets()["secret"]
        for code in ("", wrong(code_of(new)), code_of(new)):
            page = elsewhere.post(MINE, {"do": "confirm", "code": code}, follow=True).content.decode()
            assert "Begin again" in page
            assert secret not in page.replace(" ", "")
        assert Authenticator.objects.get(confirmed=True).pk == factor.pk
        assert len(once(client.post(MINE, {"do": "confirm", "code": code_of(new)}).content.decode())) == 10

    def test_one_that_waits_does_so_for_ten_minutes(
        self, ada: User, signed_in: SignedIn, clock: time_machine.Traveller
    ) -> None:
        client = signed_in(ada)
        client.post(MINE, BEGIN)
        waiting = Authenticator.objects.get()
        clock.shift(599)
        secret = waiting.secrets()["secret"]
        assert secret in client.post(MINE, {"do": "confirm", "code": ""}).content.decode().replace(" ", "")
        clock.shift(1)
        page = client.post(MINE, {"do": "confirm", "code": code_of(waiting)}, follow=True).content.decode()
        assert "Begin again" in page
        assert secret not in page.replace(" ", "")
        assert not Authenticator.objects.filter(confirmed=True).exists()

    @pytest.mark.django_db(transaction=True)
    def test_the_person_is_written_to(self, ada: User, signed_in: SignedIn, clock: time_machine.Traveller) -> None:
        client = signed_in(ada)
        client.post(MINE, BEGIN)
        client.post(MINE, {"do": "confirm", "code": code_of(Authenticator.objects.get())})
        _background.submit(lambda: None).result(10)
        [message] = mail.outbox
        assert message.to == ["ada@example.com"]
        assert "ada@example.com set up a second factor" in message.body
        assert Authenticator.objects.get().secrets()["secret"] not in message.body


class TestRequired:
    def test_who_requires_it_has_one(self, ada: User, app: App, signed_in: SignedIn) -> None:
        client = signed_in(ada)
        answer = client.post(f"{PEOPLE}second-factor/", {"required": "yes"}, follow=True)
        assert "Set up your own second factor first" in answer.content.decode()
        assert not Company.objects.get(pk=app.company_id).second_factor_required

    @pytest.mark.parametrize("role", [Role.APP_ADMIN, Role.APP_MEMBER, Role.READ_ONLY])
    def test_only_a_company_administrator_requires_it(
        self, app: App, console: Callable[[Role], Client], role: Role
    ) -> None:
        assert console(role).post(f"{PEOPLE}second-factor/", {"required": "yes"}).status_code == 403
        assert not Company.objects.get(pk=app.company_id).second_factor_required

    def test_who_has_none_sets_it_up_before_anything_else(
        self, ada: User, app: App, other_app: App, signed_in: SignedIn, clock: time_machine.Traveller
    ) -> None:
        boss = verified(ada, factories.authenticator(ada), clock)
        boss.post(f"{PEOPLE}second-factor/", {"required": "yes"})
        assert Entry.objects.get(kind="company").changes == {"second_factor_required": [False, True]}
        assert is_in(boss)
        member = signed_in(factories.person(app, Role.APP_MEMBER))
        for path in ("/console/", "/console/prompts/prompt/", "/console/password_change/"):
            assert member.get(path)["Location"] == MINE, path
        assert member.post("/console/prompts/prompt/add/")["Location"] == MINE
        assert "Example Media requires a second factor" in member.get(MINE).content.decode()
        member.post(MINE, BEGIN)
        waiting = Authenticator.objects.get(confirmed=False)
        member.post(MINE, {"do": "confirm", "code": code_of(waiting)})
        assert is_in(member)
        clock.shift(30)
        page = member.post(MINE, {"do": "remove", "code": code_of(waiting)}, follow=True).content.decode()
        assert "You can replace yours" in page
        assert Authenticator.objects.filter(pk=waiting.pk, confirmed=True).exists()
        assert is_in(signed_in(factories.person(other_app, Role.APP_MEMBER)))

    def test_the_list_says_who_has_one_and_finds_who_has_none(
        self, ada: User, app: App, clock: time_machine.Traveller
    ) -> None:
        boss = verified(ada, factories.authenticator(ada), clock)
        factories.person(app, Role.READ_ONLY, email="reader@example.com")
        page = boss.get(f"{PEOPLE}?second_factor=no").content.decode()
        assert "reader@example.com" in page
        assert "ada@example.com" not in re.sub(r"(?s)<nav.*?</nav>", "", page).partition("result_list")[2]


class TestReset:
    def test_a_company_administrator_resets_it_and_it_is_in_the_history(
        self, ada: User, app: App, signed_in: SignedIn, clock: time_machine.Traveller
    ) -> None:
        member = factories.person(app, Role.APP_MEMBER)
        theirs = verified(member, factories.authenticator(member), clock)
        page = f"{PEOPLE}{member.memberships.get().pk}/change/"
        assert "Reset the second factor" in signed_in(ada).get(page).content.decode()
        signed_in(ada).post(page, {"do": "reset-factor"})
        assert not Authenticator.objects.exists()
        assert not is_in(theirs)
        assert (
            Client().post(LOGIN, {"username": member.email, "password": factories.PASSWORD})["Location"] == "/console/"
        )
        assert Entry.objects.get(verb="reset the second factor").actor == ada.email

    def test_others_do_not(self, app: App, other_app: App, signed_in: SignedIn, ada: User) -> None:
        member = factories.person(app, Role.APP_MEMBER)
        page = f"{PEOPLE}{member.memberships.get().pk}/change/"
        factories.authenticator(member)
        for role in (Role.APP_ADMIN, Role.APP_MEMBER):
            assert signed_in(factories.person(app, role)).post(page, {"do": "reset-factor"}).status_code == 403
        factories.MembershipFactory(user=member, app=other_app)
        said = signed_in(ada).post(page, {"do": "reset-factor"}, follow=True).content.decode()
        assert "also works for another company" in said
        assert Authenticator.objects.count() == 1

    def test_the_command_is_the_way_out_for_the_last_administrator(
        self, ada: User, clock: time_machine.Traveller, capsys: pytest.CaptureFixture[str]
    ) -> None:
        client = verified(ada, factories.authenticator(ada), clock)
        call_command("reset_second_factor", email="ADA@example.com")
        assert "signed out everywhere" in capsys.readouterr().out
        assert not is_in(client)
        assert Entry.objects.get(verb="reset the second factor").actor == "manage.py reset_second_factor"
        for email in ("ada@example.com", "nobody@example.com"):
            with pytest.raises(CommandError):
                call_command("reset_second_factor", email=email)

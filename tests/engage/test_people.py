"""Users and roles: inviting, changing roles, removing, deactivating."""

import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest
from django.conf import LazySettings
from django.core import mail
from django.core.exceptions import PermissionDenied
from django.db import connections as databases
from django.db import transaction
from django.http import HttpRequest
from django.test import Client, RequestFactory
from django.utils import timezone

from engage.audit.models import Entry
from engage.tenancy import current, invitations, people
from engage.tenancy.models import ApiKey, App, IdentitySecret, Invitation, KeyKind, Membership, User
from engage.tenancy.roles import Role
from tests import factories

Console = Callable[[Role], Client]
SignedIn = Callable[[User], Client]
LIST = "/console/tenancy/membership/"
INVITE = f"{LIST}invite/"
PASSWORDS = {"new_password1": "a long enough phrase", "new_password2": "a long enough phrase"}


def text(client: Client, path: str) -> str:
    answer = client.get(path)
    assert answer.status_code == 200, answer.status_code
    return answer.content.decode()


def invite(client: Client, email: str, role: Role) -> str:
    """Invite and return the path of the link."""
    answer = client.post(INVITE, {"email": email, "role": role})
    found = re.search(r'value="http://testserver(/console/account/invitation/inv_[\w-]{43}/)"', answer.content.decode())
    assert found is not None, answer.content.decode()
    assert "no-store" in answer["Cache-Control"]
    return found[1]


def do(client: Client, membership: Membership, what: str, **fields: str) -> str:
    """Post an action on a person's page and return the page that follows."""
    answer = client.post(f"{LIST}{membership.pk}/change/", {"do": what, **fields}, follow=True)
    return answer.content.decode()


def role_of(user: User) -> list[tuple[str, int | None]]:
    return list(Membership.objects.filter(user=user).values_list("role", "app"))


def test_the_list_shows_who_is_here_and_nobody_else(app: App, other_app: App, console: Console) -> None:
    factories.person(app, Role.READ_ONLY, email="reader@example.com")
    factories.person(app, Role.COMPANY_ADMIN, email="boss@example.com", is_active=False)
    second = factories.AppFactory(company=app.company, name="Second")
    factories.person(second, Role.APP_ADMIN, email="second@example.com")
    factories.person(other_app, Role.APP_ADMIN, email="stranger@example.com")
    shown = text(console(Role.APP_ADMIN), LIST)
    assert "reader@example.com" in shown
    assert "All of Example Media" in shown
    assert "Deactivated" in shown
    assert "second@example.com" not in shown
    assert "stranger@example.com" not in shown


def test_an_administrator_reads_of_their_own_apps_only(app: App, signed_in: SignedIn, console: Console) -> None:
    shared = factories.AppFactory(company=app.company, name="Shared App")
    hidden = factories.AppFactory(company=app.company, name="Hidden App")
    member, me = factories.person(app, Role.APP_MEMBER), factories.person(app, Role.APP_ADMIN)
    for where in (shared, hidden):
        factories.MembershipFactory(user=member, app=where)
        factories.ConnectionFactory(app=where, secrets_set_by=member)
    factories.MembershipFactory(user=me, app=shared, role=Role.APP_ADMIN)
    client, boss = signed_in(me), console(Role.COMPANY_ADMIN)
    for browser in (client, boss):
        browser.post("/console/switch-app/", {"app": app.pk})
    page = f"{LIST}{member.memberships.get(app=app).pk}/change/"
    assert "Hidden App, Shared App, Streamly" in text(boss, LIST)
    assert all(name in text(boss, page) for name in ("Hidden App (App member)", "(Hidden App)"))
    assert "Shared App, Streamly" in text(client, LIST)
    assert "(Shared App)" in text(client, page)
    assert not any("Hidden App" in text(client, path) for path in (LIST, page))


def test_somebody_invited_sets_name_and_password_and_is_in(app: App, console: Console, settings: LazySettings) -> None:
    settings.EMAIL_IS_SET_UP = True
    link = invite(console(Role.APP_ADMIN), "New@Example.com", Role.APP_MEMBER)
    [message] = mail.outbox
    assert message.to == ["new@example.com"]
    assert link in message.body
    browser = Client()
    assert "new@example.com" in text(browser, link)
    answer = browser.post(link, {"name": "Nia New", **PASSWORDS}, follow=True)
    assert "Welcome. You are app member here." in answer.content.decode()
    user = User.objects.get(email="new@example.com")
    assert (user.name, role_of(user)) == ("Nia New", [(Role.APP_MEMBER, app.pk)])
    assert Client().get(link).status_code == 404
    assert Client().post(link, {"name": "Second", **PASSWORDS}).status_code == 404
    assert set(Entry.objects.filter(app=app).values_list("verb", flat=True)) >= {
        "invited",
        "accepted the invitation",
        "signed in",
    }


def test_where_email_is_not_set_up_the_link_is_to_be_copied(console: Console, settings: LazySettings) -> None:
    settings.EMAIL_IS_SET_UP = False
    answer = console(Role.APP_ADMIN).post(INVITE, {"email": "new@example.com", "role": Role.APP_MEMBER})
    assert "E-mail is not set up: copy the link" in answer.content.decode()
    assert mail.outbox == []


def test_only_the_hash_of_a_link_is_kept(console: Console) -> None:
    client = console(Role.APP_ADMIN)
    token = invite(client, "new@example.com", Role.APP_MEMBER).split("/")[-2]
    assert token not in str(Invitation.objects.values())
    assert token not in str(Entry.objects.values())
    assert token not in str(dict(client.session))
    assert token not in text(client, LIST)


def test_somebody_with_an_account_signs_in_to_accept(
    app: App, other_app: App, console: Console, signed_in: SignedIn
) -> None:
    known = factories.person(other_app, Role.APP_ADMIN, email="known@example.com")
    link = invite(console(Role.APP_ADMIN), "KNOWN@example.com", Role.READ_ONLY)
    anonymous = Client()
    assert f"/console/login/?next={link}" in text(anonymous, link)
    assert anonymous.post(link, {"name": "Thief", **PASSWORDS}).status_code == 403
    assert known.check_password(factories.PASSWORD)
    somebody_else = signed_in(factories.person(other_app, Role.APP_ADMIN))
    assert somebody_else.post(link).status_code == 403
    assert "Sign out" in text(somebody_else, link)
    mine = signed_in(known)
    assert mine.post(link).status_code == 302
    assert (Role.READ_ONLY, app.pk) in role_of(known)
    assert "Streamly" in text(mine, "/console/")


@pytest.mark.parametrize("spoilt", ["revoked", "expired", "renewed", "unknown"])
def test_a_link_that_does_not_work_any_more_is_a_404(console: Console, spoilt: str) -> None:
    client = console(Role.APP_ADMIN)
    link = invite(client, "new@example.com", Role.APP_MEMBER)
    invitation = Invitation.objects.get()
    if spoilt == "revoked":
        client.post(f"{LIST}invitation/{invitation.pk}/revoke/")
    elif spoilt == "expired":
        Invitation.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    elif spoilt == "renewed":
        renewed = client.post(f"{LIST}invitation/{invitation.pk}/renew/").content.decode()
        assert "/console/account/invitation/inv_" in renewed
    else:
        link = "/console/account/invitation/inv_unknown/"
    assert Client().get(link).status_code == 404
    assert Client().post(link, {"name": "New", **PASSWORDS}).status_code == 404
    assert not User.objects.filter(email="new@example.com").exists()


def test_an_expired_invitation_can_be_renewed_for_seven_days(console: Console) -> None:
    client = console(Role.APP_ADMIN)
    invite(client, "new@example.com", Role.APP_MEMBER)
    Invitation.objects.update(expires_at=timezone.now() - timedelta(days=1))
    assert "Expired" in text(client, LIST)
    client.post(f"{LIST}invitation/{Invitation.objects.get().pk}/renew/")
    left = Invitation.objects.get().expires_at - timezone.now()
    assert timedelta(days=6, hours=23) < left <= timedelta(days=7)


def test_nobody_is_invited_twice(app: App, console: Console) -> None:
    client = console(Role.APP_ADMIN)
    invite(client, "new@example.com", Role.APP_MEMBER)
    factories.person(app, Role.READ_ONLY, email="here@example.com")
    for email in ("New@example.com", "HERE@example.com"):
        answer = client.post(INVITE, {"email": email, "role": Role.APP_MEMBER})
        assert "already" in answer.content.decode()
    assert Invitation.objects.count() == 1


def test_an_app_administrator_neither_makes_nor_touches_company_administrators(
    app: App, console: Console, settings: LazySettings
) -> None:
    boss = factories.person(app, Role.COMPANY_ADMIN)
    factories.person(app, Role.COMPANY_ADMIN)
    member = factories.person(app, Role.APP_MEMBER)
    client = console(Role.APP_ADMIN)
    client.post(INVITE, {"email": "new@example.com", "role": Role.COMPANY_ADMIN})
    assert not Invitation.objects.exists()
    assert "Only a company administrator" in do(client, member.memberships.get(), "role", role=Role.COMPANY_ADMIN)
    assert role_of(member) == [(Role.APP_MEMBER, app.pk)]
    for what in ("role", "remove", "deactivate"):
        do(client, boss.memberships.get(), what, role=Role.READ_ONLY)
    boss.refresh_from_db()
    assert (role_of(boss), boss.is_active) == ([(Role.COMPANY_ADMIN, None)], True)
    waiting = Invitation.objects.create(
        company=app.company,
        email="x@example.com",
        role=Role.COMPANY_ADMIN,
        token_hash="0",
        expires_at=timezone.now() + timedelta(days=1),
    )
    for what in ("renew", "revoke"):
        client.post(f"{LIST}invitation/{waiting.pk}/{what}/")
    waiting.refresh_from_db()
    assert (waiting.token_hash, waiting.revoked_at) == ("0", None)


@pytest.mark.parametrize("role", [Role.COMPANY_ADMIN, Role.APP_ADMIN])
def test_nobody_changes_their_own_role_or_access(app: App, signed_in: SignedIn, role: Role) -> None:
    factories.person(app, Role.COMPANY_ADMIN)
    me = factories.person(app, role)
    client = signed_in(me)
    for what in ("role", "remove", "deactivate"):
        assert "You cannot change your own role or access" in do(
            client, me.memberships.get(), what, role=Role.COMPANY_ADMIN
        )
    assert role_of(me) == [(role, None if role == Role.COMPANY_ADMIN else app.pk)]


@pytest.mark.parametrize("role", [Role.APP_MEMBER, Role.READ_ONLY])
def test_others_have_no_access_to_people(app: App, console: Console, role: Role) -> None:
    member = factories.person(app, Role.READ_ONLY).memberships.get()
    client = console(role)
    for path in (LIST, INVITE, f"{LIST}{member.pk}/change/"):
        assert client.get(path).status_code == 403, path
    assert client.post(f"{LIST}{member.pk}/change/", {"do": "role", "role": Role.APP_ADMIN}).status_code == 403
    assert client.post(INVITE, {"email": "n@example.com", "role": Role.READ_ONLY}).status_code == 403
    assert Membership.objects.get(pk=member.pk).role == Role.READ_ONLY


def test_a_role_is_changed_and_recorded_with_old_and_new(app: App, console: Console) -> None:
    member = factories.person(app, Role.READ_ONLY)
    assert "is app administrator now" in do(
        console(Role.APP_ADMIN), member.memberships.get(), "role", role=Role.APP_ADMIN
    )
    assert role_of(member) == [(Role.APP_ADMIN, app.pk)]
    assert Entry.objects.get(verb="changed the role").changes == {"role": ["Read only", "App administrator"]}


def test_a_company_administrator_has_one_role_for_all_apps(app: App, console: Console) -> None:
    second = factories.AppFactory(company=app.company, name="Zweite")
    member = factories.person(app, Role.APP_MEMBER)
    factories.MembershipFactory(user=member, app=second, role=Role.READ_ONLY)
    client = console(Role.COMPANY_ADMIN)
    do(client, member.memberships.get(app=app), "role", role=Role.COMPANY_ADMIN)
    assert role_of(member) == [(Role.COMPANY_ADMIN, None)]
    do(client, member.memberships.get(), "role", role=Role.READ_ONLY)
    assert role_of(member)[0][0] == Role.READ_ONLY


@pytest.mark.parametrize("what", ["role", "remove", "deactivate"])
def test_the_last_active_company_administrator_stays(app: App, what: str, signed_in: SignedIn) -> None:
    boss, me = factories.person(app, Role.COMPANY_ADMIN), factories.person(app, Role.COMPANY_ADMIN)
    client = signed_in(me)
    text(client, LIST)
    membership = boss.memberships.get()
    # The page of the other one was open when somebody took the role from this one: only the rule is left to protect it.
    me.memberships.update(role=Role.APP_ADMIN, app=app)
    do(client, membership, what, role=Role.READ_ONLY)
    boss.refresh_from_db()
    assert (role_of(boss), boss.is_active) == ([(Role.COMPANY_ADMIN, None)], True)


def test_an_inactive_administrator_does_not_count_as_the_last(app: App) -> None:
    boss = factories.person(app, Role.COMPANY_ADMIN)
    factories.person(app, Role.COMPANY_ADMIN, is_active=False)
    with pytest.raises(people.NotAllowed, match="last company administrator"):
        people.keep_an_administrator(boss.memberships.get())


def test_a_removed_person_keeps_the_account_and_loses_the_role(app: App, console: Console) -> None:
    member = factories.person(app, Role.APP_MEMBER)
    do(console(Role.APP_ADMIN), member.memberships.get(), "remove")
    assert role_of(member) == []
    assert User.objects.filter(pk=member.pk, is_active=True).exists()
    assert Entry.objects.filter(verb="removed", kind="membership", app=app).exists()


@pytest.mark.parametrize(("what", "role"), [("remove", ""), ("role", Role.APP_MEMBER), ("deactivate", "")])
def test_whoever_may_invite_nobody_any_more_holds_no_link(
    app: App, console: Console, signed_in: SignedIn, what: str, role: str
) -> None:
    leaving = factories.person(app, Role.APP_ADMIN)
    kept = invite(console(Role.APP_ADMIN), "kept@example.com", Role.APP_MEMBER)
    theirs = invite(signed_in(leaving), "private@example.com", Role.APP_ADMIN)
    boss = console(Role.COMPANY_ADMIN)
    assert "nobody has accepted yet are revoked" in text(boss, f"{LIST}{leaving.memberships.get().pk}/change/")
    do(boss, leaving.memberships.get(), what, role=role)
    assert Client().post(theirs, {"name": "Me again", **PASSWORDS}).status_code == 404
    assert not User.objects.filter(email="private@example.com").exists()
    assert Entry.objects.get(verb="revoked the invitation").label.startswith("private@example.com")
    assert Client().get(kept).status_code == 200


def test_a_new_link_is_its_makers(app: App, signed_in: SignedIn, console: Console) -> None:
    leaving = factories.person(app, Role.APP_ADMIN)
    boss = console(Role.COMPANY_ADMIN)
    invite(boss, "somebody@example.com", Role.APP_MEMBER)
    waiting = Invitation.objects.get()
    signed_in(leaving).post(f"{LIST}invitation/{waiting.pk}/renew/")
    do(boss, leaving.memberships.get(), "remove")
    waiting.refresh_from_db()
    assert waiting.revoked_at is not None


def asked_by(user: User, app: App) -> HttpRequest:
    """Return a request of somebody that came in, and was not answered yet."""
    request = RequestFactory().post(INVITE)
    request.user, request.session = user, {current.SESSION_KEY: app.pk}  # type: ignore[assignment]
    current.enter(request)
    return request


@contextmanager
def under_way(work: Callable[[], object]) -> Iterator[None]:
    """Do something else between work that is done in another thread and its commit, some moments later."""
    is_done, problems = threading.Event(), list[BaseException]()

    def other() -> None:
        try:
            with transaction.atomic():
                work()
                is_done.set()
                time.sleep(0.5)
        except BaseException as problem:  # noqa: BLE001 - told below, by the thread of the test
            problems.append(problem)
        finally:
            is_done.set()
            databases.close_all()

    thread = threading.Thread(target=other)
    thread.start()
    is_done.wait()
    try:
        yield
    finally:
        thread.join()
        assert problems == []


@pytest.mark.django_db(transaction=True)
class TestAnInvitationInTheMomentOfARemoval:
    @pytest.fixture
    def leaving(self, app: App) -> User:
        return factories.person(app, Role.APP_ADMIN)

    @pytest.fixture
    def remove(self, app: App, leaving: User) -> Callable[[], None]:
        """Take somebody's role away, as a request does that came before."""
        request = asked_by(factories.person(app, Role.COMPANY_ADMIN), app)
        return lambda: people.remove(request, leaving.memberships.get())

    def test_whoever_is_being_removed_invites_nobody(self, app: App, leaving: User, remove: Callable[[], None]) -> None:
        request = asked_by(leaving, app)
        with under_way(remove), pytest.raises(PermissionDenied):
            invitations.invite(request, "private@example.com", Role.APP_ADMIN)
        assert not Invitation.objects.exists()

    def test_nor_do_they_renew(self, app: App, leaving: User, remove: Callable[[], None]) -> None:
        boss = asked_by(factories.person(app, Role.COMPANY_ADMIN), app)
        waiting, _ = invitations.invite(boss, "somebody@example.com", Role.APP_MEMBER)
        request = asked_by(leaving, app)
        with under_way(remove), pytest.raises(PermissionDenied):
            invitations.renew(request, waiting)
        waiting.refresh_from_db()
        assert (waiting.invited_by, waiting.is_open) == (boss.user, True)

    def test_whom_they_are_inviting_is_found_by_the_removal(
        self, app: App, leaving: User, remove: Callable[[], None]
    ) -> None:
        request = asked_by(leaving, app)
        with under_way(lambda: invitations.invite(request, "private@example.com", Role.APP_ADMIN)):
            remove()
        assert Invitation.objects.get().revoked_at is not None

    def test_they_remove_nobody_either(self, app: App, leaving: User, remove: Callable[[], None]) -> None:
        request, other = asked_by(leaving, app), factories.person(app, Role.APP_MEMBER)
        with under_way(remove), pytest.raises(PermissionDenied):
            people.remove(request, other.memberships.get())

    def test_nobody_renews_what_is_accepted_in_this_moment(self, app: App, leaving: User) -> None:
        request = asked_by(leaving, app)
        waiting, _ = invitations.invite(request, "somebody@example.com", Role.APP_MEMBER)
        accepting = User.objects.create_user("somebody@example.com")
        with under_way(lambda: invitations.accept(waiting, accepting)), pytest.raises(people.NotAllowed):
            invitations.renew(request, waiting)


def test_invitations_stay_where_their_maker_may_still_make_them(
    app: App, other_app: App, signed_in: SignedIn, console: Console
) -> None:
    second = factories.AppFactory(company=app.company, name="Zweite")
    leaving = factories.person(app, Role.COMPANY_ADMIN)
    cases: list[tuple[App, Role]] = [
        (app, Role.APP_ADMIN),
        (second, Role.APP_ADMIN),
        (app, Role.COMPANY_ADMIN),
        (other_app, Role.APP_ADMIN),
    ]
    made = [
        Invitation.objects.create(
            company=where.company,
            app=None if role == Role.COMPANY_ADMIN else where,
            email=f"x{number}@example.com",
            role=role,
            token_hash=str(number),
            invited_by=leaving,
            expires_at=timezone.now() + timedelta(days=1),
        )
        for number, (where, role) in enumerate(cases)
    ]
    do(console(Role.COMPANY_ADMIN), leaving.memberships.get(), "role", role=Role.APP_ADMIN)
    assert [Invitation.objects.get(pk=each.pk).revoked_at is None for each in made] == [True, False, False, True]


def test_deactivating_ends_sessions_for_good_and_names_the_secrets_to_replace(
    app: App, console: Console, signed_in: SignedIn
) -> None:
    member = factories.person(app, Role.APP_ADMIN)
    connection = factories.ConnectionFactory(app=app, secrets_set_by=member)
    key, _ = ApiKey.make(app, KeyKind.SECRET, member)
    IdentitySecret.make(app, member)
    ApiKey.objects.filter(pk=ApiKey.make(app, KeyKind.PUBLISHABLE, member)[0].pk).update(revoked_at=timezone.now())
    theirs = signed_in(member)
    client = console(Role.COMPANY_ADMIN)
    page = text(client, f"{LIST}{member.memberships.get().pk}/change/")
    for name in (str(connection), str(key), "Identity secret"):
        assert name in page
    assert "pk_" not in page
    do(client, member.memberships.get(), "deactivate")
    assert theirs.get("/console/").status_code == 302
    do(client, member.memberships.get(), "reactivate")
    assert User.objects.get(pk=member.pk).is_active
    assert theirs.get("/console/").status_code == 302
    assert list(
        Entry.objects.filter(kind="membership", verb__endswith="activated")
        .values_list("verb", flat=True)
        .order_by("id")
    ) == [
        "deactivated",
        "reactivated",
    ]


def test_only_company_administrators_deactivate(app: App, console: Console) -> None:
    member = factories.person(app, Role.APP_MEMBER)
    do(console(Role.APP_ADMIN), member.memberships.get(), "deactivate")
    member.refresh_from_db()
    assert member.is_active


def test_somebody_who_also_works_for_another_company_is_not_deactivated(
    app: App, other_app: App, console: Console
) -> None:
    member = factories.person(app, Role.APP_MEMBER)
    factories.MembershipFactory(user=member, app=other_app)
    assert "also works for another company" in do(
        console(Role.COMPANY_ADMIN), member.memberships.get(app=app), "deactivate"
    )
    member.refresh_from_db()
    assert member.is_active


def test_people_and_invitations_of_another_app_are_not_there(app: App, other_app: App, console: Console) -> None:
    stranger = factories.person(other_app, Role.READ_ONLY).memberships.get()
    waiting = Invitation.objects.create(
        company=other_app.company,
        app=other_app,
        email="x@example.com",
        role=Role.READ_ONLY,
        token_hash="0",
        expires_at=timezone.now() + timedelta(days=1),
    )
    client = console(Role.COMPANY_ADMIN)
    assert client.get(f"{LIST}{stranger.pk}/change/").status_code == 404
    assert client.post(f"{LIST}{stranger.pk}/change/", {"do": "remove"}).status_code == 404
    assert client.post(f"{LIST}invitation/{waiting.pk}/revoke/").status_code == 404
    assert "x@example.com" not in text(client, LIST)

"""Who is in an App, as what, and who may change that. Every change is in the history.

The rules: administrators manage people; only company administrators make, change or remove company administrators;
nobody changes their own role; a company keeps at least one active administrator. An invitation ends with the right to make it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.contrib.sessions.models import Session
from django.db import models, transaction
from django.db.models import Q
from django.http import HttpRequest
from django.utils import timezone

from engage.audit.record import record
from engage.tenancy import current, second_factor
from engage.tenancy.models import ApiKey, App, Company, Invitation, Membership, User
from engage.tenancy.roles import Right, Role
from engage.vault.canary import sealed_models


class NotAllowed(Exception):
    """A rule speaks against it; the text is the sentence for the person who tried."""


def people_of(app: App) -> models.QuerySet[Membership]:
    """Return the memberships that count in an App: its own, and those of its company's administrators."""
    return Membership.objects.filter(Q(app=app) | Q(app=None, company=app.company_id)).select_related(
        "user", "company", "app"
    )


def grantable(role: Role | None) -> list[Role]:
    """Return the roles that somebody with `role` may give to others."""
    if not Right.MANAGE_USERS.allows(role):
        return []
    return [given for given in Role if given != Role.COMPANY_ADMIN or Right.MANAGE_COMPANY.allows(role)]


@contextmanager
def company_locked(request: HttpRequest) -> Iterator[None]:
    """Keep the roles in the company at hand as they are until this ends, and look again in which the person asks.

    So of two administrators who demote each other at the same moment one succeeds, and who is removed invites nobody meanwhile.
    Whoever accepts an invitation refers to the company and is not kept waiting: their invitation is what they have locked.
    """
    with transaction.atomic():
        Company.objects.select_for_update(no_key=True).get(pk=current.current_app(request).company_id)
        current.look_again(request)
        yield


def why_not(request: HttpRequest, membership: Membership) -> str:
    """Return why the person of this request cannot change `membership`, or "" when they can."""
    if membership.user_id == request.user.pk:
        return "You cannot change your own role or access. Another administrator can."
    if membership.role not in grantable(current.current_role(request)):
        return "Only a company administrator can change a company administrator."
    return ""


def change_role(request: HttpRequest, membership: Membership, role: Role) -> None:
    """Give somebody another role.

    A company administrator belongs to every App of the company; one who becomes anything less keeps the App at hand.

    Raises:
        NotAllowed: see the rules above.

    """
    app = current.current_app(request)
    with company_locked(request):
        _check(request, membership)
        if role not in grantable(current.current_role(request)):
            raise NotAllowed("Only a company administrator can make somebody a company administrator.")
        if role == membership.role:
            return
        before = Role(membership.role)
        if before == Role.COMPANY_ADMIN:
            keep_an_administrator(membership)
        if role == Role.COMPANY_ADMIN:
            Membership.objects.filter(user=membership.user_id, company=membership.company_id).exclude(
                pk=membership.pk
            ).delete()
        membership.app, membership.role = (None if role == Role.COMPANY_ADMIN else app), role
        membership.save(update_fields=["app", "role"])
        record("changed the role", membership, {"role": [before.label, role.label]}, request=request)
        _revoke_what_they_may_not_give(request, membership)


def remove(request: HttpRequest, membership: Membership) -> None:
    """Take somebody's role away; the account stays.

    Raises:
        NotAllowed: see the rules above.

    """
    with company_locked(request):
        _check(request, membership)
        keep_an_administrator(membership)
        record("removed", membership, {"role": [membership.get_role_display(), None]}, request=request)
        membership.delete()
        _revoke_what_they_may_not_give(request, membership)


def set_active(request: HttpRequest, membership: Membership, *, active: bool) -> None:
    """Close or reopen somebody's account. Closing ends their sessions at once.

    Raises:
        NotAllowed: they also belong to another company, or see the rules above.

    """
    user = membership.user
    with company_locked(request):
        _check(request, membership)
        current.require(request, Right.MANAGE_COMPANY)
        if user.memberships.exclude(company=membership.company_id).exists():
            raise NotAllowed("This person also works for another company. Remove them from your Apps instead.")
        if not active:
            keep_an_administrator(membership)
        User.objects.filter(pk=user.pk).update(is_active=active)
        if not active:
            end_sessions(user)
        verb = "reactivated" if active else "deactivated"
        for each in user.memberships.all():
            record(verb, each, {"active": [not active, active]}, request=request)
        _revoke_what_they_may_not_give(request, membership)


def _revoke_what_they_may_not_give(request: HttpRequest, membership: Membership) -> None:
    """Revoke the invitations of somebody who could not make them any more: they know the links, and may have the addresses."""
    waiting = Invitation.objects.filter(
        company=membership.company_id, invited_by=membership.user_id, accepted_at=None, revoked_at=None
    )
    roles = Membership.objects.filter(user=membership.user_id, user__is_active=True, company=membership.company_id)
    for invitation in waiting.select_related("app", "company"):
        theirs = roles.filter(Q(app=invitation.app_id) | Q(app=None)).values_list("role", flat=True)
        if not any(invitation.role in grantable(Role(role)) for role in theirs) and invitation.revoke():
            record("revoked the invitation", invitation, request=request)


def reset_second_factor(request: HttpRequest, membership: Membership) -> None:
    """Take away the second factor of somebody who has lost it, and sign them out everywhere.

    Raises:
        NotAllowed: they also belong to another company, or see the rules above.

    """
    user = membership.user
    with company_locked(request):
        _check(request, membership)
        current.require(request, Right.MANAGE_COMPANY)
        if user.memberships.exclude(company=membership.company_id).exists():
            raise NotAllowed(
                "This person also works for another company. Whoever runs this installation can reset it: "
                "manage.py reset_second_factor."
            )
        if second_factor.forget(user, "reset the second factor", request=request):
            end_sessions(user)


def end_sessions(user: User) -> None:
    """Sign somebody out everywhere: an inactive person is refused anyway, and reactivation must revive nothing."""
    for session in Session.objects.filter(expire_date__gt=timezone.now()).iterator():
        if session.get_decoded().get("_auth_user_id") == str(user.pk):
            session.delete()


def secrets_known_to(user: User, apps: models.QuerySet[App]) -> list[str]:
    """Name the credentials that somebody entered or was shown in these Apps, and that still work."""
    return [f"{thing._meta.verbose_name} {thing} ({thing.app})" for thing in _secrets(user, apps)]  # type: ignore[attr-defined]


def _secrets(user: User, apps: models.QuerySet[App]) -> Iterator[models.Model]:
    holding: list[type[models.Model]] = [ApiKey, *sealed_models()]
    for model in holding:
        names = {field.name for field in model._meta.get_fields()}
        for by in names & {"secrets_set_by", "created_by"}:
            rows: models.QuerySet[Any] = model._default_manager.filter(**{by: user, "app__in": apps})  # noqa: SLF001
            yield from rows.filter(revoked_at=None) if "revoked_at" in names else rows


def record_sign_in(request: HttpRequest, user: User, **_: Any) -> None:
    """Put a sign-in into the history of every App or company that the person belongs to."""
    for membership in user.memberships.select_related("app__company", "company"):
        record("signed in", membership, request=request, actor=user.email, label=str(user))


def _check(request: HttpRequest, membership: Membership) -> None:
    current.require(request, Right.MANAGE_USERS)
    if reason := why_not(request, membership):
        raise NotAllowed(reason)


def keep_an_administrator(membership: Membership) -> None:
    """Go on only if the company would still have an active administrator without this person.

    Raises:
        NotAllowed: it would not.

    """
    administrators = Membership.objects.filter(
        company=membership.company_id, role=Role.COMPANY_ADMIN, user__is_active=True
    )
    if membership.role == Role.COMPANY_ADMIN and not administrators.exclude(user=membership.user_id).exists():
        raise NotAllowed("This is the last company administrator. Make somebody else one first.")

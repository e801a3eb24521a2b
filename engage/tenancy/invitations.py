"""Invitations: a role waits for its person, behind a link that works once and for seven days."""

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone

from engage.audit.record import record
from engage.tenancy import current
from engage.tenancy.mail import send
from engage.tenancy.models import Invitation, Membership, User, new_token, token_hash
from engage.tenancy.people import NotAllowed, company_locked, grantable, people_of
from engage.tenancy.roles import Right, Role

OVER = "This invitation was accepted or revoked already."


def invite(request: HttpRequest, email: str, role: Role) -> tuple[Invitation, str]:
    """Invite `email` to the App at hand (or, as company administrator, to its company). Returns the row and the link.

    Raises:
        NotAllowed: the role is not the inviter's to give, or the person is here or invited already.

    """
    app, token = current.current_app(request), new_token("inv")
    with company_locked(request):
        _check(request, role)
        here = people_of(app).filter(user__email=email).first()
        if here is not None:
            raise NotAllowed(
                f"{email} is here already, as {here.get_role_display()}. Change the role in the list instead."
            )
        waiting = open_invitations(request).filter(email=email).first()
        if waiting is not None:
            raise NotAllowed(
                f"{email} is invited already, as {waiting.get_role_display()}. Send a new link, or revoke it first."
            )
        invitation = Invitation.objects.create(
            company=app.company,
            app=None if role == Role.COMPANY_ADMIN else app,
            email=email,
            role=role,
            token_hash=token_hash(token),
            invited_by=current.person_or_none(request),
            expires_at=timezone.now() + Invitation.VALID_FOR,
        )
        record("invited", invitation, {"role": [None, role.label]}, request=request)
    return invitation, link_of(token)


def renew(request: HttpRequest, invitation: Invitation) -> str:
    """Make a new link, valid for seven days from now; the one before stops working. Returns it.

    Raises:
        NotAllowed: the role is not theirs to give, or the invitation was accepted or revoked in this very moment.

    """
    token = new_token("inv")
    with company_locked(request):
        _check(request, Role(invitation.role))
        if not invitation.waiting().update(
            token_hash=token_hash(token),
            expires_at=timezone.now() + Invitation.VALID_FOR,
            invited_by=current.person_or_none(request),
        ):
            raise NotAllowed(OVER)
        invitation.refresh_from_db()
        record("sent a new invitation link", invitation, request=request)
    return link_of(token)


def revoke(request: HttpRequest, invitation: Invitation) -> None:
    """Make the link worthless.

    Raises:
        NotAllowed: the role is not theirs to give.

    """
    with company_locked(request):
        _check(request, Role(invitation.role))
        if invitation.revoke():
            record("revoked the invitation", invitation, request=request)


def open_invitations(request: HttpRequest) -> QuerySet[Invitation]:
    """Return what waits in the App at hand: neither accepted nor revoked; expired ones too, since they can be renewed."""
    app = current.current_app(request)
    mine = Invitation.objects.filter(company=app.company_id, accepted_at=None, revoked_at=None).select_related(
        "invited_by"
    )
    return mine.filter(app=app) | mine.filter(app=None)


def find(token: str) -> Invitation | None:
    """Return the invitation behind a link while it can be accepted."""
    invitation = Invitation.objects.select_related("app", "company").filter(token_hash=token_hash(token)).first()
    return invitation if invitation is not None and invitation.is_open else None


def accept(invitation: Invitation, user: User) -> Membership:
    """Give `user` the role. The caller has made sure that the address is theirs.

    Raises:
        NotAllowed: the link was used, revoked or too old, in this very moment.

    """
    with transaction.atomic():
        now = timezone.now()
        mine = invitation.waiting().filter(token_hash=invitation.token_hash, expires_at__gt=now)
        if not mine.update(accepted_at=now):
            raise NotAllowed(OVER)
        if invitation.role == Role.COMPANY_ADMIN:
            Membership.objects.filter(user=user, company=invitation.company, app__isnull=False).delete()
        membership, _ = Membership.objects.update_or_create(
            user=user, company=invitation.company, app=invitation.app, defaults={"role": invitation.role}
        )
        record("accepted the invitation", membership, {"role": [None, membership.get_role_display()]}, actor=user.email)
    return membership


def mail(invitation: Invitation, link: str) -> bool:
    """Send the link to the invited person. Returns whether the mail server took it; False where e-mail is not set up."""
    if not settings.EMAIL_IS_SET_UP:
        return False
    return send(
        invitation.email,
        "You are invited to Engage",
        "tenancy/invitation.txt",
        {"invitation": invitation, "link": link},
    )


def link_of(token: str) -> str:
    """Return the address that an invited person opens."""
    return str(settings.ENGAGE_BASE_URL) + reverse("accept_invitation", args=[token])


def _check(request: HttpRequest, role: Role) -> None:
    """Go on only if the role is theirs to give. The company is locked: it is so until the end."""
    current.require(request, Right.MANAGE_USERS)
    if role not in grantable(current.current_role(request)):
        raise NotAllowed("Only a company administrator can do this for a company administrator.")

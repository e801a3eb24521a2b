"""The second factor: who has one, who needs one, and what is done to it. Everything is in the history, and told by e-mail.

A wrong code counts towards the lock-out like a wrong password. A session that has not shown the factor that its person has
now is nobody's (`engage.tenancy.middleware`), so setting one up or replacing it ends the sessions elsewhere.
"""

from datetime import timedelta

import django_otp
from axes.handlers.proxy import AxesProxyHandler
from django.contrib.auth.signals import user_login_failed
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone

from engage.audit.record import record
from engage.tenancy.mail import send_in_background
from engage.tenancy.models import Authenticator, Company, User

TRY_LATER = "Try again later."
WAITING = "engage_waiting_authenticator"
"""In the session that sets one up: only there it is shown, and can be confirmed."""
WAITING_SECONDS = 600


def factor_of(user: User) -> Authenticator | None:
    """Return the second factor that somebody signs in with."""
    return Authenticator.objects.filter(user=user, confirmed=True).first()


def begin(request: HttpRequest, user: User) -> Authenticator:
    """Make an authenticator that waits for its first code, in this session and for ten minutes."""
    waiting = Authenticator.make(user)
    request.session[WAITING] = waiting.pk
    return waiting


def waiting_for(request: HttpRequest, user: User) -> Authenticator | None:
    """Return the authenticator that somebody is setting up in this session, not one begun elsewhere or too long ago."""
    return Authenticator.objects.filter(
        pk=request.session.get(WAITING, 0),
        user=user,
        confirmed=False,
        created_at__gt=timezone.now() - timedelta(seconds=WAITING_SECONDS),
    ).first()


def required_by(user: User) -> QuerySet[Company]:
    """Return the companies of a person whose people need a second factor."""
    return Company.objects.filter(memberships__user=user, second_factor_required=True).distinct()


def why_refused(request: HttpRequest, factor: Authenticator, code: str) -> str:
    """Take a code of the app or a recovery code. Returns "" when it is right, else the sentence for the person."""
    if _locked_out(request, factor.user):
        return TRY_LATER
    allowed, waits = factor.verify_is_allowed()
    if not allowed:
        seconds = round((waits["locked_until"] - timezone.now()).total_seconds()) + 1
        return (
            f"Wait {seconds} second{'' if seconds == 1 else 's'} after so many wrong codes. Then enter the newest one."
        )
    if django_otp.verify_token(factor.user, factor.persistent_id, code) is not None:
        return ""
    _count_failure(request, factor.user)
    return "This code is not right. Each code works once, and only for half a minute."


def why_not_them(request: HttpRequest, user: User, password: str) -> str:
    """Take somebody's password once more, before a first factor is set up. Returns "" when it is right, else the sentence."""
    if _locked_out(request, user):
        return TRY_LATER
    if user.check_password(password):
        return ""
    _count_failure(request, user)
    return "This is not your password."


def _locked_out(request: HttpRequest, user: User) -> bool:
    """Whether too much has failed. Then the person gets the page that says so in place of the answer (`axes.middleware`)."""
    if AxesProxyHandler.is_allowed(request, {"username": user.email}):
        return False
    request.axes_locked_out = True  # type: ignore[attr-defined]
    return True


def _count_failure(request: HttpRequest, user: User) -> None:
    user_login_failed.send(sender=__name__, credentials={"username": user.email}, request=request)


def confirm(request: HttpRequest, waiting: Authenticator) -> list[str]:
    """Make the authenticator whose first code was right the second factor. Returns its recovery codes, shown once."""
    user = waiting.user
    with transaction.atomic():
        replaced, _ = Authenticator.objects.filter(user=user, confirmed=True).delete()
        codes = waiting.new_recovery_codes()
        waiting.confirmed = True
        waiting.save(update_fields=["confirmed", "recovery_hashes"])
        note(user, "replaced their second factor" if replaced else "set up a second factor", request=request)
    del request.session[WAITING]
    request.session.cycle_key()
    django_otp.login(request, waiting)
    return codes


def renew_recovery_codes(request: HttpRequest, factor: Authenticator) -> list[str]:
    """Make new recovery codes; those before stop working. Returns them, shown once."""
    with transaction.atomic():
        codes = factor.new_recovery_codes()
        factor.save(update_fields=["recovery_hashes"])
        note(factor.user, "made new recovery codes", request=request)
    return codes


def forget(user: User, verb: str, *, request: HttpRequest | None = None, actor: str = "") -> bool:
    """Take somebody's second factor away. Returns whether there was one.

    Args:
        user: whose it is.
        verb: how the history says it, e.g. "removed their second factor".
        request: of whoever does it; without it `actor` says who it was.
        actor: a command's name.

    """
    with transaction.atomic():
        there_was = Authenticator.objects.filter(user=user, confirmed=True).exists()
        Authenticator.objects.filter(user=user).delete()
        if there_was:
            note(user, verb, request=request, actor=actor)
    return there_was


def note(user: User, verb: str, *, request: HttpRequest | None = None, actor: str = "") -> None:
    """Put it into the history of every App or company that the person belongs to, and write to the person."""
    who = actor
    for membership in user.memberships.select_related("app__company", "company"):
        who = record(verb, membership, request=request, actor=actor, label=str(user)).actor
    context = {"name": user.name, "actor": who, "verb": verb, "at": timezone.now()}
    transaction.on_commit(
        lambda: send_in_background(
            user.email, "Your second factor for Engage", "tenancy/second_factor_mail.txt", context
        )
    )

"""The App that a console request is about, and the role in which the person looks at it.

A person may belong to several Apps; the one at hand is kept in the session and changed in the header. Pages ask here and
never read an App's id from a URL or a form, so another App's object cannot be named: it is a 404.
"""

from django.core.exceptions import PermissionDenied
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.middleware.csrf import rotate_token

from engage.tenancy.models import App, Membership, User
from engage.tenancy.roles import Right, Role

SESSION_KEY = "engage_app"


def person_or_none(request: HttpRequest) -> User | None:
    """Return who is signed in; None for nobody."""
    return request.user if isinstance(request.user, User) else None


def apps_of(user: User) -> QuerySet[App]:
    """Return the Apps that a person may look at, by company and name."""
    administered = Membership.objects.filter(user=user, role=Role.COMPANY_ADMIN).values("company")
    return (
        App.objects.filter(Q(memberships__user=user) | Q(company__in=administered))
        .select_related("company")
        .distinct()
        .order_by("company__name", "name")
    )


def role_in(user: User, app: App) -> Role | None:
    """Return the role of a person in an App: the company-wide one before that in the App, and none where the account is closed."""
    theirs = Membership.objects.filter(
        Q(app=app) | Q(app=None, company=app.company_id), user=user, user__is_active=True
    )
    roles = set(theirs.values_list("role", flat=True))
    return next((role for role in Role if role in roles), None)


def enter(request: HttpRequest) -> None:
    """Find the App and role of this request, from the session or the first App of the person (called by the middleware)."""
    app: App | None = None
    user = request.user
    if isinstance(user, User) and user.is_active:
        mine = apps_of(user)
        chosen = request.session.get(SESSION_KEY)
        app = (mine.filter(pk=chosen).first() if chosen else None) or mine.first()
        if app is not None and app.pk != chosen:
            choose(request, app)
            if chosen and request.method not in {"GET", "HEAD"}:
                app = None  # what is sent was meant for an App that is no longer theirs
    request.engage_app = app  # type: ignore[attr-defined]
    request.engage_role = role_in(user, app) if app and isinstance(user, User) else None  # type: ignore[attr-defined]


def look_again(request: HttpRequest) -> None:
    """Read the person's role anew: it may have changed since this request came, and who calls holds what keeps it from changing."""
    app, user = current_app(request), request.user
    request.engage_role = role_in(user, app) if isinstance(user, User) else None  # type: ignore[attr-defined]


def choose(request: HttpRequest, app: App) -> None:
    """Make `app` the one at hand from the next request on.

    The forms that are open belong to the App before. Their CSRF token ends here, so that none of them can be sent into this
    one: a form carries its App without a field for it.
    """
    request.session[SESSION_KEY] = app.pk
    rotate_token(request)


def current_app_or_none(request: HttpRequest) -> App | None:
    """Return the App at hand, or None for somebody without any."""
    return getattr(request, "engage_app", None)


def current_app(request: HttpRequest) -> App:
    """Return the App at hand.

    Raises:
        PermissionDenied: the person belongs to no App.

    """
    app = current_app_or_none(request)
    if app is None:
        raise PermissionDenied("You belong to no App. Ask an administrator for an invitation.")
    return app


def current_role(request: HttpRequest) -> Role | None:
    """Return the person's role in the App at hand."""
    return getattr(request, "engage_role", None)


def may(request: HttpRequest, right: Right) -> bool:
    """Whether the person has this right in the App at hand."""
    return right.allows(current_role(request))


def require(request: HttpRequest, right: Right) -> None:
    """Go on only with this right.

    Raises:
        PermissionDenied: the role does not have it.

    """
    if not may(request, right):
        raise PermissionDenied(
            "Your role does not allow this. An administrator of this App can do it or change your role."
        )

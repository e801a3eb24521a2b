"""The console: unfold's admin site, open to everybody with a role in some App."""

from django.contrib.auth.models import AnonymousUser
from django.http import HttpRequest
from unfold.sites import UnfoldAdminSite

from engage.tenancy import current


class ConsoleSite(UnfoldAdminSite):  # type: ignore[misc]
    """Asks for a role in an App where Django's own site asks for `is_staff`."""

    site_title = site_header = "Engage"
    index_title = "Dashboard"

    def has_permission(self, request: HttpRequest) -> bool:
        """Whether the person is signed in, active, and has a role somewhere."""
        return (
            not isinstance(request.user, AnonymousUser)
            and request.user.is_active
            and current.current_role(request) is not None
        )

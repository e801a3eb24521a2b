"""The console: unfold's admin site, open to everybody with a role in some App."""

from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.decorators import method_decorator
from django.views.decorators.cache import never_cache
from unfold.sites import UnfoldAdminSite

from engage import dashboard
from engage.tenancy import current
from engage.tenancy.models import User
from engage.tenancy.scoped import ScopedModelAdmin
from engage.tenancy.second_factor_views import SecondFactorView, SignInView
from engage.tenancy.views import SwitchAppView


class ConsoleSite(UnfoldAdminSite):  # type: ignore[misc]
    """Asks for a role in an App where Django's own site asks for `is_staff`."""

    site_title = site_header = "Engage"
    index_title = "Dashboard"

    def register(self, model_or_iterable: Any, admin_class: Any = None, **options: Any) -> None:
        """Take in pages that are scoped to the App at hand, and leave out those that packages bring along."""
        if admin_class is not None and issubclass(admin_class, ScopedModelAdmin):
            super().register(model_or_iterable, admin_class, **options)

    def has_permission(self, request: HttpRequest) -> bool:
        """Whether the person is signed in, active, and has a role somewhere."""
        return isinstance(request.user, User) and request.user.is_active and current.current_role(request) is not None

    def extra_urls(self) -> list[URLPattern]:
        """Switch the App at hand; one's own second factor; and sign out, which somebody without any App must be able to as well."""
        return [
            path("second-factor/", self.admin_view(SecondFactorView.as_view()), name="second_factor"),
            path("logout/", self.logout, name="logout"),
            path("switch-app/", self.admin_view(SwitchAppView.as_view()), name="switch_app"),
        ]

    def each_context(self, request: HttpRequest) -> dict[str, Any]:
        """What every page shows: of the App at hand also whose answers are carried out."""
        return {**super().each_context(request), "engage_banner": dashboard.banner(request)}

    @method_decorator(never_cache)
    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Sign in; somebody who is signed in already and belongs to no App is told whom to ask."""
        if request.user.is_authenticated and not self.has_permission(request):
            context = {**self.each_context(request), "title": "You belong to no App yet"}
            return TemplateResponse(request, "tenancy/no_app.html", context, status=403)
        if request.method == "GET" and self.has_permission(request):
            return HttpResponseRedirect(reverse("admin:index"))
        context = {**self.each_context(request), "app_path": request.get_full_path(), **(extra_context or {})}
        answer: HttpResponse = SignInView.as_view(extra_context=context)(request)  # type: ignore[assignment]
        return answer

    def index(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> TemplateResponse:
        """The dashboard."""
        answer: TemplateResponse = super().index(request, {**dashboard.overview(request), **(extra_context or {})})
        return answer

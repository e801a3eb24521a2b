"""People, keys and the App in the console."""

from typing import Any

from django.contrib import admin
from django.db import models
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.urls import URLPattern, path

from engage.tenancy import current, invitations, people
from engage.tenancy.models import ApiKey, App, Authenticator, Membership, User
from engage.tenancy.roles import Right, Role
from engage.tenancy.scoped import ScopedModelAdmin
from engage.tenancy.second_factor_views import RequireSecondFactorView
from engage.tenancy.views import AddAppView, AppView, InvitationView, InviteView, KeysView, PersonView


@admin.register(App)
class AppAdmin(ScopedModelAdmin):
    """One page: the settings of the App at hand."""

    app_path = "pk"

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[App]:
        """Return the App at hand."""
        app = current.current_app_or_none(request)
        return App.objects.filter(pk=app.pk) if app else App.objects.none()

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """The settings."""
        return AppView.as_view(model_admin=self)(request)

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """One more App of the company."""
        return AddAppView.as_view(model_admin=self)(request)


@admin.register(ApiKey)
class ApiKeyAdmin(ScopedModelAdmin):
    """One page: API keys and identity secrets."""

    view_right = Right.MANAGE_KEYS

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """The keys."""
        return KeysView.as_view(model_admin=self)(request)


class RoleFilter(admin.SimpleListFilter):
    """By role."""

    title = "role"
    parameter_name = "role"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Every role."""
        return [(role.value, role.label) for role in Role]

    def queryset(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> models.QuerySet[Any]:
        """Those with the chosen one."""
        return queryset.filter(role=self.value()) if self.value() else queryset


class StateFilter(admin.SimpleListFilter):
    """By whether they can sign in."""

    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Active or deactivated."""
        return [("active", "Active"), ("deactivated", "Deactivated")]

    def queryset(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> models.QuerySet[Any]:
        """Those in the chosen one."""
        return queryset.filter(user__is_active=self.value() == "active") if self.value() else queryset


class SecondFactorFilter(admin.SimpleListFilter):
    """By whether they have a second factor."""

    title = "second factor"
    parameter_name = "second_factor"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Set up or not."""
        return [("yes", "Set up"), ("no", "None")]

    def queryset(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> models.QuerySet[Any]:
        """Those in the chosen state."""
        return queryset.filter(has_factor=self.value() == "yes") if self.value() else queryset


@admin.register(Membership)
class MembershipAdmin(ScopedModelAdmin):
    """Users and roles of the App at hand, with the administrators of its company."""

    view_right = Right.MANAGE_USERS
    list_display = ("person", "email", "role_label", "apps", "factor", "last_sign_in", "state")
    list_filter = (RoleFilter, SecondFactorFilter, StateFilter)
    search_fields = ("user__name", "user__email")
    search_help_text = "Search by name or e-mail address"
    ordering = ("user__email",)
    list_before_template = "tenancy/people_intro.html"
    list_after_template = "tenancy/invitations.html"
    list_select_related = ("user", "company", "app")
    actions = None

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Membership]:
        """Return the memberships that count in the App at hand."""
        app, viewer = current.current_app_or_none(request), request.user
        rows = people.people_of(app) if app else Membership.objects.none()
        apps = current.apps_of(viewer) if isinstance(viewer, User) else App.objects.none()
        seen = Membership.objects.filter(app__in=apps).select_related("app").order_by("app__name")
        return rows.annotate(
            has_factor=models.Exists(Authenticator.objects.filter(user=models.OuterRef("user"), confirmed=True))
        ).prefetch_related(models.Prefetch("user__memberships", seen, "seen_in_apps"))

    def get_urls(self) -> list[URLPattern]:
        """Invitations, beside the usual pages."""
        wrap = self.admin_site.admin_view
        return [
            path("invite/", wrap(InviteView.as_view(model_admin=self)), name="tenancy_membership_invite"),
            path(
                "invitation/<int:invitation>/<str:what>/",
                wrap(InvitationView.as_view(model_admin=self)),
                name="tenancy_membership_invitation",
            ),
            path(
                "second-factor/",
                wrap(RequireSecondFactorView.as_view(model_admin=self)),
                name="tenancy_membership_second_factor",
            ),
            *super().get_urls(),
        ]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """The people, and below them who is invited."""
        waiting = invitations.open_invitations(request) if current.may(request, Right.MANAGE_USERS) else []
        context = {"title": "Users and roles", "invitations": waiting, **(extra_context or {})}
        answer: HttpResponse = super().changelist_view(request, context)
        return answer

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """A person."""
        return PersonView.as_view(model_admin=self)(request, object_id=object_id)

    @admin.display(description="Name", ordering="user__name")
    def person(self, row: Membership) -> str:
        """Return the name."""
        return row.user.name or "(no name yet)"

    @admin.display(description="E-mail address", ordering="user__email")
    def email(self, row: Membership) -> str:
        """The address."""
        return row.user.email

    @admin.display(description="Role", ordering="role")
    def role_label(self, row: Membership) -> str:
        """The role in words."""
        return str(row.get_role_display())

    @admin.display(description="Apps")
    def apps(self, row: Any) -> str:
        """Every App of the company that the person belongs to, of those that the viewer does."""
        if row.role == Role.COMPANY_ADMIN:
            return f"All of {row.company}"
        return ", ".join(each.app.name for each in row.user.seen_in_apps if each.company_id == row.company_id)

    @admin.display(description="Second factor", ordering="has_factor")
    def factor(self, row: Any) -> str:
        """Whether they have one."""
        return "Set up" if row.has_factor else "None"

    @admin.display(description="Last sign-in", ordering="user__last_login")
    def last_sign_in(self, row: Membership) -> str:
        """When they signed in last, in the viewer's zone."""
        return render_to_string("tenancy/moment.html", {"moment": row.user.last_login, "never": "Never"})

    @admin.display(description="State", ordering="user__is_active")
    def state(self, row: Membership) -> str:
        """Whether they can sign in."""
        return render_to_string(
            "tenancy/state.html", {"good": row.user.is_active, "good_word": "Active", "bad_word": "Deactivated"}
        )

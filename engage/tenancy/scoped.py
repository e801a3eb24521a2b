"""The base of every page and list in the console: default deny, and nothing of another App."""

from typing import Any, ClassVar

from django.contrib.admin import AdminSite
from django.core.exceptions import PermissionDenied
from django.db import models
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from unfold.admin import ModelAdmin
from unfold.views import UnfoldModelAdminViewMixin

from engage.audit.models import Entry
from engage.tenancy import current
from engage.tenancy.roles import Right


class ScopedModelAdmin(ModelAdmin):  # type: ignore[misc]
    """A ModelAdmin that shows the rows of the App at hand, and only to roles that have the rights named here.

    `app_path` is the lookup from the model to its App. Rights that are None are nobody's: a subclass opens what it means
    to open.
    """

    app_path: ClassVar[str] = "app"
    view_right: ClassVar[Right | None] = Right.LOOK
    add_right: ClassVar[Right | None] = None
    change_right: ClassVar[Right | None] = None
    delete_right: ClassVar[Right | None] = None
    list_fullwidth = True
    warn_unsaved_form = True

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Any]:
        """Return the rows of the App at hand; none for somebody without an App."""
        rows: models.QuerySet[Any] = super().get_queryset(request)
        app = current.current_app_or_none(request)
        return rows.filter(**{self.app_path: app}) if app else rows.none()

    def _allowed(self, request: HttpRequest, right: Right | None) -> bool:
        return right is not None and current.may(request, right)

    def has_module_permission(self, request: HttpRequest) -> bool:
        """Whether the model appears at all."""
        return self._allowed(request, self.view_right)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Whether rows may be seen (and offered by an autocomplete)."""
        return self._allowed(request, self.view_right)

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Whether a row may be added."""
        return self._allowed(request, self.add_right)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Whether a row may be changed."""
        return self._allowed(request, self.change_right)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Whether a row may be removed."""
        return self._allowed(request, self.delete_right)

    def _get_obj_does_not_exist_redirect(self, request: HttpRequest, opts: Any, object_id: str) -> HttpResponse:
        """Another App's row is not there: a 404, where Django would lead to the first page."""
        raise Http404(f"No {opts.verbose_name} has this id.")

    def log_addition(self, request: HttpRequest, obj: Any, message: Any) -> None:
        """Write nothing: the history is `engage.audit`, which the pages write with old and new values."""

    log_change = log_addition

    def log_deletions(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> None:
        """Write nothing, as above."""

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Everything that was recorded of one row."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        row = self.get_object(request, object_id)
        if row is None:
            raise Http404
        entries = Entry.objects.filter(kind=self.opts.model_name, object_id=str(row.pk)).order_by("-id")[:200]
        context = {
            **self.admin_site.each_context(request),
            "title": f"History of {row}",
            "entries": entries,
            "opts": self.opts,
            **(extra_context or {}),
        }
        return TemplateResponse(request, "audit/history.html", context)

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        """Offer only rows of the App at hand, as their own admin page would show them."""
        related = self.admin_site._registry.get(db_field.remote_field.model)
        if related is not None and "queryset" not in kwargs:
            kwargs["queryset"] = related.get_queryset(request)
        return super().formfield_for_foreignkey(db_field, request, **kwargs)


class ConsoleViewMixin(UnfoldModelAdminViewMixin):  # type: ignore[misc]
    """A page of our own inside the console: name its `title`, `template_name` and the `right` that it needs."""

    right: ClassVar[Right | None] = None

    def has_permission(self) -> bool:
        """Default deny: a page without a right is nobody's."""
        return self.right is not None and current.may(self.request, self.right)

    @property
    def site(self) -> AdminSite:
        """The console's AdminSite."""
        site: AdminSite = self.model_admin.admin_site
        return site

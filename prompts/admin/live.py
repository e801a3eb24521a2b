"""Live, the page of an execution and Lookup, in the place of the lists that Django would show."""

from django.contrib import admin
from django.urls import URLPattern, path

from engage.tenancy.scoped import ScopedModelAdmin
from prompts import again_views, execution_views, live_views, lookup_views
from prompts.models import Execution, PromptEvent


@admin.register(Execution)
class ExecutionAdmin(ScopedModelAdmin):
    """Executions are looked at in pages of their own, and changed by nothing but the buttons there."""

    def get_urls(self) -> list[URLPattern]:
        """Return our pages, and none of Django's."""
        pages = [
            ("", live_views.LivePage, "prompts_execution_changelist"),
            ("news/", live_views.LiveNews, "prompts_execution_news"),
            ("refused/", live_views.RefusedPage, "prompts_execution_refused"),
            ("again/", again_views.AgainPage, "prompts_execution_again"),
            ("<uuid:pk>/", execution_views.ExecutionPage, "prompts_execution_change"),
            ("<uuid:pk>/<slug:verb>/", execution_views.ExecutionDo, "prompts_execution_do"),
        ]
        return [
            path(route, self.admin_site.admin_view(view.as_view(model_admin=self)), name=name)
            for route, view, name in pages
        ]


@admin.register(PromptEvent)
class EventAdmin(ScopedModelAdmin):
    """Events are listed in Live; here is the other way to them, by person."""

    def get_urls(self) -> list[URLPattern]:
        """Return Lookup (under its own name, and under that which breadcrumbs ask for), and none of Django's pages."""
        view = self.admin_site.admin_view(lookup_views.LookupPage.as_view(model_admin=self))
        erase = self.admin_site.admin_view(lookup_views.ErasePage.as_view(model_admin=self))
        return [
            path("", view, name="prompts_lookup"),
            path("", view, name="prompts_promptevent_changelist"),
            path("<int:pk>/erase/", erase, name="prompts_lookup_erase"),
        ]

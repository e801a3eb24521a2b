"""*Settings > Actions* in the console: pages of our own in place of Django's list and form."""

from django.contrib import admin
from django.urls import URLPattern, path
from django.views.generic import View

from connectors import views
from connectors.models import Connection
from engage.tenancy.scoped import ScopedModelAdmin


@admin.register(Connection)
class ConnectionAdmin(ScopedModelAdmin):
    """Connections. Django's own list and form would show rows of settings that only their connector can read."""

    def get_urls(self) -> list[URLPattern]:
        """The catalogue, a connector's page, and what its buttons call; none of Django's own pages."""
        pages: dict[str, tuple[str, type[View]]] = {
            "": ("changelist", views.CatalogueView),
            "api-actions/": ("api", views.ApiActionsView),
            "website-actions/": ("website", views.WebsiteActionsView),
            "<uuid:connection>/change/": ("change", views.ByIdView),
            "<uuid:key>/": ("one", views.ConnectionView),
            "<uuid:key>/test/": ("one_test", views.TestView),
            "<uuid:key>/preview/": ("one_preview", views.PreviewView),
            "<uuid:key>/remove/": ("one_remove", views.RemoveView),
            "<slug:connector>/": ("page", views.ConnectionView),
            "<slug:connector>/test/": ("test", views.TestView),
            "<slug:connector>/refresh/<slug:catalogue>/": ("refresh", views.RefreshView),
        }
        return [
            path(
                route, self.admin_site.admin_view(view.as_view(model_admin=self)), name=f"connectors_connection_{name}"
            )
            for route, (name, view) in pages.items()
        ]

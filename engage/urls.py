"""Every URL of the installation."""

from django.conf import settings
from django.contrib import admin
from django.urls import include, path, re_path
from django.views.generic import RedirectView

from connectors import scripts
from engage import health, metrics
from sync import hooks

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="admin:index")),
    path("healthz", health.healthz, name="healthz"),
    path("readyz", health.readyz, name="readyz"),
    path("metrics", metrics.metrics, name="metrics"),
    path("console/account/", include("engage.tenancy.urls")),
    path("console/", admin.site.urls),
    path("api/v1/", include("prompts.api.endpoints")),
    path("hooks/<uuid:connection>", hooks.receive, name="hook"),
    re_path(r"^site-actions/(?P<app>[-\w]+)/(?P<sha256>[0-9a-f]{64})\.js\Z", scripts.serve, name="script"),
]
if settings.ENGAGE_DEMO:
    urlpatterns += [path("demo/", include("engage.demo.site.urls"))]

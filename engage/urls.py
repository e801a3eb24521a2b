"""Every URL of the installation."""

from django.conf import settings
from django.contrib import admin
from django.urls import include, path

from engage import health

urlpatterns = [
    path("healthz", health.healthz, name="healthz"),
    path("readyz", health.readyz, name="readyz"),
    path("console/account/", include("engage.tenancy.urls")),
    path("console/", admin.site.urls),
    path("api/v1/", include("prompts.api.endpoints")),
]
if settings.ENGAGE_DEMO:
    urlpatterns += [path("demo/", include("engage.demo.site.urls"))]

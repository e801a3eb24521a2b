"""Put the console in the place of Django's default AdminSite."""

from django.contrib.admin.apps import AdminConfig


class ConsoleConfig(AdminConfig):
    """`django.contrib.admin`, with the console as its site."""

    default_site = "engage.site.ConsoleSite"

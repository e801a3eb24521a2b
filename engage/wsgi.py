"""The WSGI entry point: `granian --interface wsgi engage.wsgi:application`."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "engage.settings")
application = get_wsgi_application()

from engage.vault.canary import verify_or_exit  # noqa: E402 - Django must be set up first

verify_or_exit()

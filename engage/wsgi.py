"""The WSGI entry point: `granian --interface wsgi engage.wsgi:application`."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "engage.settings")
application = get_wsgi_application()

from engage.startup import begin  # noqa: E402 - Django must be set up first

begin("web")

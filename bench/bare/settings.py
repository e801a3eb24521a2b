"""The product's database and server settings, without its middleware and pages."""

from engage.settings import *  # noqa: F403

ROOT_URLCONF = "bench.bare.urls"
WSGI_APPLICATION = "bench.bare.wsgi.application"
MIDDLEWARE = []

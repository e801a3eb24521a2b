#!/usr/bin/env python
"""Django's command line for Engage."""

import os
import sys

# They open no secret, or (`migrate`) check the key themselves.
WITHOUT_KEY_CHECK = frozenset(
    {
        "check",
        "collectstatic",
        "connectors",
        "diffsettings",
        "help",
        "makemigrations",
        "migrate",
        "showmigrations",
        "sqlmigrate",
        "version",
    }
)


def main() -> None:
    """Run one management command; with an encryption key that does not fit, none that could meet a secret."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "engage.settings")
    import django
    from django.core.exceptions import ImproperlyConfigured
    from django.core.management import execute_from_command_line

    try:
        if len(sys.argv) > 1 and sys.argv[1] not in WITHOUT_KEY_CHECK and not sys.argv[1].startswith("-"):
            django.setup()
            from engage.vault.canary import verify_or_exit

            verify_or_exit()
        execute_from_command_line(sys.argv)
    except ImproperlyConfigured as wrong:
        sys.exit(f"manage.py: {wrong}")


if __name__ == "__main__":
    main()

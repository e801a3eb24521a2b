"""`manage.py seed_demo`: make the demo's company, or mend what it needs after a restart. `make demo` calls it."""

import os
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from engage.demo import seed
from engage.demo.kept import Kept


class Command(BaseCommand):
    """Refuses outside the demo: it makes people whose passwords stand in a file."""

    help = "Make the demo's company. Only `make demo` calls it."

    def handle(self, *args: Any, **options: Any) -> None:
        """Seed."""
        if os.environ.get("ENGAGE_DEMO") != "1":
            raise CommandError(
                "This belongs to `make demo`. Outside of it, `manage.py create_company` makes a company."
            )
        seed.seed(Kept.of(settings.VAR_DIR), s3_url=os.environ["ENGAGE_DEMO_S3_URL"])
        self.stdout.write("The demo's company is there.")

"""`manage.py purge`: delete what is old, now. The schedule does it every hour."""

import math
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand
from django.utils import timezone

from engage import retention


class Command(BaseCommand):
    """Delete, or only count."""

    help = "Delete what is older than the ENGAGE_KEEP_... settings say. Open executions stay whatever their age."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Whether to look only."""
        parser.add_argument("--dry-run", action="store_true", help="Only count what would be deleted.")

    def handle(self, *args: Any, **options: Any) -> None:
        """Purge, and say what went."""
        now, is_dry = timezone.now(), options["dry_run"]
        counts = retention.count(now) if is_dry else retention.purge(now, seconds=math.inf)
        for name, number in counts.items():
            self.stdout.write(f"{name}: {number} {'would be deleted' if is_dry else 'deleted'}")

"""`manage.py rotate_keys`: after a new key was put in front of FIELD_ENCRYPTION_KEY."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from engage.vault.rotation import rotate


class Command(BaseCommand):
    """Re-encrypts every stored secret with the first key."""

    help = "Re-encrypt every stored secret with the first key of FIELD_ENCRYPTION_KEY. Can be repeated at any time."

    def handle(self, *args: Any, **options: Any) -> None:
        """Rotate and say what was done.

        Raises:
            CommandError: some row cannot be read; nothing was changed.

        """
        counts = rotate()
        if counts.unreadable:
            raise CommandError(
                f"{len(counts.unreadable)} secrets cannot be read with the keys at hand, and nothing was changed: "
                + ", ".join(counts.unreadable)
            )
        self.stdout.write(f"{counts.rotated} rotated, {counts.current} already current")

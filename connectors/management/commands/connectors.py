"""`manage.py connectors`: which connectors there are, out of their declarations."""

import re
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from connectors.base import Category, Connector
from connectors.registry import all_connectors

BEGIN, END = "<!-- connectors -->", "<!-- /connectors -->"
CATEGORIES = list(Category)
HEAD = ("| Connector | What it does | Support |", "|---|---|---|")


class Command(BaseCommand):
    """Print the table of connectors, or write it into README.md."""

    help = "List the connectors, their actions and how far each has been checked against its vendor."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Where it goes."""
        parser.add_argument("--readme", action="store_true", help="Write the table into README.md.")

    def handle(self, *args: Any, **options: Any) -> None:
        """Print or write it."""
        if not options["readme"]:
            self.stdout.write(table())
            return
        page = Path(settings.BASE_DIR) / "README.md"
        page.write_text(with_table(page.read_text()))
        self.stdout.write(f"The table of connectors in {page.name} is up to date.")


def table() -> str:
    """Return the table in Markdown, one row for each connector, by category and name."""
    ordered = sorted(all_connectors(), key=lambda declared: (CATEGORIES.index(declared.category), declared.label))
    return "\n".join([*HEAD, *map(_row, ordered)])


def with_table(page: str) -> str:
    """Return a page with the table between its two marks.

    Raises:
        CommandError: the marks are not there.

    """
    written, count = re.subn(f"{BEGIN}.*?{END}", lambda _: f"{BEGIN}\n{table()}\n{END}", page, count=1, flags=re.DOTALL)
    if not count:
        raise CommandError(f"README.md has no {BEGIN} ... {END} to write the table between.")
    return written


def _row(declared: Connector) -> str:
    forwards = ["Gets every impression and answer"] if declared.forwarder else []
    what = ", ".join([*forwards, *(action.label for action in declared.actions)]) or declared.description
    return f"| {declared.label} | {what} | {declared.support.label} |"

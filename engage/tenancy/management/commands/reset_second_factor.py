"""`manage.py reset_second_factor`: the way out for the last administrator, whose phone and recovery codes are gone."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction

from engage.tenancy import people, second_factor
from engage.tenancy.models import User


class Command(BaseCommand):
    """Takes somebody's second factor away."""

    help = "Take somebody's second factor away and sign them out everywhere. They sign in with the password alone."

    def add_arguments(self, parser: CommandParser) -> None:
        """Whose."""
        parser.add_argument("--email", required=True, help="The person's e-mail address.")

    def handle(self, *args: Any, **options: Any) -> None:
        """Do it; it is in the history.

        Raises:
            CommandError: there is no such person, or they have none.

        """
        email = options["email"].strip().lower()
        user = User.objects.filter(email=email).first()
        if user is None:
            raise CommandError(f"There is no account of {email}.")
        with transaction.atomic():
            if not second_factor.forget(user, "reset the second factor", actor="manage.py reset_second_factor"):
                raise CommandError(f"{email} has no second factor.")
            people.end_sessions(user)
        self.stdout.write(f"{email} is signed out everywhere, and signs in with the password alone.")

"""`manage.py create_company`: the first company, App and administrator of an installation."""

from typing import Any

from django.conf import settings
from django.contrib.auth.tokens import default_token_generator
from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction
from django.urls import reverse
from django.utils.encoding import force_bytes
from django.utils.http import urlsafe_base64_encode
from django.utils.text import slugify

from engage.audit.record import record
from engage.tenancy.models import App, Company, Membership, User
from engage.tenancy.roles import Role


class Command(BaseCommand):
    """Makes the three, and prints a link with which the administrator sets a password."""

    help = "Create a company with its first App and administrator. Prints a link, good once and for 24 hours, to set the password."

    def add_arguments(self, parser: CommandParser) -> None:
        """The names, and who administers."""
        parser.add_argument("--company", required=True, help="The company's name.")
        parser.add_argument("--app", required=True, help="The name of its first App.")
        parser.add_argument("--email", required=True, help="The administrator's e-mail address.")
        parser.add_argument(
            "--app-key", default="", help="The App's short name for commands. By default made from its name."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Create all three or nothing.

        Raises:
            CommandError: one of them is there already, or is not valid.

        """
        email = options["email"].strip().lower()
        key = options["app_key"] or slugify(options["app"])
        if Company.objects.filter(name=options["company"]).exists():
            raise CommandError(f"There is a company “{options['company']}” already.")
        if App.objects.filter(key=key).exists():
            raise CommandError(f"There is an App with the key “{key}” already. Choose another with --app-key.")
        if User.objects.filter(email=email).exists():
            raise CommandError(
                f"There is an account of {email} already. Invite it in the console, or take another address."
            )
        try:
            with transaction.atomic():
                user = self._create(options["company"], options["app"], key, email)
        except ValidationError as error:
            raise CommandError(
                " ".join(f"{name}: {' '.join(texts)}" for name, texts in error.message_dict.items())
            ) from None
        path = reverse(
            "password_reset_confirm",
            args=[urlsafe_base64_encode(force_bytes(user.pk)), default_token_generator.make_token(user)],
        )
        self.stdout.write(
            f"Created {options['company']} with the App {options['app']} ({key}) and {email} as company administrator."
        )
        self.stdout.write(
            "With this link, good once and for 24 hours, they set their password (later: manage.py changepassword):"
        )
        self.stdout.write(f"{settings.ENGAGE_BASE_URL}{path}")

    def _create(self, company_name: str, app_name: str, key: str, email: str) -> User:
        company = Company(name=company_name)
        company.full_clean()
        company.save()
        app = App(company=company, name=app_name, key=key)
        app.full_clean()
        app.save()
        user = User(email=email)
        user.set_unusable_password()
        user.full_clean()
        user.save()
        membership = Membership.objects.create(user=user, company=company, role=Role.COMPANY_ADMIN)
        record("created", app, actor="manage.py create_company")
        record("created", membership, {"role": [None, Role.COMPANY_ADMIN.label]}, actor="manage.py create_company")
        return user

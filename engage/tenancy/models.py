"""People, companies, Apps, keys: everything else in the house belongs to one App."""

import hashlib
import secrets
import uuid
from datetime import timedelta
from typing import Any, ClassVar

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.contrib.auth.models import PermissionsMixin
from django.db import models
from django.db.models import Q
from django.utils import timezone

from engage.tenancy.roles import Role
from engage.vault.models import Sealed


class UserManager(BaseUserManager["User"]):
    """People sign in with their e-mail address, in lower case."""

    def create_user(self, email: str, password: str | None = None, **fields: Any) -> "User":
        """Make a person; without a password nobody can sign in as them until they set one through a link."""
        user = self.model(email=email.strip().lower(), **fields)
        user.set_password(password)
        user.save(using=self._db)
        return user

    def get_by_natural_key(self, username: str | None) -> "User":
        """Find a person by e-mail address, whatever its case."""
        return self.get(email=(username or "").strip().lower())


class User(AbstractBaseUser, PermissionsMixin):
    """Somebody who signs in to the console. What they may do, their memberships say."""

    email = models.EmailField(unique=True)
    name = models.CharField(max_length=120, blank=True)
    is_active = models.BooleanField(default=True)
    created_at = models.DateTimeField(auto_now_add=True)

    USERNAME_FIELD = "email"
    EMAIL_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = []
    objects: ClassVar[UserManager] = UserManager()

    def __str__(self) -> str:
        return self.name or self.email

    @property
    def is_staff(self) -> bool:
        """Django's admin asks this of everybody who signs in; memberships decide what follows."""
        return self.is_active

    def get_full_name(self) -> str:
        """Return the name that the console shows."""
        return self.name or self.email


class Company(models.Model):
    """Who runs one or several Apps."""

    name = models.CharField(max_length=120, unique=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        verbose_name_plural = "companies"

    def __str__(self) -> str:
        return self.name


class DeliveryMode(models.TextChoices):
    """Whose answers are carried out."""

    LIVE = "live", "Live"
    TEST = "test", "Test subscribers only"
    NOBODY = "nobody", "Nobody"


class App(models.Model):
    """A product whose users see prompts; the tenant that everything below belongs to."""

    company = models.ForeignKey(Company, on_delete=models.CASCADE, related_name="apps")
    name = models.CharField(max_length=120)
    key = models.SlugField(max_length=60, unique=True, help_text="Short name for commands, e.g. <code>streamly</code>.")
    time_zone = models.CharField(max_length=60, default="UTC")
    delivery_mode = models.CharField(max_length=10, choices=DeliveryMode.choices, default=DeliveryMode.TEST)
    domains = models.JSONField(
        default=list,
        blank=True,
        help_text="Origins from which browsers may call the runtime API, e.g. https://www.example.com",
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["company", "name"], name="app_name_in_company")]
        verbose_name = "App"
        verbose_name_plural = "Apps"

    def __str__(self) -> str:
        return self.name


class Membership(models.Model):
    """A person's role: in a whole company (its administrators) or in one App."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="memberships")
    company = models.ForeignKey(Company, on_delete=models.CASCADE, related_name="memberships")
    app = models.ForeignKey(App, null=True, blank=True, on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=16, choices=Role.choices)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["user", "app"], name="membership_once"),
            models.UniqueConstraint(
                fields=["user", "company"], name="membership_of_company_once", condition=Q(app=None)
            ),
            models.CheckConstraint(
                condition=Q(role=Role.COMPANY_ADMIN, app=None) | (~Q(role=Role.COMPANY_ADMIN) & Q(app__isnull=False)),
                name="membership_scope_fits_role",
            ),
        ]
        verbose_name = "user with a role"
        verbose_name_plural = "users and roles"

    def __str__(self) -> str:
        return f"{self.user}: {self.get_role_display()}"


def new_token(prefix: str) -> str:
    """Return a random token of 256 bits that says what it is: `prefix` and 43 characters."""
    return f"{prefix}_{secrets.token_urlsafe(32)}"


def token_hash(token: str) -> str:
    """Return what is stored of a random token. It has 256 bits, so a plain hash is enough and can be looked up."""
    # JSON can spell halves of a character, which no token has and UTF-8 refuses.
    return hashlib.sha256(token.encode(errors="surrogatepass")).hexdigest()


class Invitation(models.Model):
    """A role that waits for its person. The link is shown once and sent; only its hash is kept."""

    company = models.ForeignKey(Company, on_delete=models.CASCADE, related_name="invitations")
    app = models.ForeignKey(App, null=True, blank=True, on_delete=models.CASCADE, related_name="invitations")
    email = models.EmailField()
    role = models.CharField(max_length=16, choices=Role.choices)
    token_hash = models.CharField(max_length=64, unique=True, editable=False)
    invited_by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField()
    accepted_at = models.DateTimeField(null=True)
    revoked_at = models.DateTimeField(null=True)

    VALID_FOR = timedelta(days=7)

    def __str__(self) -> str:
        return f"{self.email}: {self.get_role_display()}"

    @property
    def is_open(self) -> bool:
        """Whether the link still works."""
        return self.accepted_at is None and self.revoked_at is None and self.expires_at > timezone.now()


class KeyKind(models.TextChoices):
    """Who holds an API key."""

    SECRET = "secret", "Secret key (servers)"
    PUBLISHABLE = "publishable", "Publishable key (browsers)"


class ApiKey(models.Model):
    """A key to the runtime API. It is shown once; its hash is kept. Several are valid at once, so that they can be rotated."""

    app = models.ForeignKey(App, on_delete=models.CASCADE, related_name="api_keys")
    kind = models.CharField(max_length=12, choices=KeyKind.choices)
    hint = models.CharField(max_length=16, editable=False)  # the first characters, to tell keys apart
    hashed = models.CharField(max_length=64, unique=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    created_by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    last_used_at = models.DateTimeField(null=True, editable=False)
    revoked_at = models.DateTimeField(null=True, editable=False)

    class Meta:
        verbose_name = "API key"
        verbose_name_plural = "API keys"

    PREFIXES: ClassVar[dict[str, str]] = {KeyKind.SECRET: "sk", KeyKind.PUBLISHABLE: "pk"}

    def __str__(self) -> str:
        return f"{self.hint}…"

    @classmethod
    def make(cls, app: App, kind: str, created_by: User | None = None) -> tuple["ApiKey", str]:
        """Make a key. Returns the row and the key itself, which nobody can see again."""
        token = new_token(cls.PREFIXES[kind])
        return cls.objects.create(
            app=app, kind=kind, hint=token[:8], hashed=token_hash(token), created_by=created_by
        ), token


class IdentitySecret(Sealed):
    """What the App's server signs its subscribers' identity with (HS256). Two may be valid at once."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    app = models.ForeignKey(App, on_delete=models.CASCADE, related_name="identity_secrets")
    created_at = models.DateTimeField(auto_now_add=True)
    created_by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    revoked_at = models.DateTimeField(null=True, editable=False)

    def __str__(self) -> str:
        return f"Identity secret of {self.created_at:%d %B %Y}"

    @classmethod
    def make(cls, app: App, created_by: User | None = None) -> tuple["IdentitySecret", str]:
        """Make a secret. Returns the row and the secret itself, which nobody can see again."""
        token = new_token("is")
        row = cls(app=app, created_by=created_by)
        row.seal({"secret": token})
        row.save(force_insert=True)
        return row, token

"""People, companies, Apps, keys: everything else in the house belongs to one App."""

import base64
import hashlib
import secrets
import uuid
from datetime import timedelta
from typing import Any, ClassVar
from urllib.parse import quote, urlencode
from zoneinfo import ZoneInfo

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.contrib.auth.models import PermissionsMixin
from django.db import models
from django.db.models import Q
from django.utils import timezone
from django_otp.models import Device, DeviceManager, ThrottlingMixin
from django_otp.oath import TOTP

from engage.tenancy.roles import Role
from engage.vault.models import Sealed, SealedManager


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
    second_factor_required = models.BooleanField(default=False)
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

    @property
    def zone(self) -> ZoneInfo:
        """The time zone, or UTC where it names none that exists: a typing error must not stop the nights of all Apps."""
        try:
            return ZoneInfo(self.time_zone)
        except (KeyError, ValueError, OSError):
            return ZoneInfo("UTC")


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


class AuthenticatorManager(SealedManager["Authenticator"], DeviceManager):  # type: ignore[misc]
    """Finds authenticators as django-otp does, without their secrets."""


class Authenticator(Sealed, ThrottlingMixin, Device):  # type: ignore[misc]
    """An authenticator app that is somebody's second factor, and the recovery codes that stand in for it.

    django-otp knows it as a device: the session says which one was shown, and wrong codes make it wait for 1, 2, 4, ...
    seconds, wherever they come from. It is `confirmed` once its first code was right.
    """

    RECOVERY_CODES = 10
    STEP = 30  # seconds
    # A clock may be wrong by a step, and a code may be typed slowly.
    TOLERANCE = 1

    last_step = models.BigIntegerField(default=-1)  # of the last code that was taken: none counts twice
    recovery_hashes = models.JSONField(default=list)
    created_at = models.DateTimeField(auto_now_add=True)

    objects: ClassVar[AuthenticatorManager] = AuthenticatorManager()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["user", "confirmed"], name="authenticator_once")]

    def __str__(self) -> str:
        return f"Authenticator app of {self.user}"

    @classmethod
    def make(cls, user: User) -> "Authenticator":
        """Make one with a new secret that waits for its first code; one that waited before is gone."""
        cls.objects.filter(user=user, confirmed=False).delete()
        row: Authenticator = cls.objects.create(user=user, confirmed=False)
        # RFC 4226 recommends 160 bits.
        row.seal({"secret": base64.b32encode(secrets.token_bytes(20)).decode()})
        row.save(update_fields=["sealed", "secrets_set"])
        return row

    @property
    def address(self) -> str:
        """What the QR code holds: https://github.com/google/google-authenticator/wiki/Key-Uri-Format."""
        label = quote(f"Engage:{self.user.email}")
        return f"otpauth://totp/{label}?{urlencode({'secret': self.secrets()['secret'], 'issuer': 'Engage'})}"

    def new_recovery_codes(self) -> list[str]:
        """Make codes in place of those before, e.g. `ABCD-EFGH-IJKL-MNOP`; only their hashes are kept (not saved yet)."""
        codes = [base64.b32encode(secrets.token_bytes(10)).decode() for _ in range(self.RECOVERY_CODES)]
        self.recovery_hashes = [token_hash(code) for code in codes]
        return ["-".join(code[part : part + 4] for part in range(0, 16, 4)) for code in codes]

    def verify_token(self, token: str) -> bool:
        """Take a code of the app or a recovery code, once. The caller holds a lock on the row."""
        allowed, _ = self.verify_is_allowed()
        if not allowed:
            return False
        code = "".join(token.split()).replace("-", "").upper()
        taken = self._take_recovery_code(code) or self._take_code(code)
        if taken:
            self.throttle_reset(commit=False)
        else:
            self.throttle_increment(commit=False)
        self.save(
            update_fields=[
                "last_step",
                "recovery_hashes",
                "throttling_failure_timestamp",
                "throttling_failure_count",
            ]
        )
        return taken

    def _take_code(self, code: str) -> bool:
        totp = TOTP(base64.b32decode(self.secrets()["secret"]), self.STEP)
        totp.time = timezone.now().timestamp()
        is_one = len(code) == totp.digits and code.isascii() and code.isdigit()
        if not is_one or not totp.verify(int(code), self.TOLERANCE, self.last_step + 1):
            return False
        self.last_step = totp.t()
        return True

    def _take_recovery_code(self, code: str) -> bool:
        hashed = token_hash(code)
        if hashed not in self.recovery_hashes:
            return False
        self.recovery_hashes = [other for other in self.recovery_hashes if other != hashed]
        return True

    def get_throttle_factor(self) -> int:
        """Return the seconds of the first wait."""
        return 1


class Invitation(models.Model):
    """A role that waits for its person. The link is shown once and sent; only its hash is kept."""

    company = models.ForeignKey(Company, on_delete=models.CASCADE, related_name="invitations")
    app = models.ForeignKey(App, null=True, blank=True, on_delete=models.CASCADE, related_name="invitations")
    email = models.EmailField()
    role = models.CharField(max_length=16, choices=Role.choices)
    token_hash = models.CharField(max_length=64, unique=True, editable=False)
    # Who made the link that works now, and so knows it.
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

    def waiting(self) -> "models.QuerySet[Invitation]":
        """Its row while it can be accepted, renewed or revoked: who changes that looks at the count."""
        return Invitation.objects.filter(pk=self.pk, accepted_at=None, revoked_at=None)

    def revoke(self) -> bool:
        """Make the link worthless. Returns whether it was still to be accepted or renewed."""
        return bool(self.waiting().update(revoked_at=timezone.now()))


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

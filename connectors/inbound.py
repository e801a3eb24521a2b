"""The vocabulary in which a vendor's webhooks are declared: what came, whether to believe it, and what it says of whom.

A connector that takes webhooks sets `inbound` to a subclass of `Inbound`. Nothing here touches the network or the database:
`sync.inbound` receives, stores and processes; what a message means is read later, by `read()`, which may ask the vendor.
"""

import hashlib
import hmac
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar

import jwt

from connectors.answers import Answer, json_or_text
from connectors.base import Json, SigningSecretField, Values

if TYPE_CHECKING:
    from connectors.http import Api

LARGEST_BODY = 1024 * 1024
"""Bytes of one request. Stripe's and Apple's largest events have a tenth of it."""
TOLERANCE = timedelta(minutes=5)
"""How old a signed time may be, and how far ahead: what Stripe and Recurly name in their documentation."""
CLOCKS_APART = timedelta(seconds=60)
"""How far the vendor's clock and ours may be apart where a token says from when until when it is good."""
LONGEST_KEY_ID = 200


class Forged(Exception):
    """The request does not show that it comes from the vendor: nothing of it is kept. The text is for our log alone."""


class NoKey(Exception):
    """The key that the vendor publishes cannot be had now, so nothing can be believed: the vendor is asked to send again."""


class Unreadable(Exception):
    """The vendor sent this, and it is not as documented. The text is a sentence for people; the request is kept."""


@dataclass(frozen=True)
class Request:
    """A webhook as it came. `body` is raw: signatures are checked on what was signed, never on what was decoded."""

    method: str
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)  # names in lower case
    query: tuple[tuple[str, str], ...] = ()
    received_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    key: Any = None  # the published key that `Inbound.signed_by` names, once it was fetched

    def header(self, name: str) -> str:
        """Return a header, whatever the case of its name; empty where it is missing."""
        return self.headers.get(name.lower(), "")

    def parameter(self, name: str) -> str:
        """Return a query parameter; empty where it is missing.

        Raises:
            Forged: it came twice, so that we and the vendor might read different ones.

        """
        values = [value for found, value in self.query if found == name]
        if len(values) > 1:
            raise Forged(f"The parameter {name} came twice.")
        return values[0] if values else ""

    def json(self) -> Answer:
        """Return the body as JSON.

        Raises:
            Unreadable: it is none, or no object or list, or nested deeper than anybody needs.

        """
        data = json_or_text(self.body)
        if not isinstance(data, (dict, list)):
            raise Unreadable("The body is not the JSON that is documented.")
        return Answer(data, where="webhook")

    @property
    def fingerprint(self) -> str:
        """A name for exactly this content, for vendors that give a message none."""
        content = b"\0".join([self.method.encode(), repr(self.query).encode(), self.body])
        return f"sha256:{hashlib.sha256(content).hexdigest()}"


@dataclass(frozen=True)
class Published:
    """The key that a request says it is signed with, in a document that the vendor publishes.

    Args:
        host: one of `Connector.hosts()`. A request may choose among those, and names no other.
        path: the document's path there, in segments.
        key_id: which key of the document.
        keys: reads the document: key id -> key (`keys_of_set`); raises Undocumented.
        ends: until when a key is good, where it says so itself, as a certificate does.

    """

    host: str
    path: tuple[str, ...]
    key_id: str
    keys: Callable[[Answer], Mapping[str, Any]]
    ends: Callable[[Any], datetime] | None = None


@dataclass(frozen=True)
class Message:
    """One event that a request tells of. `id` is the vendor's: the same in every delivery of the same event."""

    id: str
    type: str
    payload: Json = field(default_factory=dict)
    happened_at: datetime | None = None  # as the vendor says


@dataclass(frozen=True)
class Learned:
    """What a message says of a subscriber.

    Args:
        traits: name -> value; None removes one.
        found_by: id traits and their values, in order of preference: the first that anybody has decides.
        user_id: the App's own id of the subscriber, looked for last.
        adds: a subscriber with that `user_id` is added where there is none.
        subject: what the traits describe ("subscription sub_1"); of one subject the newest word counts.
        as_of: the moment for which they are true, as the vendor says. None: they were just read at the vendor.

    """

    traits: Mapping[str, Any]
    found_by: tuple[tuple[str, str], ...] = ()
    user_id: str = ""
    adds: bool = False
    subject: str = ""
    as_of: datetime | None = None


class Inbound(ABC):
    """A vendor's webhooks. `signed_by`, `verify` and `messages` are pure; `read` may ask the vendor, by reads only.

    Most vendors' messages arrive late, twice and in any order, so `read` had better take a message for a hint and return
    what the vendor shows now.
    """

    setup_steps: ClassVar[tuple[str, ...]]  # how a person makes the vendor send to the URL that the console shows
    types: ClassVar[frozenset[str]]  # the types of messages that are read; others are kept and ignored
    methods: ClassVar[frozenset[str]] = frozenset({"POST"})
    believed_by: ClassVar[str] = "webhook_secret"  # the setting without which nothing can be believed

    def challenge(self, request: Request, settings: Values) -> str | None:
        """Return what the vendor wants to be answered before it begins to send; None where this is an ordinary request."""
        return None

    def signed_by(self, request: Request, settings: Values) -> Published | None:
        """Return the published key that `verify` needs as `request.key`; None where the vendor signs with a shared secret.

        Raises:
            Forged: it names none, or could not be believed whatever key it names.

        """
        return None

    @abstractmethod
    def verify(self, request: Request, settings: Values) -> None:
        """Find out whether the request comes from the vendor.

        Raises:
            Forged: it does not show that.

        """

    @abstractmethod
    def messages(self, request: Request, settings: Values) -> Iterable[Message]:
        """Return the events that a verified request tells of.

        Raises:
            Unreadable, Undocumented: it is not as documented.

        """

    def reply(self, request: Request) -> str:
        """Return the text with which the vendor wants a request of its own to be acknowledged; most want none. Raises nothing."""
        return ""

    @abstractmethod
    def read(self, message: Message, api: "Api") -> Iterable[Learned]:
        """Return what a message says of which subscriber; nothing where it says nothing.

        Raises:
            Failure: the vendor could not be asked, or says no; `Temporary` is tried again.
            Unreadable: it is not as documented.

        """


def signing_secrets(settings: Values, name: str = Inbound.believed_by) -> tuple[str, ...]:
    """Return the secrets of a SigningSecretField.

    Raises:
        Forged: none is stored, so nothing can be believed.

    """
    secrets = SigningSecretField.values_in(str(settings.get(name) or ""))
    if not secrets:
        raise Forged("No signing secret is stored.")
    return secrets


def check_hmac(secrets: Iterable[str], signed: bytes, given: Iterable[str], *, algorithm: str = "sha256") -> None:
    """Compare hexadecimal HMACs in constant time, each secret with each signature that came.

    Raises:
        Forged: none fits.

    """
    expected = [hmac.new(secret.encode(), signed, algorithm).hexdigest().encode() for secret in secrets]
    came = [signature.strip().encode("utf-8", "replace") for signature in given]
    if not any([hmac.compare_digest(one, other) for one in expected for other in came]):  # noqa: C419 - compare all
        raise Forged("No signature fits.")


def check_key(secrets: Iterable[str], given: str) -> None:
    """Compare a key that the vendor sends along, for vendors that do not sign.

    Raises:
        Forged: it is none of the secrets.

    """
    came = given.encode("utf-8", "replace")
    if not any([hmac.compare_digest(secret.encode(), came) for secret in secrets]):  # noqa: C419 - compare all
        raise Forged("The key does not fit.")


def keys_of_set(document: Answer) -> dict[str, Any]:
    """Return the public keys of a JSON Web Key Set by their ids (RFC 7517, 5); one that we cannot use is left out."""
    keys = {}
    for row in document.rows("keys"):
        if isinstance(row.get("kid"), str) and row.get("kty") in {"RSA", "EC"} and row.get("use", "sig") == "sig":
            with suppress(jwt.PyJWTError):
                keys[row["kid"]] = jwt.PyJWK(row.data).key
    return keys


def key_named(token: str) -> str:
    """Return the id of the key with which a JSON Web Token says that it is signed. Nothing is believed yet.

    Raises:
        Forged: it is no token, or names none.

    """
    try:
        name = jwt.get_unverified_header(token).get("kid")
    except jwt.PyJWTError:
        name = None
    if not isinstance(name, str) or not 0 < len(name) <= LONGEST_KEY_ID:
        raise Forged("It carries no token that names the key it is signed with.")
    return name


def check_token(token: str, key: Any, *, algorithm: str, issuer: str, audience: str | None) -> Json:
    """Return the claims of a JSON Web Token that is signed with this key, and is good now, for us.

    Args:
        algorithm: the only one that counts, whatever the token says.
        audience: for whom it must be made; None where the vendor's tokens name nobody.

    Raises:
        Forged: it is not.

    """
    needed = ["exp", "iss", *(["iat", "aud"] if audience else [])]
    try:
        return dict(
            jwt.decode(
                token,
                key,
                algorithms=[algorithm],
                issuer=issuer,
                audience=audience,
                leeway=CLOCKS_APART,
                options={"require": needed, "strict_aud": True},
            )
        )
    except (jwt.PyJWTError, ValueError, TypeError) as wrong:
        raise Forged(f"Its token does not count ({type(wrong).__name__}).") from None


def check_moment(request: Request, seconds: str, *, unit: float = 1.0, tolerance: timedelta = TOLERANCE) -> None:
    """See that a signed Unix time is not long ago, nor ahead: a recorded request does not count for ever.

    Args:
        seconds: digits as they came.
        unit: seconds that one step of them is (0.001: milliseconds).

    Raises:
        Forged: it is none, or too far away.

    """
    if not (seconds.isascii() and seconds.isdecimal() and len(seconds) <= 16):
        raise Forged("The signed time is no time.")
    if abs(request.received_at.timestamp() - int(seconds) * unit) > tolerance.total_seconds():
        raise Forged("The signed time is too far away.")


def moment(value: Any) -> datetime | None:
    """Return a time that a vendor gives as ISO 8601 or as Unix seconds; None where it is none."""
    try:
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return datetime.fromtimestamp(value, UTC)
        found = datetime.fromisoformat(str(value))
    except (ValueError, OverflowError, OSError):
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)

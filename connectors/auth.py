"""Ways of signing a request, shared by connectors: the only places where credentials touch one."""

import json
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar
from urllib.parse import quote

import jwt
import requests
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from requests.auth import AuthBase

from connectors.failures import BadCredentials, Undocumented
from connectors.placeholders import put_secrets, put_secrets_in_json

if TYPE_CHECKING:
    from connectors.answers import Answer
    from connectors.http import Api


class HeaderKey(AuthBase):
    """Puts a key into one header, with an optional prefix ("Bearer ", "Token token=")."""

    def __init__(self, header: str, key: str, prefix: str = "") -> None:
        self.header, self.value = header, prefix + key

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Return the request, signed."""
        request.headers[self.header] = self.value
        return request


class BearerKey(HeaderKey):
    """Puts a key into the usual header, as a bearer token (RFC 6750, 2.1)."""

    def __init__(self, key: str) -> None:
        super().__init__("Authorization", key, "Bearer ")


class QueryKey(AuthBase):
    """Puts a key into the query, for vendors that want it there. What is kept of a request has it masked."""

    def __init__(self, name: str, key: str) -> None:
        self.name, self.key = name, key

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Return the request, signed."""
        request.prepare_url(str(request.url), {self.name: self.key})
        return request


PLACE = "{the key}"
"""Stands in a path where the key goes."""


class PathKey(AuthBase):
    """Puts a key into the path, for a vendor that has no other place for it. Requests are built and noted without."""

    def __init__(self, key: str) -> None:
        self.key = key

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Return the request with the key in its place."""
        request.url = str(request.url).replace(quote(PLACE, safe=""), quote(self.key, safe=""))
        return request


class NoAuth(AuthBase):
    """For connectors without credentials: without it, requests would look for some in `~/.netrc`."""

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Return the request as it is."""
        return request


@dataclass(frozen=True)
class Token:
    """An access token, and for how many seconds from now the vendor says that it is good."""

    value: str = field(repr=False)
    seconds: float

    def __post_init__(self) -> None:
        """Refuse what no header can carry.

        Raises:
            Undocumented: the value is empty or no printable ASCII (RFC 6749, A.12), or the time is none.

        """
        is_text = isinstance(self.value, str) and self.value.isascii() and self.value.isprintable()
        if not (is_text and self.value.strip() and math.isfinite(self.seconds) and self.seconds > 0):
            raise Undocumented("The vendor gave out no access token as its documentation has it.")


class TokenSource:
    """How access tokens are asked for: `auth()` of a connector returns one where the vendor signs by tokens.

    `Api` keeps a token for the attempt, and for the account's next ones (`connectors.tokens`), until shortly before it
    expires. What `fetch` sends and is answered is kept nowhere.
    """

    name: ClassVar[str] = "token"
    """Tells the tokens of one connector apart. Sources of the same name share their tokens."""
    host: str = "token"
    """Which of `Connector.hosts()` gives them out; what signs the request there is `Connector.auth_at()`."""

    def fetch(self, api: "Api") -> Token:
        """Ask for a token, by reads only. `api` goes to `host`; every refusal becomes BadCredentials."""
        raise NotImplementedError

    def bearing(self, token: str) -> AuthBase:
        """Return what signs a request with this token."""
        return BearerKey(token)


class ClientCredentials(TokenSource):
    """OAuth 2.0, client credentials (RFC 6749, 4.4): id and secret stand in the body, as a form.

    Args:
        path: of the token endpoint, at `host`.
        client_id: the application.
        client_secret: its secret.
        lasts: seconds for which a token is good where the answer does not say; None: it always says.
        more: further fields, e.g. the scope.

    """

    def __init__(
        self, *path: str, client_id: str, client_secret: str, lasts: float | None = None, more: Mapping[str, str] = {}
    ) -> None:
        self.path, self.lasts = path, lasts
        self.form = {
            "grant_type": "client_credentials",
            "client_id": client_id,
            "client_secret": client_secret,
            **more,
        }

    def fetch(self, api: "Api") -> Token:
        """Ask for a token."""
        return token_in(api.read(*self.path, form=self.form), lasts=self.lasts)


class ServiceAccount(TokenSource):
    """OAuth 2.0 by an assertion that a Google service account's key signs (RFC 7523, 2.1).

    https://developers.google.com/identity/protocols/oauth2/service-account#httprest. Whatever `token_uri` the key file names,
    the token is asked for at `host`.

    Args:
        key_file: the JSON of the account's key.
        scope: what the token is for.
        audience: the token endpoint, as the vendor names it.

    """

    lasts = 3600  # seconds for which an assertion is good: Google's longest

    def __init__(self, *path: str, key_file: str, scope: str, audience: str) -> None:
        self.path, self.key_file, self.scope, self.audience = path, key_file, scope, audience

    def fetch(self, api: "Api") -> Token:
        """Sign an assertion, and exchange it for a token."""
        form = {"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": self.assertion(time.time())}
        return token_in(api.read(*self.path, form=form))

    def assertion(self, now: float) -> str:
        """Return the signed assertion.

        Raises:
            BadCredentials: the key file holds no key that can sign.

        """
        try:
            key = json.loads(self.key_file)
            claims = {"iss": key["client_email"], "scope": self.scope, "aud": self.audience, "iat": int(now)}
            signed = {**claims, "exp": int(now) + self.lasts}
            return jwt.encode(
                signed, _rsa_key(key["private_key"]), algorithm="RS256", headers={"kid": key["private_key_id"]}
            )
        except (ValueError, KeyError, TypeError, AttributeError, UnsupportedAlgorithm, jwt.PyJWTError):
            raise BadCredentials("The service account's key file holds no private key. Enter it again.") from None


def _rsa_key(pem: str) -> RSAPrivateKey:
    """Read a key that was checked when it was typed: to check its primes takes eighty times as long as to sign."""
    key = load_pem_private_key(pem.encode(), None, unsafe_skip_rsa_key_validation=True)
    if not isinstance(key, RSAPrivateKey):
        raise TypeError("It is no RSA key.")
    return key


def token_in(answer: "Answer", *, lasts: float | None = None) -> Token:
    """Read a token answer (RFC 6749, 5.1); `lasts` counts where it names no `expires_in`.

    Raises:
        Undocumented: there is none in it.

    """
    seconds = lasts if lasts is not None and answer.get("expires_in") is None else answer["expires_in"]
    try:
        return Token(answer["access_token"], float(seconds) if isinstance(seconds, (int, float, str)) else math.nan)
    except ValueError:
        raise Undocumented("The vendor does not say for how long its access token is good.") from None


class PutSecrets(AuthBase):
    """Puts secrets into the places that a request's headers and JSON body keep for them (`connectors.placeholders`)."""

    def __init__(self, secrets: Mapping[str, str]) -> None:
        self.secrets = secrets

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Return the request, signed.

        Raises:
            BadCredentials: one of the secrets is not there.

        """
        try:
            for name, value in request.headers.items():
                request.headers[name] = put_secrets(str(value), self.secrets)
            if isinstance(request.body, bytes):
                request.body = json.dumps(put_secrets_in_json(json.loads(request.body), self.secrets)).encode()
        except KeyError as missing:
            raise BadCredentials(f"The secret {missing} is not stored. Enter it in the settings.") from None
        return request

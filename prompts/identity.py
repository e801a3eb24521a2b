"""Who a browser speaks for: a short-lived JWT that the App's server signed with the App's identity secret.

`sub` is the user id, `aud` the publishable key that the page uses, `exp` at most an hour ahead. HS256 and nothing else:
the algorithm is ours to choose, never the token's (RFC 8725, section 3.1).
"""

import time
from typing import Any

import jwt
from django.db.models import BigAutoField

from engage.prepared import Given, Prepared
from engage.tenancy.models import App, IdentitySecret
from sync.traits import wrong_user_id

ALGORITHM = "HS256"
LONGEST = 60 * 60
"""Seconds that a token may live."""
LEEWAY = 30
"""Seconds by which two clocks may differ."""
LONGEST_TOKEN = 4096
# The manager leaves the sealed column in the database; here it is wanted, in one statement.
_SECRETS = Prepared(
    lambda: IdentitySecret.objects.filter(app=Given("app", BigAutoField()), revoked_at=None).defer(None)
)


class Unsigned(Exception):
    """The identity does not prove who the person is. `reason` is a word for the count of refused requests."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


def verify(app: App, publishable_key: str, token: str) -> str:
    """Return the user id that `token` was signed for.

    Every valid identity secret of the App is tried, so that secrets can be rotated.

    Raises:
        Unsigned: it is none of the App's tokens, or is for another key, expired, or valid for more than an hour.

    """
    if len(token) > LONGEST_TOKEN:
        raise Unsigned("malformed", "The identity is not a JWT.")
    claims: dict[str, Any] | None = None
    for secret in _secrets(app):
        try:
            claims = jwt.decode(
                token,
                secret,
                algorithms=[ALGORITHM],
                audience=publishable_key,
                leeway=LEEWAY,
                options={"require": ["sub", "aud", "exp"]},
            )
        except jwt.InvalidSignatureError:
            continue
        except jwt.InvalidTokenError as error:
            raise _explained(error) from None
        break
    if claims is None:
        raise Unsigned("signature", "The identity was not signed with an identity secret of this App.")
    if not isinstance(claims["exp"], (int, float)):  # PyJWT takes "1700000000" as well
        raise Unsigned("claims", "The identity's exp is not a number.")
    if claims["exp"] - time.time() > LONGEST + LEEWAY:
        raise Unsigned("lifetime", "The identity is valid for more than an hour.")
    user_id: str = claims["sub"]
    wrong = wrong_user_id(user_id)
    if wrong:
        raise Unsigned("sub", f"The identity's sub is no user id. {wrong}")
    return user_id


def sign(secret: str, user_id: str, publishable_key: str, seconds: int = 600) -> str:
    """Return an identity as an App's server makes it."""
    claims = {"sub": user_id, "aud": publishable_key, "exp": int(time.time()) + seconds}
    return jwt.encode(claims, secret, algorithm=ALGORITHM)


def _secrets(app: App) -> list[str]:
    rows = [row for (row,) in _SECRETS(app=app.pk) if row]
    return [row.secrets()["secret"] for row in sorted(rows, key=lambda row: row.created_at, reverse=True)]


def _explained(error: jwt.InvalidTokenError) -> Unsigned:
    match error:
        case jwt.ExpiredSignatureError():
            return Unsigned("expired", "The identity has expired.")
        case jwt.InvalidAudienceError():
            return Unsigned("aud", "The identity's aud is not the publishable key that this request uses.")
        case jwt.MissingRequiredClaimError():
            return Unsigned("claims", "The identity lacks sub, aud or exp.")
        case jwt.ImmatureSignatureError():
            return Unsigned("early", "The identity is not valid yet. Is the server's clock right?")
        case jwt.InvalidAlgorithmError():
            return Unsigned("algorithm", f"The identity is not signed with {ALGORITHM}.")
        case _:
            return Unsigned("malformed", "The identity is not a JWT with sub, aud and exp.")

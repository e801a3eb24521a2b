"""Who a browser speaks for."""

import json
import time
from typing import Any

import jwt
import pytest
from django.utils import timezone

from engage.tenancy.models import App, IdentitySecret
from prompts import identity
from prompts.identity import Unsigned

KEY = "pk_the-publishable-key-of-the-tests"


@pytest.fixture
def secret(app: App) -> str:
    return IdentitySecret.make(app)[1]


def token(secret: str, algorithm: str = "HS256", **claims: Any) -> str:
    """Make a token; as its parts, since PyJWT refuses to make some of the wrong ones."""
    usual = {"sub": "user-1", "aud": KEY, "exp": int(time.time()) + 300}
    told = {name: value() if callable(value) else value for name, value in {**usual, **claims}.items()}
    told = {name: value for name, value in told.items() if value is not None}
    return jwt.api_jws.encode(json.dumps(told).encode(), secret, algorithm)


def test_a_signed_identity_says_who_it_is(app: App, secret: str) -> None:
    assert identity.verify(app, KEY, token(secret)) == "user-1"
    assert identity.verify(app, KEY, identity.sign(secret, "user-2", KEY)) == "user-2"


def test_both_secrets_are_valid_while_one_replaces_the_other(app: App, secret: str) -> None:
    _, newer = IdentitySecret.make(app)
    assert identity.verify(app, KEY, token(secret)) == "user-1"
    assert identity.verify(app, KEY, token(newer)) == "user-1"


def test_a_revoked_secret_signs_nothing_any_more(app: App, secret: str) -> None:
    IdentitySecret.objects.update(revoked_at=timezone.now())
    with pytest.raises(Unsigned) as refused:
        identity.verify(app, KEY, token(secret))
    assert refused.value.reason == "signature"


def test_another_apps_secret_signs_nothing(app: App, other_app: App, secret: str) -> None:
    IdentitySecret.make(other_app)
    with pytest.raises(Unsigned) as refused:
        identity.verify(other_app, KEY, token(secret))
    assert refused.value.reason == "signature"


def test_thirty_seconds_between_two_clocks_do_not_matter(app: App, secret: str) -> None:
    assert identity.verify(app, KEY, token(secret, exp=int(time.time()) - 20)) == "user-1"
    assert identity.verify(app, KEY, token(secret, exp=int(time.time()) + 3610)) == "user-1"


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"exp": lambda: int(time.time()) - 60}, "expired"),
        ({"exp": lambda: int(time.time()) + 7200}, "lifetime"),
        ({"exp": None}, "claims"),
        ({"sub": None}, "claims"),
        ({"aud": None}, "claims"),
        ({"aud": "pk_another"}, "aud"),
        ({"sub": ""}, "sub"),
        ({"sub": "x" * 201}, "sub"),
        ({"sub": "a\nb"}, "sub"),
        ({"sub": 7}, "malformed"),
        ({"exp": "soon"}, "malformed"),
        ({"exp": lambda: str(int(time.time()) + 300)}, "claims"),
        ({"nbf": lambda: int(time.time()) + 3000}, "early"),
    ],
)
def test_what_does_not_prove_a_person_is_refused(app: App, secret: str, claims: dict[str, Any], reason: str) -> None:
    with pytest.raises(Unsigned) as refused:
        identity.verify(app, KEY, token(secret, **claims))
    assert refused.value.reason == reason


@pytest.mark.parametrize("algorithm", ["HS384", "HS512", "none"])
@pytest.mark.filterwarnings("ignore::jwt.warnings.InsecureKeyLengthWarning")
def test_the_algorithm_is_ours_to_choose(app: App, secret: str, algorithm: str) -> None:
    with pytest.raises(Unsigned):
        identity.verify(app, KEY, token(secret if algorithm != "none" else "", algorithm))


@pytest.mark.parametrize("text", ["", "nonsense", "a.b.c", "é.é.é", "x" * 5000])
def test_what_is_no_token_is_refused(app: App, secret: str, text: str) -> None:
    with pytest.raises(Unsigned):
        identity.verify(app, KEY, text)


def test_an_app_without_a_secret_knows_nobody(app: App) -> None:
    with pytest.raises(Unsigned):
        identity.verify(app, KEY, token("is_somebody-elses-secret-of-32-characters"))

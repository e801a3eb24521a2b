"""Apple's keys and ours: what we sign, and what Apple has signed.

Apple's own library (https://github.com/apple/app-store-server-library-python) checks signatures and makes those of offers; nothing
of its HTTP is used, neither its client nor its online look for withdrawn certificates.
"""

import hashlib
import re
import ssl
import time
from base64 import b64decode
from pathlib import Path
from typing import Any
from uuid import UUID

import jwt
from appstoreserverlibrary.jws_signature_creator import (
    IntroductoryOfferEligibilitySignatureCreator,
    PromotionalOfferV2SignatureCreator,
)
from appstoreserverlibrary.models.Environment import Environment
from appstoreserverlibrary.promotional_offer import PromotionalOfferSignatureCreator
from appstoreserverlibrary.signed_data_verifier import SignedDataVerifier
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from django import forms
from django.conf import settings as django_settings
from requests import PreparedRequest
from requests.auth import AuthBase

from connectors.answers import Answer
from connectors.base import Json, SecretField, Values
from connectors.failures import BadCredentials, Undocumented

# "Apple Root CA - G3 Root" of https://www.apple.com/certificateauthority/
ROOT_FILE = Path(__file__).with_name("root_ca_g3.pem")
ROOT_SHA256 = "63343abfb89a6a03ebb57e9b3f5fa7be7c4f5c756f3017b3a8c488c3653e9179"
AUDIENCE = "appstoreconnect-v1"
LASTS = 300  # seconds: 60 minutes at most for the server API, 20 for App Store Connect's
PEM = re.compile(r"-----BEGIN PRIVATE KEY-----([A-Za-z0-9+/=\s]+)-----END PRIVATE KEY-----")


def apple_root() -> bytes:
    """Return Apple's root certificate as it is shipped.

    Raises:
        RuntimeError: the file is another one.

    """
    found = _certificate(ROOT_FILE)
    if hashlib.sha256(found).hexdigest() != ROOT_SHA256:
        raise RuntimeError(f"{ROOT_FILE.name} is not Apple Root CA - G3.")
    return found


def _certificate(file: Path) -> bytes:
    text = file.read_text()
    return ssl.PEM_cert_to_DER_cert(text[text.index("-----BEGIN") :])


ROOTS = [apple_root()]
"""Whom we believe: what leads to none of them is not Apple's."""


def roots() -> list[bytes]:
    """Return whom we believe: Apple; in its place a sandbox, where an operator has put one there.

    ENGAGE_APPLE_ROOT counts for nothing unless ENGAGE_VENDOR_URLS sends Apple's requests elsewhere. A file of it that holds no
    certificate leaves nobody to believe.
    """
    stand_in = django_settings.ENGAGE_APPLE_ROOT
    if not stand_in or "apple" not in django_settings.ENGAGE_VENDOR_URLS:
        return list(ROOTS)
    try:
        return [_certificate(Path(stand_in))]
    except (OSError, ValueError):
        return []


class KeyField(SecretField):
    """A private key of Apple's (a .p8 file): EC P-256 in PEM, whose line ends a form field may have lost."""

    def clean(self, value: Any) -> Any:
        """Return the key as PEM; refuse what is none."""
        text = super().clean(value)
        if not text:
            return text
        found = PEM.fullmatch(text.strip())
        body = "".join(found[1].split()) if found else ""
        lines = [body[at : at + 64] for at in range(0, len(body), 64)]
        pem = "\n".join(["-----BEGIN PRIVATE KEY-----", *lines, "-----END PRIVATE KEY-----", ""])
        try:
            b64decode(body, validate=True)
            key: object = load_pem_private_key(pem.encode(), password=None)
        except (ValueError, TypeError):
            key = None
        if not (isinstance(key, EllipticCurvePrivateKey) and isinstance(key.curve, SECP256R1)):
            raise forms.ValidationError("Paste the whole .p8 file that Apple gave you.", code="invalid")
        return pem

    @staticmethod
    def values_in(stored: str) -> tuple[str, ...]:
        """Return the file, and the key in one line."""
        found = PEM.fullmatch(stored.strip())
        return (stored, "".join(found[1].split())) if found else (stored,) if stored else ()


class Bearer(AuthBase):
    """A token that one of the keys signs, for one request.

    https://developer.apple.com/documentation/appstoreserverapi/generating-json-web-tokens-for-api-requests
    """

    def __init__(self, key_id: str, key: str, claims: Json) -> None:
        self.key_id, self.key, self.claims = key_id, key, claims

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        """Return the request, signed.

        Raises:
            BadCredentials: what is stored as the key cannot sign.

        """
        now = int(time.time())
        claims = {**self.claims, "aud": AUDIENCE, "iat": now, "exp": now + LASTS}
        try:
            token = jwt.encode(claims, self.key, algorithm="ES256", headers={"kid": self.key_id})
        except (ValueError, TypeError, jwt.PyJWTError):
            raise BadCredentials("Apple's private key cannot sign. Enter it again.") from None
        request.headers["Authorization"] = f"Bearer {token}"
        return request


# --- what Apple has signed ------------------------------------------------------------------------


def environment(settings: Values) -> Environment:
    """Return the environment as Apple names it."""
    return Environment.SANDBOX if settings["environment"] == "sandbox" else Environment.PRODUCTION


def _verifier(settings: Values) -> SignedDataVerifier:
    number = int(settings["app_apple_id"])
    return SignedDataVerifier(roots(), False, environment(settings), settings["bundle_id"], number)


def transaction(settings: Values, signed: str) -> Answer:
    """Return a transaction of this app and environment that Apple has signed; Undocumented where it is none."""
    return _believed(_verifier(settings).verify_and_decode_signed_transaction, signed, "signed transaction")


def renewal(settings: Values, signed: str) -> Answer:
    """Return what Apple has signed of a subscription's next renewal; Undocumented where it is none."""
    return _believed(_verifier(settings).verify_and_decode_renewal_info, signed, "signed renewal")


def notification(settings: Values, signed: str) -> Answer:
    """Return a notification of this app and environment that Apple has signed; Undocumented where it is none."""
    return _believed(_verifier(settings).verify_and_decode_notification, signed, "notification")


def _believed(verify: Any, signed: str, where: str) -> Answer:
    try:
        verify(signed)
        return Answer(jwt.decode(signed, options={"verify_signature": False}), where=where)
    except Exception as wrong:  # noqa: BLE001 - whatever a reader of forged data stumbles over, it is not Apple's
        raise Undocumented(f"The {where} is not signed by Apple for this app ({type(wrong).__name__}).") from None


# --- what we sign ---------------------------------------------------------------------------------


def promotional_jws(settings: Values, product: str, offer: str, transaction_id: str | None) -> str:
    """Return the signature of an offer for one purchase, as StoreKit 2 takes it."""
    return PromotionalOfferV2SignatureCreator(*_signer(settings)).create_signature(product, offer, transaction_id)


def introductory_jws(settings: Values, product: str, transaction_id: str, *, allowed: bool) -> str:
    """Return the signature that says whether a person may have a product's introductory offer."""
    creator = IntroductoryOfferEligibilitySignatureCreator(*_signer(settings))
    return creator.create_signature(product, allowed, transaction_id)


def promotional_signature(settings: Values, product: str, offer: str, person: str, nonce: UUID, millis: int) -> str:
    """Return the older signature of an offer: StoreKit 1, and StoreKit 2 up to iOS 26. It is good for 24 hours."""
    key, key_id, _, bundle = _signer(settings)
    creator = PromotionalOfferSignatureCreator(key, key_id, bundle)
    return str(creator.create_signature(product, offer, person, nonce, millis))


def _signer(settings: Values) -> tuple[bytes, str, str, str]:
    key = str(settings["iap_private_key"]).encode()
    try:
        load_pem_private_key(key, password=None)
    except (ValueError, TypeError):
        raise BadCredentials("Apple's private key cannot sign. Enter it again.") from None
    return key, settings["iap_key_id"], settings["issuer_id"], settings["bundle_id"]

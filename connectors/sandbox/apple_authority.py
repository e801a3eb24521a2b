"""Who signs in Apple's place: certificates of the shape of Apple's, which lead to another root than Apple's."""

import json
from base64 import b64decode, b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Self

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from connectors.sandbox.store import Json

# The extensions by which Apple's intermediate and leaf are known: https://www.apple.com/certificateauthority/
MARKS = ("1.2.840.113635.100.6.2.1", "1.2.840.113635.100.6.11.1")
NAMES = ("Sandbox root, not Apple's", "Sandbox intermediate", "Sandbox signing")
BEFORE, AFTER = timedelta(days=30), timedelta(days=3650)


def new_key() -> str:
    """Return a private key as Apple's .p8 files hold one."""
    return _pem(ec.generate_private_key(ec.SECP256R1()))


def _pem(key: ec.EllipticCurvePrivateKey) -> str:
    kind = serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, kind, serialization.NoEncryption()).decode()


@dataclass(frozen=True)
class Authority:
    """What signs as Apple does.

    Args:
        key: the leaf's private key, in PEM.
        chain: the certificates from the leaf to the root, each in base64, as a JWS carries them.

    """

    key: str
    chain: Sequence[str]

    @classmethod
    def new(cls, marks: tuple[str, str] = MARKS) -> Self:
        """Make one; `marks` are the extensions of its intermediate and its leaf."""
        keys = [ec.generate_private_key(ec.SECP256R1()) for _ in NAMES]
        chain: list[str] = []
        for level in range(len(keys)):
            made = _certificate(keys, level)
            if level:
                mark = x509.UnrecognizedExtension(x509.ObjectIdentifier(marks[level - 1]), b"\x05\x00")
                made = made.add_extension(mark, critical=False)
            signed = made.sign(keys[max(level - 1, 0)], hashes.SHA256())
            chain.insert(0, b64encode(signed.public_bytes(serialization.Encoding.DER)).decode())
        return cls(_pem(keys[-1]), chain)

    @property
    def root(self) -> bytes:
        """The root's certificate, in DER."""
        return b64decode(self.chain[-1])

    @property
    def root_pem(self) -> str:
        """The root's certificate, in PEM."""
        return x509.load_der_x509_certificate(self.root).public_bytes(serialization.Encoding.PEM).decode()

    def sign(self, payload: Json | bytes, **headers: Any) -> str:
        """Return a JWS as Apple makes one; `payload` may be bytes that are no JSON."""
        raw = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        return jwt.PyJWS().encode(raw, self.key, "ES256", headers={"x5c": list(self.chain), **headers})


def _certificate(keys: Sequence[ec.EllipticCurvePrivateKey], level: int) -> x509.CertificateBuilder:
    """Describe the root (level 0), the intermediate (1) or the leaf (2)."""
    names = [x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]) for name in NAMES]
    above, is_authority, now = max(level - 1, 0), level < len(keys) - 1, datetime.now(UTC)
    usage = x509.KeyUsage(
        digital_signature=not is_authority,
        key_cert_sign=is_authority,
        crl_sign=is_authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
    own, issuer = keys[level].public_key(), keys[above].public_key()
    return (
        x509.CertificateBuilder()
        .subject_name(names[level])
        .issuer_name(names[above])
        .public_key(own)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BEFORE)
        .not_valid_after(now + AFTER)
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(own), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer), critical=False)
    )

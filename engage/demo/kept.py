"""What the demo keeps between two starts: secrets, passwords and API keys, in one file that only its owner can read."""

import base64
import json
import os
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

PEOPLE = {
    "admin@streamly.example": "Company administrator",
    "designer@streamly.example": "Prompt designer",
    "reader@streamly.example": "Read only",
}
"""Who signs in, and as what."""


class Lost(Exception):
    """The secrets are gone, and a database that was made with them is still there."""


@dataclass(frozen=True)
class Kept:
    """The demo's secrets. Made once; a lost encryption key is never replaced over an existing database."""

    secret_key: str
    field_encryption_key: str
    publishable_key: str
    api_secret_key: str
    passwords: dict[str, str]  # e-mail -> password

    @classmethod
    def make(cls) -> Self:
        """Make new ones at random."""
        return cls(
            secret_key=secrets.token_urlsafe(48),
            field_encryption_key=base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
            publishable_key=f"pk_{secrets.token_urlsafe(32)}",
            api_secret_key=f"sk_{secrets.token_urlsafe(32)}",
            passwords={email: secrets.token_urlsafe(12) for email in PEOPLE},
        )

    @classmethod
    def of(cls, folder: Path) -> Self:
        """Return what is kept in `folder`; at the first start, make it.

        Raises:
            Lost: a database is there and its secrets are not.

        """
        file = folder / "secrets.json"
        if file.exists():
            return cls(**json.loads(file.read_text()))
        if (folder / "engage.sqlite3").exists():
            raise Lost(
                f"{file} is gone, and without it the credentials in {folder / 'engage.sqlite3'} cannot be read. "
                f"Put the file back, or delete {folder} to begin a new demo."
            )
        made = cls.make()
        beside = file.with_suffix(".new")
        beside.unlink(missing_ok=True)
        beside.touch(mode=0o600)
        with beside.open("w") as out:
            json.dump(asdict(made), out, indent=2)
            out.flush()
            os.fsync(out.fileno())
        beside.rename(file)  # whole or not at all
        return made

"""Where files are, and which there are. How they are reached is in `sync.s3`, which is loaded when a file is first asked for:
boto3's world takes 5 MB of each process, and few of them ever read one.
"""

from dataclasses import dataclass, field
from datetime import datetime
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from sync.models import Access

if TYPE_CHECKING:
    from sync.s3 import Bucket, Download


class StorageProblem(Exception):
    """The store said no, or could not be reached; the text says who must do what. `lasting`: a repeat will not help."""

    def __init__(self, message: str, *, code: str = "", lasting: bool = True) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.lasting = lasting


@dataclass(frozen=True)
class Location:
    """Where files are and who reads them. `endpoint_url` is empty for AWS itself; `pattern` is of file names (*, ?)."""

    bucket: str
    prefix: str
    region: str
    endpoint_url: str
    access_key_id: str
    secret_access_key: str = field(repr=False)
    pattern: str = ""
    access: str = Access.KEY
    role_arn: str = ""
    external_id: str = ""

    def means(self, key: str) -> bool:
        """Whether the file with this key is one that the source is about."""
        return not self.pattern or fnmatchcase(key.rsplit("/", 1)[-1], self.pattern)


@dataclass(frozen=True)
class StoredFile:
    """One object as it was listed."""

    key: str
    etag: str
    size: int  # bytes, as stored
    modified_at: datetime

    @property
    def is_meant(self) -> bool:
        """Whether it is a file at all: not a folder's marker, nor one of the `_SUCCESS` kind that tools leave behind."""
        name = self.key.rsplit("/", 1)[-1]
        return bool(name) and not name.startswith(("_", "."))


def bucket(location: Location) -> "Bucket":
    """Return the files of a location."""
    from sync.s3 import Bucket

    return Bucket(location)


def download(location: Location, file: StoredFile, body: Any) -> "Download":
    """Return a file of which `body` has the stored bytes, as a bucket's file is read."""
    from sync.s3 import Download

    return Download(location, file, body)

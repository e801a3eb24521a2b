"""From stored bytes to the bytes of the CSV file: plain, gzip or ZIP, told by how they begin, in constant memory.

A ZIP archive is read from front to back, as it arrives: its members stand one behind the other, each with a header of its own
(https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT, 4.3), and the directory behind them is only looked for.
"""

import struct
import zlib
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from django.conf import settings

from sync.csv_rows import BadFile, shortened

PIECE = 256 * 1024  # bytes that are unpacked at once
BOMB_COUNTS_FROM = 16 * 1024 * 1024  # bytes; below this, no ratio is alarming
GZIP = b"\x1f\x8b"
MEMBER, DESCRIPTOR, DIRECTORY, END = b"PK\x03\x04", b"PK\x07\x08", b"PK\x01\x02", b"PK\x05\x06"

CUT_OFF = "The file ends in the middle of its {kind} data: it was cut off when written."
DAMAGED = "The file begins as {kind} and cannot be unpacked: it is damaged."


class _Stored:
    """The stored bytes, to be taken in portions that suit the format."""

    def __init__(self, pieces: Iterable[bytes], kind: str = "") -> None:
        self._pieces, self._rest, self.kind = iter(pieces), b"", kind
        self.received = 0

    def some(self) -> bytes:
        """Return the next bytes, however many; nothing at the end."""
        piece, self._rest = self._rest, b""
        if not piece:
            piece = next(filter(None, self._pieces), b"")
            self.received += len(piece)
        return piece

    def give_back(self, piece: bytes) -> None:
        """Let these bytes be the next ones."""
        self._rest = piece + self._rest

    def begin(self, size: int) -> bytes:
        """Return the next `size` bytes, fewer at the end, and let them be the next ones still."""
        piece = b""
        while len(piece) < size and (more := self.some()):
            piece += more
        self.give_back(piece)
        return piece[:size]

    def exactly(self, size: int) -> bytes:
        """Return the next `size` bytes.

        Raises:
            BadFile: there are no more so many.
        """
        found = self.begin(size)
        if len(found) < size:
            raise BadFile(CUT_OFF.format(kind=self.kind))
        self._rest = self._rest[size:]
        return found


def unpacked(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the CSV file's own bytes, in pieces of no more than 256 KB where they were packed.

    Raises:
        BadFile: it cannot be unpacked, is larger than ENGAGE_IMPORT_LARGEST bytes, or unpacks to more than
            ENGAGE_IMPORT_BOMB_RATIO times its size.
    """
    stored = _Stored(pieces)
    begin = stored.begin(4)
    if begin[:2] == GZIP:
        stored.kind, content = "gzip", _gunzip(stored)
    elif begin in (MEMBER, END):
        stored.kind, content = "ZIP", _unzip(stored)
    else:
        content = iter(stored.some, b"")
    size = 0
    for piece in content:
        size += len(piece)
        if size > settings.ENGAGE_IMPORT_LARGEST:
            raise BadFile(
                f"The file is larger than {_gigabytes()}, the most that one may have. It was not read further."
            )
        if stored.kind and size > BOMB_COUNTS_FROM and size > settings.ENGAGE_IMPORT_BOMB_RATIO * stored.received:
            raise BadFile(
                f"The file unpacks to more than {settings.ENGAGE_IMPORT_BOMB_RATIO} times its size, which no export of "
                "subscribers does. It was not read further."
            )
        yield piece


def _gigabytes() -> str:
    return f"{settings.ENGAGE_IMPORT_LARGEST / 1024**3:,.3g} GB"


def _inflate(stored: _Stored, wbits: int) -> Iterator[bytes]:
    """Yield what one stream of deflated data unpacks to; what stands behind it is the next in `stored`."""
    unpack = zlib.decompressobj(wbits)
    piece = b""
    while not unpack.eof:
        piece = piece or stored.some()
        try:
            out = unpack.decompress(piece, PIECE)
        except zlib.error:
            raise BadFile(DAMAGED.format(kind=stored.kind)) from None
        if not (piece or out or unpack.eof):
            raise BadFile(CUT_OFF.format(kind=stored.kind))
        piece = unpack.unconsumed_tail
        if out:
            yield out
    stored.give_back(unpack.unused_data)


def _gunzip(stored: _Stored) -> Iterator[bytes]:
    """Several members may stand one behind the other, and zeros behind the last."""
    while piece := stored.some():
        if piece := piece.lstrip(b"\0"):
            stored.give_back(piece)
            yield from _inflate(stored, wbits=31)


class _Member(NamedTuple):
    """What a member's header says."""

    name: str
    flags: int
    method: int
    crc: int
    size: int  # as stored; 0 where it is told behind the data

    @property
    def is_told_behind(self) -> bool:
        """Whether checksum and sizes follow the data."""
        return bool(self.flags & 0x8)

    @property
    def is_file(self) -> bool:
        """Whether it is one of the files that somebody packed: no folder, and nothing that macOS adds."""
        return not self.name.endswith("/") and not self.name.startswith("__MACOSX/")


def _unzip(stored: _Stored) -> Iterator[bytes]:
    """Yield the one file of an archive."""
    found = ""
    while stored.begin(4) == MEMBER:
        member = _member(stored)
        if member.name == "[Content_Types].xml":
            raise BadFile("The file is an Excel workbook. Save it as “CSV UTF-8”.")
        if member.is_file and found:
            raise BadFile(
                f"The ZIP archive holds several files, “{shortened(found, 60)}” and “{shortened(member.name, 60)}” among "
                "them. Have one file written into each archive."
            )
        content = _content(stored, member)
        if member.is_file:
            found = member.name
            yield from content
        else:
            for _ in content:
                pass
    begin = stored.begin(4)
    if begin not in (DIRECTORY, END):
        raise BadFile((DAMAGED if len(begin) == 4 else CUT_OFF).format(kind="ZIP"))
    if not found:
        raise BadFile("The ZIP archive holds no file.")


def _member(stored: _Stored) -> _Member:
    flags, method, crc, size, _, name_size, extra_size = struct.unpack("<6xHH4xIIIHH", stored.exactly(30))
    raw = stored.exactly(name_size)
    name = raw.decode("utf-8" if flags & 0x800 else "cp437", "replace")
    extra = stored.exactly(extra_size)
    if flags & 0x1:
        raise BadFile("The ZIP archive is encrypted. Have it written without a password.")
    while len(extra) >= 4:
        kind, length = struct.unpack_from("<HH", extra)
        if kind == 1 and length >= 16 and size == 0xFFFFFFFF:
            (size,) = struct.unpack_from("<Q", extra, 12)
        extra = extra[4 + length :]
    return _Member(name, flags, method, crc, size)


def _content(stored: _Stored, member: _Member) -> Iterator[bytes]:
    if member.method == 8:
        pieces = _inflate(stored, wbits=-15)
    elif member.method == 0 and not member.is_told_behind:
        pieces = _as_they_are(stored, member.size)
    else:
        raise BadFile(
            "The ZIP archive is compressed in a way that cannot be read here. Have it written with “Deflate”."
        )
    crc = 0
    for piece in pieces:
        crc = zlib.crc32(piece, crc)
        yield piece
    if crc != (_told_behind(stored) if member.is_told_behind else member.crc):
        raise BadFile(DAMAGED.format(kind="ZIP"))


def _as_they_are(stored: _Stored, size: int) -> Iterator[bytes]:
    while size:
        piece = stored.some()
        if not piece:
            raise BadFile(CUT_OFF.format(kind="ZIP"))
        stored.give_back(piece[size:])
        yield piece[:size]
        size -= len(piece[:size])


def _told_behind(stored: _Stored) -> int:
    """Return the checksum that follows the data: with or without a signature, with sizes of 4 or of 8 bytes."""
    if stored.begin(4) == DESCRIPTOR:
        stored.exactly(4)
    (crc,) = struct.unpack("<I", stored.exactly(4))
    ahead = stored.begin(20)
    stored.exactly(8 if ahead[8:12] in (MEMBER, DIRECTORY, END) else 16)
    return int(crc)

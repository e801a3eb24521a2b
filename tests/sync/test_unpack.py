"""Packed files: unpacked as they arrive, or a clear error; never half of one for the whole, and never a bomb."""

import contextlib
import gzip
import io
import itertools
import os
import tracemalloc
import zipfile
import zlib
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytest_django import Settings

from sync.csv_rows import BadFile
from sync.unpack import unpacked

CSV = b"user_id,plan\n1,gold\n"


def read(data: bytes, size: int = 1 << 16) -> bytes:
    return b"".join(unpacked(data[start : start + size] for start in range(0, len(data), size)))


class Pipe(io.RawIOBase):
    """Where nothing can be written again: an archive then tells sizes behind the data."""

    def __init__(self) -> None:
        self.data = b""

    def writable(self) -> bool:
        return True

    def write(self, data: bytes) -> int:  # type: ignore[override]
        self.data += data
        return len(data)


def zipped(
    *members: tuple[str, bytes], method: int = zipfile.ZIP_DEFLATED, stream: bool = False, zip64: bool = False
) -> bytes:
    out: Pipe | io.BytesIO = Pipe() if stream else io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, content in members:
            with archive.open(name, "w", force_zip64=zip64) as file:
                file.write(content)
    return out.data if isinstance(out, Pipe) else out.getvalue()


def test_several_gzip_members_and_padding_are_one_file() -> None:
    assert read(gzip.compress(b"one\n") + gzip.compress(b"two\n") + bytes(600)) == b"one\ntwo\n"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("zip64", [False, True])
@pytest.mark.parametrize("size", [1, 7, 1 << 16])
@pytest.mark.parametrize("content", [b"", CSV, os.urandom(3_000)])
def test_the_one_file_of_an_archive_is_read(content: bytes, size: int, *, zip64: bool, stream: bool) -> None:
    assert read(zipped(("exports/a.csv", content), stream=stream, zip64=zip64), size) == content


@pytest.mark.parametrize("zip64", [False, True])
def test_a_file_that_was_only_put_in_is_read(*, zip64: bool) -> None:
    assert read(zipped(("a.csv", CSV), method=zipfile.ZIP_STORED, zip64=zip64), 5) == CSV


def test_folders_and_what_macos_adds_are_no_files() -> None:
    assert read(zipped(("x/", b""), ("x/a.csv", CSV), ("__MACOSX/x/._a.csv", b"\0\5"))) == CSV


def encrypted() -> bytes:
    data = bytearray(zipped(("a.csv", CSV)))
    data[6] |= 1
    return bytes(data)


def damaged() -> bytes:
    data = bytearray(zipped(("a.csv", os.urandom(5_000)), method=zipfile.ZIP_STORED))
    data[1000] ^= 1
    return bytes(data)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (gzip.compress(os.urandom(4000))[:-500], "in the middle of its gzip data"),
        (b"\x1f\x8b" + b"nonsense" * 20, "begins as gzip and cannot be unpacked"),
        (gzip.compress(b"a" * 40_000_000), "unpacks to more than 250 times"),
        (zipped(("a.csv", b"a" * 40_000_000)), "unpacks to more than 250 times"),
        (zipped(("a.csv", CSV), ("b.csv", CSV)), "several files, “a.csv” and “b.csv”"),
        (zipped(), "holds no file"),
        (zipped(("x/", b"")), "holds no file"),
        (zipped(("[Content_Types].xml", b"<x/>"), ("xl/workbook.xml", b"<x/>")), "Excel workbook"),
        (encrypted(), "is encrypted"),
        (damaged(), "begins as ZIP and cannot be unpacked"),
        (zipped(("a.csv", CSV), method=zipfile.ZIP_LZMA), "Deflate"),
        (zipped(("a.csv", os.urandom(4000)))[:2000], "in the middle of its ZIP data"),
        (zipped(("a.csv", CSV))[:-80], "in the middle of its ZIP data"),
        (b"PK\x03\x04" + bytes(30), "begins as ZIP and cannot be unpacked"),
    ],
)
def test_what_cannot_be_unpacked_is_said(data: bytes, said: str) -> None:
    with pytest.raises(BadFile, match=said):
        read(data)


def test_a_bomb_is_refused_long_before_it_is_unpacked() -> None:
    pack = zlib.compressobj(9, wbits=31)
    bomb = b"".join(pack.compress(bytes(1 << 20)) for _ in range(200)) + pack.flush()
    counted = itertools.accumulate(map(len, unpacked([bomb])))
    tracemalloc.start()
    with pytest.raises(BadFile, match="unpacks"):
        list(itertools.takewhile(lambda seen: seen < 80 * 1024 * 1024, counted))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * 1024 * 1024


@pytest.mark.parametrize("data", [CSV * 10_000, gzip.compress(CSV * 10_000), zipped(("a.csv", CSV * 10_000))])
def test_a_file_has_an_absolute_limit(data: bytes, settings: Settings) -> None:
    settings.ENGAGE_IMPORT_LARGEST = 100_000
    with pytest.raises(BadFile, match="larger than"):
        read(data)


@given(
    st.sampled_from([gzip.compress(CSV), zipped(("a.csv", CSV)), zipped(("a.csv", CSV), stream=True)]),
    st.lists(st.tuples(st.integers(0, 200), st.binary(max_size=3)), max_size=4),
    st.integers(1, 40),
)
def test_bytes_that_were_changed_give_the_content_or_a_clear_error(
    data: bytes, changes: list[tuple[int, bytes]], size: int
) -> None:
    for place, new in changes:
        data = data[:place] + new + data[place + len(new) :]

    def pieces() -> Iterator[bytes]:
        yield from (data[start : start + size] for start in range(0, len(data), size))

    with contextlib.suppress(BadFile):
        b"".join(unpacked(pieces()))

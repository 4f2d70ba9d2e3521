"""What a download must be, and whether it is: type, length, checksum, and what an archive holds."""

from __future__ import annotations

import gzip
import hashlib
import re
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

from landcover_cli.errors import InputError
from landcover_cli.io.tiffcheck import tiff_is_whole

HEAD_BYTES = 512
"""Bytes from which the type of a file is told."""
_MAGIC: dict[str, tuple[bytes, ...]] = {
    "GeoTIFF": (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),
    "JPEG 2000": (b"\0\0\0\x0cjP  ", b"\xff\x4f\xff\x51"),
    "zip": (b"PK\x03\x04",),
    "gzip": (b"\x1f\x8b",),
    "XML": (b"<?xml", b"<Earth_Explorer_File"),
    "data": (b"",),
}
_HTML = re.compile(rb"<!doctype html|<html[\s>]", re.IGNORECASE)
Kind = Literal["GeoTIFF", "JPEG 2000", "zip", "gzip", "XML", "data"]


class WrongContentError(InputError):
    """What came is not the file: another type, length or checksum."""


@dataclass(frozen=True, slots=True)
class Remote:
    """A file to download.

    Attributes:
        url: http or https; it may carry a signature, which no message and no record holds.
        target: Where it goes.
        kind: What it must begin like as it is sent.
        size: Bytes as it is sent, if known beforehand.
        checksum: ``sha256:<hex>`` or ``md5:<hex>`` of the bytes as sent, if known beforehand.
        unpack: The target is what this single-file archive holds.
        unpacked_limit: Bytes that an archive may hold.
        check: Raises InputError if a file with all its bytes is not what it must be.
    """

    url: str
    target: Path
    kind: Kind
    size: int | None = None
    checksum: str = ""
    unpack: Literal["", "zip", "gzip"] = ""
    unpacked_limit: int = 1 << 30
    check: Callable[[Path], None] | None = None


def check_head(remote: Remote, head: bytes) -> None:
    """Refuse an HTML page, or anything else that is not what was asked for.

    Args:
        remote: The file.
        head: Its first bytes: 512 or more, or all of it.

    Raises:
        WrongContentError: It is something else.
    """
    name, start = remote.target.name, head.removeprefix(b"\xef\xbb\xbf").lstrip()
    wanted = {"XML": "an XML file", "data": "data"}.get(remote.kind, f"a {remote.kind} file")
    if _HTML.search(start[: 4 * HEAD_BYTES]):
        raise WrongContentError(
            f"{name}: the server sends an HTML page in place of {wanted}",
            remedy="it may ask for a login or be out of service: set a token, check --base-url, or try again later",
        )
    if not has_magic(remote.kind, head):
        raise WrongContentError(
            f"{name}: what the server sends is not {wanted} (it begins {head[:8]!r})",
            remedy="check --base-url, or choose another mirror",
        )


def has_magic(kind: Kind, head: bytes) -> bool:
    """Whether a file of a kind begins like this."""
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip() if kind == "XML" else head
    return start.startswith(_MAGIC[kind])


def verify(remote: Remote, path: Path) -> None:
    """All bytes are there; are they the right ones?

    Args:
        remote: The file.
        path: The bytes as they were sent.

    Raises:
        InputError: They are not.
    """
    name, size = remote.target.name, path.stat().st_size
    if not size:
        raise WrongContentError(f"{name}: the server sends an empty file", remedy="check --base-url")
    with path.open("rb") as handle:
        check_head(remote, handle.read(4 * HEAD_BYTES))
        whole = remote.kind != "GeoTIFF" or tiff_is_whole(handle, size)
    if remote.size is not None and size != remote.size:
        raise WrongContentError(
            f"{name}: {size:,} bytes came, the list says {remote.size:,}", remedy="run the same command again later"
        )
    if remote.checksum:
        method, _, wanted = remote.checksum.partition(":")
        found = digests(path)[method]
        if found != wanted.lower():
            raise WrongContentError(
                f"{name}: its {method} is {found}, and should be {wanted.lower()}; it was not kept",
                remedy="run the same command again, or choose another mirror with --base-url",
            )
    if not whole:
        # The server's own copy is cut: its length agrees, its structure does not.
        raise WrongContentError(
            f"{name}: the file is truncated: its pixels lie beyond its end",
            remedy="choose another mirror with --base-url",
        )
    if remote.check is not None and not remote.unpack:
        remote.check(path)


def present(remote: Remote) -> str | None:
    """sha256 of a target that is there already and is right; None if it is to be fetched."""
    path = remote.target
    if not path.is_file():
        return None
    found, size = digests(path), path.stat().st_size
    right = size > 0
    if not remote.unpack:
        method, _, wanted = remote.checksum.partition(":")
        with path.open("rb") as handle:
            right = right and has_magic(remote.kind, handle.read(4 * HEAD_BYTES))
            right = right and (remote.kind != "GeoTIFF" or tiff_is_whole(handle, size))
        right = right and (not remote.checksum or found[method] == wanted.lower()) and remote.size in (None, size)
    if right and remote.check is not None:
        try:
            remote.check(path)
        except InputError:
            right = False
    return found["sha256"] if right else None


def digests(path: Path) -> dict[str, str]:
    """sha256 and md5 of a file, in one pass; MD5 is what object stores state, and guards against accidents only."""
    sha, md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
    with path.open("rb") as handle:
        while chunk := handle.read(1 << 20):
            sha.update(chunk)
            md5.update(chunk)
    return {"sha256": sha.hexdigest(), "md5": md5.hexdigest()}


def unpack(remote: Remote, path: Path, sink: IO[bytes]) -> None:
    """Write what a single-file archive holds.

    Raises:
        WrongContentError: It is damaged, holds no single file of the target's type, or holds too much.
    """
    try:
        if remote.unpack == "gzip":
            with gzip.open(path) as stream:
                _copy(remote, stream, sink)
            return
        with zipfile.ZipFile(path) as archive:
            suffix = remote.target.suffix
            wanted = [m for m in archive.infolist() if m.filename.lower().endswith(suffix.lower())]
            if len(wanted) != 1:
                raise WrongContentError(
                    f"{remote.target.name}: its archive holds {len(wanted)} {suffix} files",
                    remedy="check --base-url and --pattern",
                )
            with archive.open(wanted[0]) as packed:
                _copy(remote, packed, sink)
    except (zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, EOFError, RuntimeError) as error:
        raise WrongContentError(
            f"{remote.target.name}: its archive is damaged ({error})", remedy="run the same command again"
        ) from error


def _copy(remote: Remote, stream: IO[bytes] | gzip.GzipFile, sink: IO[bytes]) -> None:
    count = 0
    while chunk := stream.read(1 << 20):
        count += len(chunk)
        if count > remote.unpacked_limit:
            raise WrongContentError(
                f"{remote.target.name}: its archive holds more than {remote.unpacked_limit:,} bytes",
                remedy="check --base-url and --pattern",
            )
        sink.write(chunk)

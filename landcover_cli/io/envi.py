"""ENVI headers: the text file beside the pixels of a cube.

Source: the ENVI header format as its makers describe it: first line ``ENVI``, then ``key = value``; lists stand in
braces and may run over lines.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from landcover_cli.errors import InputError

# Bytes per value of the data types.
_BYTES = {1: 1, 2: 2, 3: 4, 4: 4, 5: 8, 6: 8, 9: 16, 12: 2, 13: 4, 14: 8, 15: 8}
_DATA = ("", ".dat", ".img", ".bin", ".raw", ".bsq", ".bil", ".bip", ".envi")
_PAIR = re.compile(r"^\s*([^=;{}]+?)\s*=\s*(\{[^}]*\}|[^\n]*)", re.MULTILINE)


def read_envi_header(path: Path) -> dict[str, str]:
    """Keys (lower case, single blanks) and values (without braces) of a header.

    Raises:
        InputError: It cannot be read, or is no ENVI header.
    """
    try:
        text = path.read_bytes()[:20_000_000].decode("utf-8", errors="replace")
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}", remedy="check the path") from None
    if not text.lstrip("\ufeff").startswith("ENVI"):
        raise InputError(f"{path} is no ENVI header", remedy="its first line must be ENVI")
    return {" ".join(key.lower().split()): value.strip().strip("{}").strip() for key, value in _PAIR.findall(text)}


def envi_pair(path: Path) -> tuple[Path, Path] | None:
    """Header and data file of an ENVI cube, whichever of the two is given; None where there is no header beside it.

    Raises:
        InputError: A header without its data.
    """
    if path.suffix.lower() == ".hdr":
        stem = path.with_suffix("")
        found = next((p for ext in _DATA if (p := Path(f"{stem}{ext}")).is_file()), None)
        if found is None:
            raise InputError(f"{path}: the data file {stem.name} is missing", remedy="put it beside its header")
        return path, found
    for header in (path.with_suffix(".hdr"), Path(f"{path}.hdr")):
        if header.is_file() and header.read_bytes()[:4] == b"ENVI":
            return header, path
    return None


def refuse_short_envi(header: Mapping[str, str], data: Path) -> None:
    """Refuse a data file that is shorter than its header says; GDAL would read zeros.

    Raises:
        InputError: It is, or the header does not say the size.
    """
    try:
        shape = [int(header[key]) for key in ("samples", "lines", "bands")]
        size = int(header.get("header offset", "0")) + shape[0] * shape[1] * shape[2] * _BYTES[int(header["data type"])]
    except (KeyError, ValueError):
        raise InputError(
            f"{data}: its header lacks samples, lines, bands or data type", remedy="mend the header"
        ) from None
    if header.get("file compression", "0").strip() == "0" and data.stat().st_size < size:
        raise InputError(f"{data} has {data.stat().st_size} bytes, its header says {size}", remedy="copy it again")


def numbers(header: Mapping[str, str], key: str, count: int, path: Path) -> tuple[float, ...] | None:
    """A list of one number per band; None where the header does not hold it.

    Raises:
        InputError: Not numbers, or not `count` of them.
    """
    if not header.get(key):
        return None
    try:
        values = tuple(float(word) for word in header[key].replace(",", " ").split())
    except ValueError:
        raise InputError(f"{path}: {key} holds {header[key][:40]!r}", remedy="mend the header") from None
    if len(values) != count:
        raise InputError(f"{path}: {key} holds {len(values)} values for {count} bands", remedy="mend the header")
    return values

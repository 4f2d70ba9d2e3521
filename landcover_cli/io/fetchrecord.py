"""What was fetched into a folder, and lists of checksums."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from landcover_cli.errors import InputError
from landcover_cli.io.atomic import atomic_file

RECORD = "lc-fetch.json"
"""Name of the record in a folder of fetched files."""


def read_checksums(path: Path) -> dict[str, str]:
    """Checksums by file name from a list as `sha256sum` and `md5sum` write it.

    Args:
        path: Lines of ``<hex>  <name>``; folders before a name do not count.

    Returns:
        Name → ``sha256:<hex>`` or ``md5:<hex>``.

    Raises:
        InputError: Unreadable, or a line is something else.
    """
    found: dict[str, str] = {}
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"checksums {path}: {error}", remedy="check the path") from None
    for number, line in enumerate(lines, 1):
        match = re.fullmatch(r"([0-9a-fA-F]{64}|[0-9a-fA-F]{32})[ \t]+\*?(\S.*)", line.strip())
        if match:
            method = "sha256" if len(match.group(1)) == 64 else "md5"
            found[match.group(2).rsplit("/", 1)[-1]] = f"{method}:{match.group(1).lower()}"
        elif line.strip() and not line.startswith("#"):
            raise InputError(
                f"checksums {path}: line {number} is no checksum and name", remedy="write it with sha256sum or md5sum"
            )
    return found


def write_record(folder: Path, entries: Iterable[Mapping[str, object]]) -> None:
    """Add to the record of a folder; an entry of the same name is replaced.

    Raises:
        StorageError: The folder cannot be written.
    """
    known = {str(entry.get("name")): dict(entry) for entry in (*read_record(folder), *entries)}
    document = {"files": [known[name] for name in sorted(known)]}
    with atomic_file(folder / RECORD) as scratch:
        scratch.write_text(json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")


def read_record(folder: Path) -> tuple[dict[str, object], ...]:
    """Entries of the record of a folder; none if there is no record, or none that can be read."""
    try:
        entries = json.loads((folder / RECORD).read_text(encoding="utf-8"))["files"]
        return tuple(entry for entry in entries if isinstance(entry, dict))
    except (OSError, ValueError, KeyError, TypeError):
        return ()

"""Content digests of external inputs, remembered by size and modification time."""

from __future__ import annotations

import hashlib
import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from landcover_cli.core.digest import sha256_json
from landcover_cli.errors import InputError
from landcover_cli.io.atomic import atomic_file

_CHUNK = 4 * 1024 * 1024


def sha256_file(path: Path) -> str:
    """Hex sha256 of a file's bytes.

    Raises:
        InputError: Not readable.
    """
    digest = hashlib.sha256()
    try:
        with path.open("rb") as handle:
            while chunk := handle.read(_CHUNK):
                digest.update(chunk)
    except OSError as error:
        raise InputError(
            f"cannot read {path}: {error.strerror or error}", remedy="check the path and its rights"
        ) from None
    return digest.hexdigest()


class FileDigests:
    """Digests of files, folders and URLs, cached in one JSON file.

    A file whose size and modification time are as remembered is not read again; that is what make and rsync trust, too.
    """

    def __init__(self, cache: Path) -> None:
        self._cache = cache
        self._known: dict[str, list[object]] = {}
        self._dirty = False
        try:
            loaded = json.loads(cache.read_text(encoding="utf-8"))
            if isinstance(loaded, dict):
                self._known = loaded
        except (OSError, ValueError):
            pass

    def digest(self, href: str) -> str:
        """Digest of a file's bytes, of a folder's names and bytes, or of a URL's text without its query.

        A URL's content is not fetched to plan a run; its query may hold a signature and is left out.

        Raises:
            InputError: Missing or unreadable.
        """
        if "://" in href:
            parts = urlsplit(href)
            return sha256_json({"url": urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))})
        path = Path(href)
        if path.is_dir():
            members = sorted(item for item in path.rglob("*") if item.is_file())
            with ThreadPoolExecutor(2) as pool:
                digests = list(pool.map(self._file, members))
            names = [str(item.relative_to(path)) for item in members]
            return sha256_json({"folder": dict(zip(names, digests, strict=True))})
        return self._file(path)

    def _file(self, path: Path) -> str:
        try:
            stat = path.stat()
        except OSError as error:
            raise InputError(f"input {path}: {error.strerror or error}", remedy="check the path") from None
        key, facts = os.path.abspath(path), [stat.st_size, stat.st_mtime_ns, stat.st_ino]  # noqa: PTH100  no symlinks resolved
        known = self._known.get(key)
        if known and known[:3] == facts:
            return str(known[3])
        digest = sha256_file(path)
        self._known[key] = [*facts, digest]
        self._dirty = True
        return digest

    def save(self) -> None:
        """Write the cache, whole."""
        if self._dirty:
            with atomic_file(self._cache) as scratch:
                scratch.write_text(json.dumps(self._known), encoding="utf-8")
            self._dirty = False

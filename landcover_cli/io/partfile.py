"""The part file of a download: bytes that have arrived, and what is needed to go on with them."""

from __future__ import annotations

import fcntl
import json
import os
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from landcover_cli.errors import InputError
from landcover_cli.io.atomic import storage_error


class PartFile:
    """Bytes of a file under way, in `.NAME.part` beside its target, locked against a second process.

    The bytes are written straight through, so that what a killed process leaves is a true beginning of the file. The
    facts beside them (`.NAME.part.json`) name the source without its query: no signature is ever stored.

    Attributes:
        path: The part file.
        validator: The server's strong entity tag, or its date of the file; "" if it gives neither.
        total: Bytes of the whole file; None while unknown.
        complete: Every byte has arrived.
    """

    def __init__(self, target: Path, source: str) -> None:
        """Nothing is opened yet.

        Args:
            target: What the part will become.
            source: URL without query; a part of another source is not gone on with.
        """
        self.path, self._facts = _paths(target)
        self._source = source
        self._descriptor = -1
        self.validator = ""
        self.total: int | None = None
        self.complete = False
        self.size = 0

    @staticmethod
    def kept_bytes(target: Path, source: str) -> int:
        """Bytes that a download would go on after; 0 if it would begin."""
        path, facts = _paths(target)
        known = _read_facts(facts)
        if known.get("source") != source or not known.get("validator"):
            return 0
        try:
            return path.stat().st_size
        except OSError:
            return 0

    def __enter__(self) -> Self:
        """Open and lock; what an earlier download from the same source left is taken up.

        Raises:
            InputError: Another process is at it.
            StorageError: The folder cannot be written.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise storage_error(self.path, error) from error
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Between open and lock the other process may have renamed the file: this would then be its target.
            mine = os.fstat(self._descriptor).st_ino == self.path.stat().st_ino
        except (BlockingIOError, FileNotFoundError):
            mine = False
        if not mine:
            os.close(self._descriptor)
            self._descriptor = -1
            raise InputError(
                f"another process is downloading {self.path.name[1:].removesuffix('.part')}",
                remedy="wait for it to end, then run the same command again",
            )
        self._take_up()
        return self

    def _take_up(self) -> None:
        known = _read_facts(self._facts)
        self.size = os.fstat(self._descriptor).st_size
        if known.get("source") != self._source:
            self.discard()
            return
        total, validator = known.get("total"), known.get("validator")
        self.total = total if isinstance(total, int) else None
        self.validator = validator if isinstance(validator, str) else ""
        whole = self.size > 0 and self.size == self.total
        self.complete = whole and (known.get("complete") is True or bool(self.validator))
        if self.total is not None and self.size > self.total:
            self.discard()

    def restart(self, total: int | None, validator: str) -> None:
        """Begin with an empty part of a file that the server describes so."""
        self.discard()
        self.total, self.validator = total, validator
        self._write_facts()

    def discard(self) -> None:
        """Forget what has arrived."""
        os.ftruncate(self._descriptor, 0)
        self.size, self.total, self.validator, self.complete = 0, None, "", False
        self._facts.unlink(missing_ok=True)

    def write(self, chunk: bytes) -> None:
        """Append."""
        view = memoryview(chunk)
        while view:
            count = os.pwrite(self._descriptor, view, self.size)
            self.size += count
            view = view[count:]

    def finished(self) -> None:
        """Every byte has arrived; only the check and the rename are left."""
        self.complete, self.total = True, self.size
        self._write_facts()

    def become(self, target: Path) -> None:
        """Rename the part onto its target."""
        os.fsync(self._descriptor)
        self.path.replace(target)
        self._facts.unlink(missing_ok=True)

    def _write_facts(self) -> None:
        facts = {
            "source": self._source,
            "total": self.total,
            "validator": self.validator,
            "complete": self.complete,
        }
        self._facts.write_text(json.dumps(facts, sort_keys=True), encoding="utf-8")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close; an empty part is removed, any other one is kept for the next attempt."""
        try:
            with suppress(OSError):
                if self.path.stat().st_ino == os.fstat(self._descriptor).st_ino and self.size == 0:
                    self.path.unlink()
                    self._facts.unlink(missing_ok=True)
        finally:
            os.close(self._descriptor)


def _paths(target: Path) -> tuple[Path, Path]:
    return target.with_name(f".{target.name}.part"), target.with_name(f".{target.name}.part.json")


def _read_facts(path: Path) -> dict[str, object]:
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}

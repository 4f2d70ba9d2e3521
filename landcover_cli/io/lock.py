"""One run at a time per workspace.

The lock is the kernel's (``flock``), so that it ends with its holder, however that dies: a stale lock cannot exist on a
local disk. The file's text names the holder for the one who waits.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from landcover_cli.errors import WorkspaceLockedError
from landcover_cli.io.atomic import storage_error


@contextmanager
def workspace_lock(root: Path) -> Iterator[None]:
    """Hold the workspace; the holder's host, pid and start stand in ``<root>/lock``.

    Raises:
        WorkspaceLockedError: Another run holds it (exit code 5).
        StorageError: The workspace cannot be written.
    """
    try:
        root.mkdir(parents=True, exist_ok=True)
        handle = (root / "lock").open("a+", encoding="utf-8")
    except OSError as error:
        raise storage_error(root, error) from error
    with handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise WorkspaceLockedError(
                f"workspace {root} is in use by {_holder(root)}",
                remedy="wait for that run to end, or use another workspace",
            ) from None
        handle.seek(0)
        handle.truncate()
        started = datetime.now(UTC).isoformat(timespec="seconds")
        json.dump({"host": socket.gethostname(), "pid": os.getpid(), "started": started}, handle)
        handle.flush()
        try:
            yield
        finally:
            handle.seek(0)
            handle.truncate()


def _holder(root: Path) -> str:
    try:
        holder = json.loads((root / "lock").read_text(encoding="utf-8"))
        return f"process {holder['pid']} on {holder['host']} since {holder['started']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"

"""Outputs appear whole or not at all: scratch beside the target, then one rename."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import secrets
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

from landcover_cli.errors import InputError, StorageError

_FULL_OR_FORBIDDEN = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EFBIG, errno.EIO}
FULL = ("No space left on device", "Disk quota exceeded")
# A file where a folder should be, or a name that the file system does not take.
_STORAGE_ERRNOS = _FULL_OR_FORBIDDEN | {errno.ENOTDIR, errno.EEXIST, errno.ENAMETOOLONG}


def storage_error(target: Path, error: OSError) -> StorageError:
    """The user's view of a failed write: what, why, and what mends it."""
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return StorageError(
            f"cannot write {target}: the disk is full", remedy="free space, then run the same command again"
        )
    if error.errno in {errno.EROFS, errno.EACCES, errno.EPERM}:
        return StorageError(f"cannot write {target}: {error.strerror}", remedy="choose a folder you may write to")
    blocker = next((path for path in target.parents if path.exists()), None)
    if blocker is not None and not blocker.is_dir():
        return StorageError(
            f"cannot write {target}: {blocker} is a file, not a folder", remedy="choose another path, or move that file"
        )
    return StorageError(f"cannot write {target}: {error.strerror or error}", remedy="check the disk and the path")


def is_storage_error(error: BaseException) -> bool:
    """Whether an exception says that the disk, not the data, is at fault.

    GDAL, HDF5 and zarr wrap the system's word in errors of their own, so the text is looked at too.
    """
    if isinstance(error, OSError) and error.errno in _STORAGE_ERRNOS:
        return True
    return any(phrase in f"{error} {error.__cause__ or ''}" for phrase in (*FULL, "File too large"))


@contextmanager
def atomic_file(target: Path) -> Iterator[Path]:
    """A scratch path beside `target`; renamed onto it on success, removed on failure.

    Raises:
        StorageError: The folder cannot be written, the target is a folder, or the disk is full.
    """
    if target.is_dir():
        raise StorageError(f"output {target} is a folder, not a file", remedy="give the path of a file")
    scratch = target.with_name(f".{target.name}.{os.getpid()}-{secrets.token_hex(4)}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield scratch
        scratch.replace(target)
    except OSError as error:
        if is_storage_error(error):
            raise storage_error(target, error) from error
        raise
    finally:
        with suppress(OSError):  # the folder was never made: the first error says it
            scratch.unlink(missing_ok=True)


@cache
def _host_mark() -> str:
    """Eight hex digits for the place where a process number means something: a host, and a container on it."""
    try:
        space = str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        space = ""
    return hashlib.sha256(f"{socket.gethostname()} {space}".encode()).hexdigest()[:8]


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # it is there and belongs to someone else
        return True
    return True


def remove_leftovers(target: Path) -> list[str]:
    """Remove scratch folders of `atomic_folder` for this target that killed processes of this host left behind.

    Those of a live process, of another host or of another target stay.

    Returns:
        Names of what was removed.
    """
    pattern = re.compile(rf"\.{re.escape(target.name)}\.(\d+)-{_host_mark()}[0-9a-f]{{8}}")
    removed = []
    with suppress(OSError):  # no folder yet: nothing was left
        for path in sorted(target.parent.iterdir()):
            match = pattern.fullmatch(path.name)
            if match and path.is_dir() and not path.is_symlink() and int(match[1]) > 0 and not _alive(int(match[1])):
                shutil.rmtree(path, ignore_errors=True)
                removed.append(path.name)
    return removed


@contextmanager
def atomic_folder(target: Path, *, replace: bool = False) -> Iterator[Path]:
    """An empty scratch folder beside `target`; renamed to it on success, removed on failure.

    Args:
        target: Folder that appears. It must not exist, or be empty, unless `replace` is set.
        replace: Swap out an existing folder.

    Raises:
        InputError: The target exists and `replace` is not set.
        StorageError: The parent cannot be written, or the disk is full.
    """
    if target.exists() and not replace and (not target.is_dir() or any(target.iterdir())):
        raise InputError(f"output {target} exists already", remedy="choose another --out, or remove it")
    token = f"{os.getpid()}-{_host_mark()}{secrets.token_hex(4)}"
    scratch = target.with_name(f".{target.name}.{token}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        scratch.mkdir()
        yield scratch
        if target.exists():
            old = target.with_name(f".{target.name}.old-{token}")
            target.rename(old)
            scratch.rename(target)
            shutil.rmtree(old, ignore_errors=True)
        else:
            scratch.rename(target)
    except OSError as error:
        if is_storage_error(error):
            raise storage_error(target, error) from error
        raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)

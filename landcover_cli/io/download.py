"""Resumable, verified downloads: a file appears under its name only when every byte of it is there and is right.

What has arrived stands in a hidden part file beside the target (`.NAME.part`, with the facts needed to go on in
`.NAME.part.json`), so that the same command goes on where an interruption left it. The server is asked to go on only if
its file is still the same one (If-Range, RFC 9110 section 13.1.5); otherwise the download begins again.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, CancelledError, ThreadPoolExecutor, wait
from dataclasses import dataclass
from http.client import HTTPResponse
from typing import Literal, TypeVar

from landcover_cli.errors import InputError
from landcover_cli.io.atomic import atomic_file, storage_error
from landcover_cli.io.downloadcheck import (
    HEAD_BYTES,
    Remote,
    WrongContentError,
    check_head,
    digests,
    present,
    unpack,
    verify,
)
from landcover_cli.io.partfile import PartFile
from landcover_cli.io.web import (
    NotThereError,
    RangeError,
    TransientError,
    Web,
    content_range,
    length_of,
    public_url,
    read_chunk,
)

_T = TypeVar("_T")
Status = Literal["fetched", "present", "absent"]
Progress = Callable[[int], None]
"""Told the bytes that arrived since the last call, from any thread."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """What became of a file.

    Attributes:
        name: Name of the target.
        source: Its URL without query or user name.
        status: "fetched", "present" (it was there already and is right) or "absent" (the server has none).
        size: Bytes of the target; 0 if absent.
        sha256: Hex digest of the target; "" if absent.
    """

    name: str
    source: str
    status: Status
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Planned:
    """What a download would do.

    Attributes:
        name: Name of the target.
        source: Its URL without query or user name.
        status: "to fetch", "present" or "absent".
        size: Bytes to come, without what stands in a part file already; None if the server does not say.
    """

    name: str
    source: str
    status: Literal["to fetch", "present", "absent"]
    size: int | None


def fetch_one(remote: Remote, web: Web, progress: Progress | None = None) -> Fetched:
    """Download a file, or go on with it, unless it is there already.

    Args:
        remote: The file.
        web: The client.
        progress: Told the bytes that arrive.

    Raises:
        NotThereError: The server has no such file.
        WrongContentError: It is of another type (an HTML page), length or checksum.
        InputError: Refused, or lost too often in a row; what has arrived is kept.
        StorageError: The disk is full, or the folder cannot be written.
    """
    source, name = public_url(remote.url), remote.target.name
    digest = present(remote)
    if digest is not None:
        return Fetched(name, source, "present", remote.target.stat().st_size, digest)
    try:
        with PartFile(remote.target, source) as part:
            _fill(remote, web, part, progress or (lambda count: None))
            _publish(remote, part)
        return Fetched(name, source, "fetched", remote.target.stat().st_size, digests(remote.target)["sha256"])
    except OSError as error:
        raise storage_error(remote.target, error) from error


def fetch_all(
    remotes: Sequence[Remote],
    web: Web,
    *,
    workers: int = 4,
    absent_ok: bool = False,
    progress: Progress | None = None,
) -> tuple[Fetched, ...]:
    """Download files, a few at a time.

    After a failure no further file is begun; those under way are finished.

    Args:
        remotes: The files.
        web: The client.
        workers: How many at a time.
        absent_ok: A file that the server does not have is an answer, not an error.
        progress: Told the bytes that arrive.

    Returns:
        What became of each, in order.

    Raises:
        InputError: The first failure in order.
    """
    lock = threading.Lock()

    def told(count: int) -> None:
        if progress is not None:
            with lock:
                progress(count)

    def one(remote: Remote) -> Fetched:
        try:
            return fetch_one(remote, web, told)
        except NotThereError:
            if not absent_ok:
                raise
            return Fetched(remote.target.name, public_url(remote.url), "absent", 0, "")

    return tuple(_in_threads(one, remotes, web, workers))


def plan_all(remotes: Sequence[Remote], web: Web, *, workers: int = 4, absent_ok: bool = False) -> tuple[Planned, ...]:
    """Ask what a download would bring; no file is written.

    Args:
        remotes: The files.
        web: The client.
        workers: How many questions at a time.
        absent_ok: A file that the server does not have is an answer, not an error.

    Raises:
        InputError: The server refuses or is not reached.
    """

    def one(remote: Remote) -> Planned:
        name, source = remote.target.name, public_url(remote.url)
        if present(remote) is not None:
            return Planned(name, source, "present", 0)
        try:
            size = remote.size if remote.size is not None else web.size(remote.url)
        except NotThereError:
            if not absent_ok:
                raise
            return Planned(name, source, "absent", 0)
        kept = PartFile.kept_bytes(remote.target, source)
        return Planned(name, source, "to fetch", None if size is None else max(0, size - kept))

    return tuple(_in_threads(one, remotes, web, workers))


def _in_threads(one: Callable[[Remote], _T], remotes: Sequence[Remote], web: Web, workers: int) -> list[_T]:
    targets = [remote.target for remote in remotes]
    if len(set(targets)) != len(targets):
        raise InputError("two downloads have one target", remedy="name each file once")
    failed = threading.Event()

    def unless_failed(remote: Remote) -> _T:
        if failed.is_set():
            raise CancelledError
        try:
            return one(remote)
        except BaseException:
            failed.set()
            raise

    pool = ThreadPoolExecutor(max_workers=max(1, workers), thread_name_prefix="fetch")
    try:
        futures = [pool.submit(unless_failed, remote) for remote in remotes]
        wait(futures, return_when=FIRST_EXCEPTION)
        for future in futures:
            future.cancel()
        wait(futures)
    except BaseException:
        # Ctrl-C: the part files stay, and nobody waits for a server.
        web.stop.set()
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    pool.shutdown()
    errors = [future.exception() for future in futures if not future.cancelled()]
    for error in errors:
        if error is not None and not isinstance(error, CancelledError):
            raise error
    return [future.result() for future in futures]


def _fill(remote: Remote, web: Web, part: PartFile, progress: Progress) -> None:
    """Attempt by attempt, until the part is the whole file and is right."""
    patience = web.patience(remote.target.name)
    # Pieces of several attempts may not belong together, whatever the server says: only a download in one go proves
    # that the server's file is wrong.
    best, pieced = part.size, part.size > 0
    while True:
        try:
            if not part.complete:
                _receive(remote, web, part, progress)
        except TransientError as trouble:
            if part.size > best:
                best = part.size
                patience.progressed()
            pieced = pieced or part.size > 0
            patience.after(trouble)
            continue
        try:
            verify(remote, part.path)
        except InputError:
            part.discard()
            if not pieced:
                raise
            best, pieced = 0, False
        else:
            return


def _receive(remote: Remote, web: Web, part: PartFile, progress: Progress) -> None:
    """One connection: from where the part ends to the end of the file, or to where the connection is lost."""
    offset = part.size if part.validator or remote.checksum else 0
    headers: dict[str, str] = {}
    if offset:
        headers["Range"] = f"bytes={offset}-"
        if part.validator:
            headers["If-Range"] = part.validator
    try:
        with web.open(remote.url, headers=headers) as response:
            if response.headers.get("Content-Encoding", "identity") not in ("identity", ""):
                raise InputError(
                    f"{remote.target.name}: the server sends it encoded although that was not asked for",
                    remedy="choose another mirror with --base-url",
                )
            if response.status == 206:
                _go_on(part, response, offset)
            else:
                _begin(remote, part, response, progress)
            while chunk := read_chunk(response):
                part.write(chunk)
                progress(len(chunk))
                if web.stop.is_set():
                    raise InputError(f"{remote.target.name}: stopped", remedy="run the same command again to go on")
    except RangeError:
        part.discard()
        raise TransientError("the server cannot go on where the part file ends", 0.0) from None
    if part.total is not None and part.size != part.total:
        arrived, total = part.size, part.total
        if arrived > total:
            part.discard()
        raise TransientError(f"the body is truncated: {arrived:,} of {total:,} bytes")
    part.finished()


def _go_on(part: PartFile, response: HTTPResponse, offset: int) -> None:
    """Check that an answer to a range is the range asked for, of the file that the part is of."""
    found, etag = content_range(response), response.headers.get("ETag")
    same_file = not etag or not part.validator.startswith('"') or etag == part.validator
    if found is None or found[0] != offset or not same_file or (part.total and found[1] not in (None, part.total)):
        part.discard()
        raise TransientError("the server answers with another part than was asked for", 0.0)
    part.total = part.total or found[1]


def _begin(remote: Remote, part: PartFile, response: HTTPResponse, progress: Progress) -> None:
    """Judge the first bytes, then begin the part with them; before that, what it holds is not given up."""
    name, total = remote.target.name, length_of(response)
    if response.status != 200:
        raise InputError(f"{name}: the server answers {response.status}", remedy="check --base-url")
    head = b""
    while len(head) < HEAD_BYTES and (chunk := read_chunk(response)):
        head += chunk
    if total is not None and len(head) < min(total, HEAD_BYTES):
        raise TransientError(f"the body is truncated: {len(head):,} of {total:,} bytes")
    if head:
        check_head(remote, head)
    if remote.size is not None and total not in (None, remote.size):
        raise WrongContentError(
            f"{name}: the server offers {total:,} bytes, the list says {remote.size:,}",
            remedy="run the same command again later, or choose another mirror with --base-url",
        )
    total = remote.size if total is None else total
    chunked = "chunked" in response.headers.get("Transfer-Encoding", "").lower()
    if total is None and not chunked and not remote.checksum:
        raise InputError(
            f"{name}: the server does not say how long it is; whether it is whole could not be told",
            remedy="choose another mirror with --base-url, or give --checksums",
        )
    etag = response.headers.get("ETag") or ""
    # A weak tag (W/"…") does not promise the same bytes.
    part.restart(total, etag if etag.startswith('"') else response.headers.get("Last-Modified") or "")
    part.write(head)
    progress(len(head))


def _publish(remote: Remote, part: PartFile) -> None:
    if not remote.unpack:
        part.become(remote.target)
        return
    try:
        with atomic_file(remote.target) as scratch:
            with scratch.open("wb") as sink:
                unpack(remote, part.path, sink)
            if remote.check is not None:
                remote.check(scratch)
    finally:
        part.discard()

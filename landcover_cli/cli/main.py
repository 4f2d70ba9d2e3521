"""Entry point of `lc`: errors to exit codes, signals, and the guard against a foreign ``models`` package."""

from __future__ import annotations

import logging
import os
import signal
import sys
from types import FrameType

from landcover_cli.errors import LcError

log = logging.getLogger("lc")

_STOPPED = {130: "interrupted", 143: "terminated"}
_asked: list[int] = []
"""Exit codes of the signals that came, in order."""


class Terminated(BaseException):
    """SIGTERM; like KeyboardInterrupt, it is no error of the program."""


def main() -> None:
    """Run `lc`; never returns."""
    signal.signal(signal.SIGTERM, _on_term)
    signal.signal(signal.SIGINT, _on_int)
    debug = "--debug" in sys.argv or os.environ.get("LC_DEBUG") == "1"
    try:
        code = _run()
    except LcError as error:
        if debug:
            raise
        _complain(f"error: {error.problem}", error.remedy)
        code = error.exit_code
    except KeyboardInterrupt:
        code = 130
    except Terminated:
        code = 143
    except Exception as error:
        if _asked:
            # Libraries swallow an interrupt that falls into their imports and fail with an error of their own later.
            code = _asked[0]
        elif debug:
            raise
        else:
            code = _unexpected(error)
    if code in _STOPPED:
        # Said here, because Typer turns Ctrl-C within a command into an exit without a word.
        _complain(f"{_STOPPED[code]}; finished units are kept", "run the same command again to go on")
    _leave(code)


def _run() -> int:
    from landcover_cli.cli.app import app

    try:
        app()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


def _unexpected(error: Exception) -> int:
    """A full disk and a lack of memory are the user's to mend; everything else is a bug of ours."""
    from landcover_cli.io.atomic import is_storage_error

    if is_storage_error(error):
        _complain(
            f"error: cannot write: {error}", "free space or choose another folder, then run the same command again"
        )
        return 3
    if isinstance(error, MemoryError):
        _complain("error: out of memory", "lower --memory, --workers, grid.tile_px or the batch size")
        return 3
    kind = type(error).__name__
    _complain(
        f"internal error: {kind}: {' '.join(str(error).split())[:500]}",
        "this is a bug in lc: run again with --debug and report the traceback",
    )
    return 1


def _complain(problem: str, remedy: str) -> None:
    sys.stderr.write(f"lc: {problem}\n")
    if remedy:
        sys.stderr.write(f"    remedy: {remedy}\n")


def _on_term(number: int, frame: FrameType | None) -> None:
    _asked.append(143)
    raise Terminated


def _on_int(number: int, frame: FrameType | None) -> None:
    _asked.append(130)
    raise KeyboardInterrupt


def _leave(code: int) -> None:
    """End now: a stopped run may have left compute threads that would hold the interpreter for a while."""
    logging.shutdown()
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except BrokenPipeError:
        code = code or 1
    if code in (130, 143):
        os._exit(code)
    sys.exit(code)

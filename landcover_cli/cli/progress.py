"""Who watches a run: a progress bar on a terminal, plain log lines elsewhere."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from landcover_cli.core.unit import UnitRef

log = logging.getLogger("lc")

_SECONDS_BETWEEN_LINES = 5.0


class LogReporter:
    """Plain log lines: one when a step begins and ends, and one every few seconds in between."""

    def __init__(self) -> None:
        self._title, self._total, self._done = "", 0, 0
        self._last = 0.0

    def step(self, title: str, total: int, done: int) -> None:
        """A step begins."""
        self._title, self._total, self._done = title, total, done
        self._last = time.monotonic()
        if done == total:
            log.info("%s: all %d done before", title, total)
        else:
            log.info("%s: %d to do%s", title, total - done, f", {done} done before" if done else "")

    def unit(self, unit: UnitRef, seconds: float, error: Exception | None) -> None:
        """A unit ended."""
        self._done += 1
        log.debug("%s %s: %.2f s", unit.step, unit.id, seconds)
        if time.monotonic() - self._last > _SECONDS_BETWEEN_LINES:
            self._last = time.monotonic()
            log.info("%s: %d of %d", self._title, self._done, self._total)

    def within(self, done: float, total: float, text: str) -> None:
        """Progress within a unit."""
        if time.monotonic() - self._last > _SECONDS_BETWEEN_LINES:
            self._last = time.monotonic()
            share = f"{100 * done / total:.0f} %" if total else ""
            head = f"{self._title}: " if self._title else ""
            log.info("%s%s %s", head, share, text)


class BarReporter:
    """A rich progress bar per step, on stderr."""

    def __init__(self, progress: Any) -> None:
        self._progress = progress
        self._task: Any = None
        self._inner: Any = None

    def step(self, title: str, total: int, done: int) -> None:
        """A step begins."""
        self._drop_inner()
        self._task = self._progress.add_task(title, total=total, completed=done)

    def unit(self, unit: UnitRef, seconds: float, error: Exception | None) -> None:
        """A unit ended."""
        self._drop_inner()
        self._progress.advance(self._task)

    def within(self, done: float, total: float, text: str) -> None:
        """Progress within a unit."""
        if self._inner is None:
            self._inner = self._progress.add_task(text, total=total)
        self._progress.update(self._inner, completed=done, total=total, description=f"  {text}")

    def _drop_inner(self) -> None:
        if self._inner is not None:
            self._progress.remove_task(self._inner)
            self._inner = None


@contextmanager
def reporter() -> Iterator[LogReporter | BarReporter]:
    """A bar where stderr is a terminal, else log lines."""
    if not sys.stderr.isatty() or log.getEffectiveLevel() > logging.INFO:
        yield LogReporter()
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        yield BarReporter(progress)

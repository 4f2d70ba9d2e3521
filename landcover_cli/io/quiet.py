"""Warnings of libraries that tell our users nothing, dropped in a way that several threads survive.

`warnings.catch_warnings` swaps the filters of the whole process. Two threads that enter and leave it in turns hand each
other the wrong ones: a warning meant to be ignored is raised, or one meant to be seen is lost. So what can be met in
any thread at any time is ignored for good (`landcover_cli.io`), and the rest takes turns here.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

_TURN = threading.RLock()


@contextmanager
def quiet() -> Iterator[None]:
    """Drop every warning within, one thread at a time: for short calls on local files only."""
    with _TURN, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield

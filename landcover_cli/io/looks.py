"""Looks at the ground that a composite is made of: described without a pixel, and read by window once opened."""

from __future__ import annotations

import datetime as dt
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np

from landcover_cli.io.observation import Observation, ObservationReader, open_observation, read_about
from landcover_cli.io.ongrid import Lattice, intersect
from landcover_cli.io.tilecache import TileCache

OPEN_FILES = 256
"""Files that one thread keeps open between blocks."""


class LookReader(Protocol):
    """One look, opened."""

    def mask(self, lattice: Lattice) -> np.ndarray:
        """Mask codes (y, x)."""

    def data(self, lattice: Lattice) -> np.ndarray:
        """Stored values (band, y, x); decides nothing where the mask is not clear."""

    def done(self) -> None:
        """Let go of what was kept from `mask` for `data`: there are as many looks open as there are dates."""


class LookSource(Protocol):
    """One look, described; goes to other processes. Looks of one group count once."""

    @property
    def group(self) -> str:
        """Name of the group."""
        ...

    @property
    def id(self) -> str:
        """Unique among the looks of a cube."""
        ...

    @property
    def when(self) -> dt.datetime:
        """Instant of the acquisition, UTC."""
        ...

    @property
    def files(self) -> int:
        """Files that are held open."""
        ...

    def open(self, tiles: TileCache) -> AbstractContextManager[LookReader]:
        """Open its files."""
        ...


Source = TypeVar("Source", bound=LookSource)


@dataclass(frozen=True)
class ObservationSource:
    """A look from an observation folder."""

    folder: Path
    about: Observation
    files: int = 2

    @property
    def group(self) -> str:
        """Overlapping tiles of one datatake share it."""
        return self.about.group

    @property
    def id(self) -> str:
        """Scene id."""
        return self.about.id

    @property
    def when(self) -> dt.datetime:
        """Instant of the acquisition, UTC."""
        return self.about.when

    @contextmanager
    def open(self, tiles: TileCache) -> Iterator[LookReader]:
        """Open its two rasters."""
        with open_observation(self.folder) as reader:
            yield ObservationLook(reader)


class ObservationLook:
    """An opened observation."""

    def __init__(self, reader: ObservationReader) -> None:
        self._reader = reader

    def mask(self, lattice: Lattice) -> np.ndarray:
        """Mask codes (y, x)."""
        if intersect(self._reader.about.bounds_m, lattice.bounds_m) is None:
            return np.zeros(lattice.shape_yx, np.uint8)
        return self._reader.mask(lattice)

    def data(self, lattice: Lattice) -> np.ndarray:
        """Stored values (band, y, x)."""
        return self._reader.data(lattice)

    def done(self) -> None:
        """Nothing is kept."""


def observation_sources(folders: Sequence[Path]) -> list[ObservationSource]:
    """Observations in the order in which they are fed.

    Raises:
        InputError: A folder is no observation.
    """
    return feeding_order([ObservationSource(folder, read_about(folder)) for folder in folders])


def feeding_order(sources: Sequence[Source]) -> list[Source]:
    """By day; within a day looks of one group follow each other."""
    return sorted(sources, key=lambda s: (s.when.date(), s.group, s.when, s.id))


class Handles:
    """Opened looks, each thread its own, the least recently used closed first."""

    def __init__(self, sources: Sequence[LookSource], cache_bytes: int) -> None:
        self._sources = sources
        self._tiles = TileCache(cache_bytes)
        self._local = threading.local()
        self._lock = threading.Lock()
        self._all: list[OrderedDict[int, tuple[ExitStack, LookReader]]] = []

    def reader(self, index: int) -> LookReader:
        """The reader of one look, for this thread."""
        mine: OrderedDict[int, tuple[ExitStack, LookReader]] | None = getattr(self._local, "opened", None)
        if mine is None:
            mine = self._local.opened = OrderedDict()
            with self._lock:
                self._all.append(mine)
        if index not in mine:
            room = OPEN_FILES - self._sources[index].files
            while mine and sum(self._sources[i].files for i in mine) > room:
                mine.popitem(last=False)[1][0].close()
            stack = ExitStack()
            mine[index] = (stack, stack.enter_context(self._sources[index].open(self._tiles)))
        mine.move_to_end(index)
        return mine[index][1]

    def close(self) -> None:
        """Close everything; no thread may be reading any more."""
        for opened in self._all:
            for stack, _ in opened.values():
                stack.close()
            opened.clear()
        self._tiles.clear()

"""Looks of ready-made series, as a composite reads them."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import numpy as np

from landcover_cli.io.looks import LookReader
from landcover_cli.io.ongrid import Lattice
from landcover_cli.io.stack import StackDate, StackReader
from landcover_cli.io.tilecache import TileCache


class StackLook:
    """A look from a ready-made series, which is open already."""

    files = 0

    def __init__(self, reader: StackReader, date: StackDate) -> None:
        self._reader, self._date = reader, date
        self._last: tuple[Lattice, np.ndarray] | None = None
        # Adjoining slices of one pass have times seconds apart and share no ground: each is a group of its own.
        self.id = self.group = f"{date.when.isoformat()} {date.parts}"
        self.when = date.when

    def open(self, tiles: TileCache) -> AbstractContextManager[LookReader]:
        """It is open already."""
        return nullcontext(self)

    def mask(self, lattice: Lattice) -> np.ndarray:
        """Mask codes (y, x)."""
        # Validity comes from the values, so both are read; `data` follows on the same lattice.
        values, codes = self._reader.read(self._date, lattice)
        self._last = (lattice, values)
        return codes

    def data(self, lattice: Lattice) -> np.ndarray:
        """Stored values (band, y, x)."""
        if self._last is None or self._last[0] != lattice:
            return self._reader.read(self._date, lattice)[0]
        return self._last[1]

    def done(self) -> None:
        """Let go of the values that `mask` read."""
        self._last = None

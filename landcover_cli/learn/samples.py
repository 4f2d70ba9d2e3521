"""Patches as batches: read once where memory allows, augmented by seed, prepared while the network works."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch

from landcover_cli.io.patchindex import PatchRecord, read_index
from landcover_cli.io.patchstore import PatchStore
from landcover_cli.learn.augment import Augmentation, augment
from landcover_cli.learn.batch import PortArrays, collate, port_arrays
from landcover_cli.learn.objective import IGNORE, Batch
from models.spec import Port

__all__ = ["PatchSamples"]

Sample = tuple[dict[str, PortArrays], np.ndarray, np.ndarray | None]
"""Inputs, target ``[H, W]``, and what each pixel's label counts (None: all alike)."""


class PatchSamples:
    """All patches of a folder of `lc tile`, normalised for a network's inputs.

    Attributes:
        records: Index of the patches.
    """

    def __init__(self, folder: Path, ports: Sequence[Port], cache_bytes: int) -> None:
        """Open the folder.

        Args:
            folder: As written by `lc tile`.
            ports: Inputs to read, with mean and std.
            cache_bytes: Memory for samples that are kept between epochs.

        Raises:
            InputError: No patches, or damaged ones.
        """
        self.records: tuple[PatchRecord, ...] = read_index(folder)
        self._store = PatchStore(folder)
        self._ports = {port.name: port for port in ports}
        self._stored = {port.name: port for port in self._store.ports}
        self._room = cache_bytes
        self._cache: dict[int, Sample] = {}

    def split(self, name: str) -> tuple[int, ...]:
        """Positions of the patches of one split."""
        return tuple(index for index, record in enumerate(self.records) if record.split == name)

    def load(self, index: int) -> Sample:
        """One patch: its inputs, its target with `IGNORE` where there is no label, and its weights."""
        if index in self._cache:
            return self._cache[index]
        patch = self._store.read(index)
        inputs = {}
        for name, port in self._ports.items():
            if name in patch.inputs:
                part, stored = patch.inputs[name], self._stored[name]
                inputs[name] = port_arrays(
                    part.data_tbyx, part.valid_tyx, part.periods, port, scale=stored.scale, offset=stored.offset
                )
        labels = patch.labels_yx.astype(np.int64)
        sample = inputs, np.where(labels == self._store.nodata, IGNORE, labels), patch.weights_yx
        size = 2 * labels.nbytes + sum(part.data_tchw.nbytes + part.valid_thw.nbytes for part in inputs.values())
        if size <= self._room:
            self._room -= size
            self._cache[index] = sample
        return sample

    def batch(self, indices: Sequence[int], how: Augmentation | None = None, seed: Sequence[int] = ()) -> Batch:
        """A batch; each sample's variant is decided by `seed` and its own position alone."""
        samples = [self.load(index) for index in indices]
        if how is not None:
            samples = [
                augment(*sample, how, np.random.default_rng([*seed, index]))
                for sample, index in zip(samples, indices, strict=True)
            ]
        target = torch.from_numpy(np.stack([target_yx for _, target_yx, _ in samples]))
        weights = [np.ones(labels.shape, np.float32) if found is None else found for _, labels, found in samples]
        weighted = any(found is not None for _, _, found in samples)
        weight = torch.from_numpy(np.stack(weights).astype(np.float32)) if weighted else None
        return Batch(collate([inputs for inputs, _, _ in samples]), target, tuple(indices), weight)

    def batches(
        self, order: Sequence[int], size: int, how: Augmentation | None = None, seed: Sequence[int] = ()
    ) -> Iterator[Batch]:
        """Batches in order, the next two prepared by a thread while the caller works on one."""
        chunks = [order[start : start + size] for start in range(0, len(order), size)]
        with ThreadPoolExecutor(1) as pool:
            ahead: list[Future[Batch]] = []
            for position in range(len(chunks) + 2):
                if position < len(chunks):
                    ahead.append(pool.submit(self.batch, chunks[position], how, seed))
                if position >= 2:
                    yield ahead.pop(0).result()

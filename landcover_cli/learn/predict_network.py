"""The network's side of prediction: windows in, weighted probabilities out, the same bits whatever runs beside."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch.nn.functional import interpolate

from landcover_cli.core.windows import WindowLattice
from landcover_cli.errors import ConfigError, InputError
from landcover_cli.learn.batch import Modality, PortArrays, collate
from landcover_cli.learn.modelfolder import load_model, model_digest
from models.spec import ModelSpec

if TYPE_CHECKING:
    from torch import Tensor, nn

log = logging.getLogger("lc")

_lock = threading.Lock()
_inside = 0
_threads_before = 1
_independent: WeakKeyDictionary[nn.Module, dict[object, bool]] = WeakKeyDictionary()
"""Network → shape of a batch → whether windows in it leave each other alone; found out once a process."""


@contextmanager
def single_threaded() -> Iterator[None]:
    """Operators of torch run on one thread in here, for every thread of the process that is in here.

    How an operator is cut among threads decides the last bits of its result, so the number must not depend on the
    machine. The setting is the process' own; it comes back once the last one has left.
    """
    global _inside, _threads_before  # noqa: PLW0603  the setting itself is global
    with _lock:
        if _inside == 0:
            _threads_before = torch.get_num_threads()
        _inside += 1
        torch.set_num_threads(1)
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if _inside == 0:
                torch.set_num_threads(_threads_before)


def pick_device(name: str) -> str:
    """``auto`` → ``cuda:0`` where there is one, else ``cpu``.

    Raises:
        ConfigError: A device that is not there.
    """
    if name == "auto":
        return "cuda:0" if torch.cuda.is_available() else "cpu"
    if name == "cpu":
        return name
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ConfigError(f"unknown device {name!r}", remedy="use auto, cpu or cuda:<n>") from None
    if device.type != "cuda" or not torch.cuda.is_available() or (device.index or 0) >= torch.cuda.device_count():
        raise ConfigError(
            f"device {name!r} is not there ({torch.cuda.device_count()} CUDA devices)", remedy="use auto or cpu"
        )
    return name


def cached_model(folder: Path, device: str) -> tuple[ModelSpec, nn.Module]:
    """A model folder's network, loaded once a process; a folder with other weights is another model.

    Raises:
        InputError: As `load_model`.
    """
    with _lock:
        return _load(folder.resolve(), model_digest(folder), device)


@lru_cache(maxsize=2)
def _load(folder: Path, digest: str, device: str) -> tuple[ModelSpec, nn.Module]:
    spec, network = load_model(folder, device)
    # Convolutions read pixels faster than planes; the values are the same.
    return spec, network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


class WindowNetwork:
    """Runs a network on windows in batches of one fixed shape.

    Args:
        spec: The model.
        network: In eval mode, on `device`.
        lattice: Windows and blend weights.
        batch: Windows per forward pass.
        precision: ``float32`` or ``bfloat16``.
        device: ``cpu`` or ``cuda:<n>``.
    """

    def __init__(
        self, spec: ModelSpec, network: nn.Module, lattice: WindowLattice, *, batch: int, precision: str, device: str
    ) -> None:
        self.spec, self.network, self.device, self.batch = spec, network, device, batch
        self._bfloat16 = precision == "bfloat16"
        first, after = lattice.support
        self._support = slice(first, after)
        self._patch = lattice.patch_px
        weights = lattice.weights_yx()[self._support, self._support]
        self._weights: Tensor | None = None if (weights == 1).all() else torch.from_numpy(weights).to(device)

    def run(self, samples: Sequence[Mapping[str, PortArrays]]) -> Tensor:
        """Weighted class probabilities of windows: ``[N, K, s, s]`` float32 over the part that has weight.

        Args:
            samples: 1..`batch` windows; the rest of the batch is padding that nobody looks at.
        """
        with torch.inference_mode():
            inputs = {name: self._placed(item) for name, item in self._collate(samples).items()}
            return self._weighted(self._logits(inputs)[: len(samples)])

    def _weighted(self, logits: Tensor) -> Tensor:
        logits = logits.float()
        if logits.shape[1] != len(self.spec.classes):
            raise InputError(
                f"the network gives {logits.shape[1]} classes, its description has {len(self.spec.classes)}",
                remedy="train the model again",
            )
        if logits.shape[-2:] != (self._patch, self._patch):
            logits = interpolate(logits, size=(self._patch, self._patch), mode="bilinear", align_corners=False)
        logits = logits[..., self._support, self._support]
        if self.spec.temperature != 1.0:
            logits = logits / self.spec.temperature
        probabilities = torch.softmax(logits.contiguous(), dim=1)
        return probabilities if self._weights is None else probabilities.mul_(self._weights)

    def _logits(self, inputs: dict[str, Modality]) -> Tensor:
        try:
            kind = self.device.partition(":")[0]
            with torch.autocast(kind, dtype=torch.bfloat16) if self._bfloat16 else nullcontext():
                return self.network(inputs)  # type: ignore[no-any-return]
        except torch.cuda.OutOfMemoryError:
            size = len(next(iter(inputs.values())).data)
            if size == 1:
                raise
            torch.cuda.empty_cache()
            log.warning("%s is out of memory with %d windows at once; trying halves", self.device, size)
            halves = [
                {name: Modality(*(part[cut] for part in item)) for name, item in inputs.items()}
                for cut in (slice(0, size // 2), slice(size // 2, size))
            ]
            return torch.cat([self._logits(half) for half in halves])

    def _collate(self, samples: Sequence[Mapping[str, PortArrays]]) -> dict[str, Modality]:
        """A full batch: padded with empty windows, and with one empty date for an input that is not there."""
        padded: list[Mapping[str, PortArrays]] = [*samples, *({} for _ in range(self.batch - len(samples)))]
        batch = collate(padded)
        return {port.name: batch.get(port.name) or self._absent(port.name) for port in self.spec.ports}

    def _absent(self, name: str) -> Modality:
        port = next(port for port in self.spec.ports if port.name == name)
        edge = round(self._patch * self.spec.gsd_m / port.gsd_m)
        empty = empty_arrays(port.length or 1, len(port.bands), edge)
        return collate([{name: empty}] * self.batch)[name]

    def _placed(self, item: Modality) -> Modality:
        return item if self.device == "cpu" else Modality(*(part.to(self.device, non_blocking=True) for part in item))

    def settle_batch(self, sample: Mapping[str, PortArrays]) -> None:
        """Make sure that a window's bits depend neither on its place in a batch nor on its neighbours.

        Some builds of the matrix library cut a batch so that they do; then windows go through one by one. Tried on the
        inputs' real shapes with repeatable noise; costs two forward passes.
        """
        if self.batch == 1 or self.device != "cpu":
            return
        shapes = tuple((name, arrays.data_tchw.shape) for name, arrays in sorted(sample.items()))
        key = (shapes, self.batch, self._bfloat16)
        with _lock:
            known = _independent.setdefault(self.network, {}).get(key)
        if known is None:
            known = self._is_independent(sample)
            with _lock:
                _independent[self.network][key] = known
        if not known:
            log.warning("on this machine a window's result depends on its batch; predicting window by window")
            self.batch = 1

    def _is_independent(self, sample: Mapping[str, PortArrays]) -> bool:
        rng = np.random.default_rng(0)
        noise = {
            name: PortArrays(
                rng.standard_normal(arrays.data_tchw.shape, dtype=np.float32),
                np.ones(arrays.valid_thw.shape, bool),
                arrays.doy_t,
                arrays.day_t,
                np.ones(arrays.present_t.shape, bool),
            )
            for name, arrays in sample.items()
        }
        alone = self.run([noise])
        together = self.run([noise] * self.batch)
        return bool((together == alone).all())


def empty_arrays(dates: int, bands: int, edge_px: int) -> PortArrays:
    """An input without an observation."""
    return PortArrays(
        np.zeros((dates, bands, edge_px, edge_px), np.float32),
        np.zeros((dates, edge_px, edge_px), bool),
        np.zeros(dates, np.int64),
        np.zeros(dates, np.int64),
        np.zeros(dates, bool),
    )

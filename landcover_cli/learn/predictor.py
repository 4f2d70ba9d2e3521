"""From cubes to classes: windows of the product grid, blended, strip by strip.

A pixel's result depends on the model, the settings and the cubes around it, and on nothing else: windows lie on the
grid's origin, every batch has one shape, operators run on one thread, and windows are added up row by row in the same
order however the work was cut. Memory depends on the width of the box and on `memory_bytes`, never on its height.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from landcover_cli.config.learning import PredictConfig
from landcover_cli.core.unit import RunContext
from landcover_cli.core.windows import PixelBox, WindowLattice
from landcover_cli.errors import InputError
from landcover_cli.io.maplayers import PROBABILITY_NODATA
from landcover_cli.learn.batch import PortArrays, window_to_arrays
from landcover_cli.learn.predict_inputs import StripData, StripReader, check_inputs, window_lattice
from landcover_cli.learn.predict_network import WindowNetwork, cached_model, pick_device, single_threaded

if TYPE_CHECKING:
    from torch import Tensor, nn

    from landcover_cli.io.cubestore import CubeSeries
    from models.spec import ModelSpec

__all__ = ["MemoryPlan", "Predictor", "Strip", "open_predictor"]

_STEPS = 250.0
"""A probability p is stored as round(250·p): steps of 0.4 %; `maplayers.PROBABILITY_SCALE` is its inverse."""
_STRIP_ROWS = 1024
_COLUMN_PX = 512

Mask = Callable[[PixelBox], np.ndarray]


@dataclass(frozen=True)
class Strip:
    """Finished rows of a map.

    Attributes:
        box: Pixels of the product grid.
        class_yx: Class index, uint8 (uint16 above 254 classes); nodata 255 (65535).
        confidence_yx: Probability of that class, uint8, 250 = 1; nodata 255.
        validity_byx: Clear observations per input of `validity_ports`, uint16.
        probabilities_byx: Probability per class, as `confidence_yx`; None unless asked for.
    """

    box: PixelBox
    class_yx: np.ndarray
    confidence_yx: np.ndarray
    validity_byx: np.ndarray
    probabilities_byx: np.ndarray | None


@dataclass(frozen=True)
class MemoryPlan:
    """How a box is cut so that it fits into memory; changes no pixel.

    Attributes:
        window_rows: Rows of windows that are read at once.
        column_px: Width of the columns that are worked on one after the other.
        total_bytes: Expected peak of strips, sums and batches, beside the model and its activations.
    """

    window_rows: int
    column_px: int
    total_bytes: int


@dataclass(frozen=True)
class _Job:
    strip: StripData
    window: PixelBox


@dataclass(frozen=True)
class _Emit:
    strip: StripData
    rows: range


class Predictor:
    """A model on its cubes, ready to map any box of the product grid.

    Args:
        spec: The model's description.
        network: In eval mode, on `device`.
        cubes: Input name → cube; optional inputs may be missing.
        config: Stride, batch, blend, precision.
        device: ``cpu`` or ``cuda:<n>``.

    Raises:
        InputError: A cube that is not what the model was trained on.
        ConfigError: A stride that does not fit.
    """

    def __init__(
        self,
        spec: ModelSpec,
        network: nn.Module,
        cubes: Mapping[str, CubeSeries],
        config: PredictConfig,
        device: str = "cpu",
    ) -> None:
        check_inputs(spec, cubes)
        self.spec, self.cubes, self.config = spec, cubes, config
        self.lattice: WindowLattice = window_lattice(spec, config.stride_px, config.blend)
        self._reader = StripReader(spec, cubes)
        self._network = WindowNetwork(
            spec, network, self.lattice, batch=config.batch, precision=config.precision, device=device
        )
        self._settled = False

    def reach(self, box: PixelBox) -> PixelBox:
        """Ground whose values decide a box: its windows."""
        return self.lattice.reach(box)

    def memory_plan(self, box: PixelBox, memory_bytes: int, threads: int = 1) -> MemoryPlan:
        """Cut a box so that it stays within memory, as far as one row of windows over 512 px can."""
        lattice, classes = self.lattice, len(self.spec.classes)
        window_px = lattice.patch_px**2
        # Inputs of a window are held as stored, converted and normalised; its result as logits and as probabilities.
        batch = self._network.batch * window_px * (3 * self._reader.bytes_per_pixel() * 2 + 3 * 4 * classes)
        fixed = int(batch * (threads + 1))
        # Three strips: read, in work, held by a batch that spans two; sums and the rows carried over; the decision.
        per_px = 3 * self._reader.bytes_per_pixel() + 4 * classes * (2 - lattice.stride_px / lattice.patch_px) + 20

        def strips(rows: int, width: int) -> int:
            height = (rows - 1) * lattice.stride_px + lattice.patch_px
            return int(per_px * height * (width + 2 * lattice.patch_px))

        column = box.width
        while column > _COLUMN_PX and fixed + strips(1, column) > memory_bytes:
            column = max(_COLUMN_PX, -(-column // 2 // _COLUMN_PX) * _COLUMN_PX)
        wanted = max(1, min(len(lattice.rows(box)), _STRIP_ROWS // lattice.stride_px))
        rows = next((n for n in range(wanted, 1, -1) if fixed + strips(n, column) <= memory_bytes), 1)
        return MemoryPlan(rows, column, fixed + strips(rows, column))

    def strips(self, box: PixelBox, context: RunContext, inside: Mask | None = None) -> Iterator[Strip]:
        """Map a box; finished strips come in columns, each from the top down.

        Args:
            box: Pixels to map, anywhere on the grid.
            context: Memory, threads and how to stop; changes no pixel.
            inside: Which pixels of a box are wanted at all; the rest is nodata, and windows without any are skipped.

        Raises:
            InputError: A chunk of a cube is damaged, or the network gives no number.
        """
        plan = self.memory_plan(box, context.memory_bytes, context.threads)
        with ExitStack() as stack:
            stack.enter_context(single_threaded())
            pool = None
            if context.threads > 1:
                pool = stack.enter_context(
                    ThreadPoolExecutor(
                        context.threads + 1, "lc-predict", initializer=torch.set_num_threads, initargs=(1,)
                    )
                )
            for col in range(box.col0, box.col1, plan.column_px):
                part = PixelBox(box.row0, col, box.row1, min(col + plan.column_px, box.col1))
                run = _BoxRun(self, part, plan.window_rows, context, pool, inside)
                yield from run.strips()

    def read(self, box: PixelBox) -> StripData:
        """All inputs over a box whose edges are window edges."""
        return self._reader.read(box)

    def forward(self, jobs: list[_Job]) -> Tensor:
        """Weighted probabilities of windows, ``[N, K, s, s]``."""
        samples = [self._sample(job) for job in jobs]
        size = self._network.batch
        parts = [self._network.run(samples[i : i + size]) for i in range(0, len(samples), size)]
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def settle(self, job: _Job) -> None:
        """Once, before the first batch: see `WindowNetwork.settle_batch`."""
        if not self._settled:
            self._network.settle_batch(self._sample(job))
            self._settled = True

    @property
    def batch(self) -> int:
        """Windows per forward pass."""
        return self._network.batch

    @property
    def device(self) -> str:
        """Where sums are kept."""
        return self._network.device

    def _sample(self, job: _Job) -> dict[str, PortArrays]:
        return {
            port.name: window_to_arrays(self._reader.cut(job.strip, job.window, port), port, self.cubes[port.name])
            for port in self.spec.ports
            if port.name in self.cubes
        }


class _BoxRun:
    """One pass over one column of a box."""

    def __init__(
        self,
        predictor: Predictor,
        box: PixelBox,
        window_rows: int,
        context: RunContext,
        pool: ThreadPoolExecutor | None,
        inside: Mask | None,
    ) -> None:
        self._predictor, self._box, self._context = predictor, box, context
        self._pool, self._inside = pool, inside
        self._lattice = predictor.lattice
        rows = self._lattice.rows(box)
        self._groups = [rows[i : i + window_rows] for i in range(0, len(rows), window_rows)]
        first, after = self._lattice.support
        height = min((window_rows - 1) * self._lattice.stride_px + after - first, box.height)
        classes = len(predictor.spec.classes)
        self._sums = torch.zeros((classes, height, box.width), dtype=torch.float32, device=predictor.device)
        self._base = box.row0

    def strips(self) -> Iterator[Strip]:
        queue: deque[tuple[Future[Tensor] | Tensor | None, list[_Job | _Emit]]] = deque()
        # One batch more than there are threads keeps them busy while the sums are made.
        in_flight = self._context.threads if self._pool else 0
        for items in self._batches():
            self._context.check()
            queue.append((self._start([item for item in items if isinstance(item, _Job)]), items))
            while len(queue) > in_flight:
                yield from self._finish(*queue.popleft())
        while queue:
            yield from self._finish(*queue.popleft())

    def _start(self, jobs: list[_Job]) -> Future[Tensor] | Tensor | None:
        if not jobs:
            return None
        if self._pool:
            return self._pool.submit(self._predictor.forward, jobs)
        return self._predictor.forward(jobs)

    def _finish(self, result: Future[Tensor] | Tensor | None, items: list[_Job | _Emit]) -> Iterator[Strip]:
        values = result.result() if isinstance(result, Future) else result
        index = 0
        for item in items:
            if isinstance(item, _Job):
                assert values is not None
                self._add(item.window, values[index])
                index += 1
            else:
                yield self._emit(item)

    def _batches(self) -> Iterator[list[_Job | _Emit]]:
        """Windows with something to map, in order, a batch at a time, and between them the rows that they finish."""
        items: list[_Job | _Emit] = []
        count = 0
        for group, strip in self._read():
            for job in self._jobs(group, strip):
                self._predictor.settle(job)
                items.append(job)
                count += 1
                if count == self._predictor.batch:
                    yield items
                    items, count = [], 0
            # A batch may span two strips, not more: each holds its strips in memory.
            held = any(isinstance(item, _Emit) for item in items)
            items.append(_Emit(strip, self._rows_done(group)))
            if held or count == 0:
                yield items
                items, count = [], 0
        if items:
            yield items

    def _read(self) -> Iterator[tuple[range, StripData]]:
        """Strips in order, the next one read while this one is in work."""
        columns = self._lattice.columns(self._box)
        boxes = []
        for group in self._groups:
            first, last = self._lattice.window(group[0], columns[0]), self._lattice.window(group[-1], columns[-1])
            boxes.append(PixelBox(first.row0, first.col0, last.row1, last.col1))
        ahead: Future[StripData] | None = None
        for index, (group, box) in enumerate(zip(self._groups, boxes, strict=True)):
            strip = ahead.result() if ahead else self._load(box)
            if self._pool and index + 1 < len(boxes):
                ahead = self._pool.submit(self._load, boxes[index + 1])
            yield group, strip

    def _load(self, box: PixelBox) -> StripData:
        strip = self._predictor.read(box)
        if self._inside is not None:
            strip.observed_yx[...] &= self._inside(box)
        return strip

    def _jobs(self, group: range, strip: StripData) -> Iterator[_Job]:
        first, after = self._lattice.support
        for ky in group:
            for kx in self._lattice.columns(self._box):
                window = self._lattice.window(ky, kx)
                weighted = PixelBox(
                    window.row0 + first, window.col0 + first, window.row0 + after, window.col0 + after
                ).intersect(self._box)
                if strip.observed_yx[weighted.slices_in(strip.box)].any():
                    yield _Job(strip, window)

    def _rows_done(self, group: range) -> range:
        """Rows of the box that no later window adds to."""
        first, _ = self._lattice.support
        begin = max(self._box.row0, group[0] * self._lattice.stride_px + first)
        end = (group[-1] + 1) * self._lattice.stride_px + first
        return range(begin, self._box.row1 if group is self._groups[-1] else min(end, self._box.row1))

    def _add(self, window: PixelBox, values_kyx: Tensor) -> None:
        first, after = self._lattice.support
        weighted = PixelBox(window.row0 + first, window.col0 + first, window.row0 + after, window.col0 + after)
        part = weighted.intersect(self._box)
        rows, cols = part.slices_in(weighted)
        here = slice(part.row0 - self._base, part.row1 - self._base), slice(*_shift(part, self._box))
        self._sums[:, here[0], here[1]] += values_kyx[:, rows, cols]

    def _emit(self, item: _Emit) -> Strip:
        """Take the finished rows out of the sums, and move the rest up."""
        box = PixelBox(item.rows.start, self._box.col0, item.rows.stop, self._box.col1)
        height = box.height
        with torch.inference_mode():
            strip = self._decide(item.strip, box, self._sums[:, :height])
            rest = self._sums[:, height:].clone()
            self._sums[:, : rest.shape[1]] = rest
            self._sums[:, rest.shape[1] :] = 0
        self._base = box.row1
        done = (box.row1 - self._box.row0) / self._box.height
        self._context.progress(done, 1.0, "rows")
        return strip

    def _decide(self, data: StripData, box: PixelBox, sums_kyx: Tensor) -> Strip:
        classes = len(self._predictor.spec.classes)
        best, index = sums_kyx[0].clone(), torch.zeros(sums_kyx.shape[1:], dtype=torch.int32, device=sums_kyx.device)
        for k in range(1, classes):
            # Strictly greater: the first of equals wins, whatever the device.
            index.masked_fill_(sums_kyx[k] > best, k)
            torch.maximum(best, sums_kyx[k], out=best)
        cut = box.slices_in(data.box)
        observed = data.observed_yx[cut]
        confidence = best.cpu().numpy()
        if not np.isfinite(confidence[observed]).all():
            raise InputError(
                f"the network gives no number (NaN) in rows {box.row0} to {box.row1} of the grid",
                remedy="train the model again with a lower learning rate, or predict with precision float32",
            )
        dtype, nodata = (np.uint8, 255) if classes <= 254 else (np.uint16, 65_535)
        probabilities = None
        if self._predictor.config.probabilities:
            probabilities = np.where(observed, _quantised(sums_kyx.cpu().numpy()), np.uint8(PROBABILITY_NODATA))
        return Strip(
            box,
            np.where(observed, index.cpu().numpy(), nodata).astype(dtype),
            np.where(observed, _quantised(confidence), np.uint8(PROBABILITY_NODATA)),
            data.n_clear_byx[(slice(None), *cut)].copy(),
            probabilities,
        )


def _shift(part: PixelBox, box: PixelBox) -> tuple[int, int]:
    return part.col0 - box.col0, part.col1 - box.col0


def _quantised(probability: np.ndarray) -> np.ndarray:
    """Probabilities 0..1 → uint8 0..250."""
    with np.errstate(invalid="ignore"):
        return np.clip(np.rint(probability * np.float32(_STEPS)), 0, _STEPS).astype(np.uint8)


def open_predictor(
    model: Path, cubes: Mapping[str, CubeSeries], config: PredictConfig, device: str = "auto"
) -> Predictor:
    """A predictor of a model folder; the network is loaded once a process.

    Raises:
        InputError: The model folder or a cube is not what it must be.
        ConfigError: A device that is not there, a stride that does not fit.
    """
    place = pick_device(device)
    spec, network = cached_model(model, place)
    return Predictor(spec, network, cubes, config, place)

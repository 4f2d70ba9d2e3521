"""A whole area from a model folder and cubes: blocks of the grid, run by any executor, put together and cut."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from landcover_cli.compute import Executor, open_executor
from landcover_cli.config.learning import PredictConfig
from landcover_cli.config.runtime import RuntimeConfig, parse_bytes
from landcover_cli.core.grid import ProductGrid
from landcover_cli.core.unit import RunContext, UnitRef
from landcover_cli.core.windows import PixelBox
from landcover_cli.errors import InputError
from landcover_cli.io.atomic import atomic_folder
from landcover_cli.io.cubestore import CubeSeries
from landcover_cli.io.mapfiles import write_map
from landcover_cli.io.maplayers import map_layers
from landcover_cli.io.mosaic import area_box, inside_mask
from landcover_cli.io.vector import Aoi, aoi_on_grid, read_aoi
from landcover_cli.learn.modelfolder import model_digest, read_spec
from landcover_cli.learn.predict_files import map_facts, predict_to_files
from landcover_cli.learn.predict_inputs import check_inputs, validity_ports, window_lattice
from landcover_cli.learn.predictor import open_predictor

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry

    from models.spec import ModelSpec


class Watcher(Protocol):
    """Who watches."""

    def step(self, title: str, total: int, done: int) -> None:
        """A step begins."""
        ...

    def unit(self, unit: UnitRef, seconds: float, error: Exception | None) -> None:
        """A block ended."""
        ...

    def within(self, done: float, total: float, text: str) -> None:
        """Progress within a block."""
        ...


@dataclass(frozen=True)
class AreaPlan:
    """What mapping an area takes.

    Attributes:
        model: Model folder.
        spec: Its description.
        pieces: Input → pieces of its cube.
        cubes: The same, opened.
        config: Settings that decide the pixels.
        runtime: Settings that do not.
        name: Name of the map.
        aoi: The area as read.
        geometry: The area in the grid's CRS.
        blocks: Boxes of the grid that cover it.
    """

    model: Path
    spec: ModelSpec
    pieces: Mapping[str, Sequence[Path]]
    cubes: Mapping[str, CubeSeries]
    config: PredictConfig
    runtime: RuntimeConfig
    name: str
    aoi: Aoi
    geometry: BaseGeometry
    blocks: tuple[PixelBox, ...]

    @property
    def threads(self) -> int:
        """Compute threads of one block: workers that have no block of their own help with the others'."""
        return max(1, self.runtime.workers // max(1, len(self.blocks)))

    @property
    def block_memory(self) -> int:
        """Memory of one block in bytes."""
        return parse_bytes(self.runtime.memory) // min(self.runtime.workers, max(1, len(self.blocks)))

    def describe(self) -> dict[str, Any]:
        """Blocks, windows, bytes and memory, without reading a pixel."""
        lattice = window_lattice(self.spec, self.config.stride_px, self.config.blend)
        windows = sum(len(lattice.rows(block)) * len(lattice.columns(block)) for block in self.blocks)
        pixels = sum(block.height * block.width for block in self.blocks)
        layers = 2 + 2 * len(validity_ports(self.spec)) + self.config.probabilities * len(self.spec.classes)
        at_a_time = min(self.runtime.workers, len(self.blocks))
        predictor = open_predictor(self.model, self.cubes, self.config, "cpu")
        memory = max(predictor.memory_plan(block, self.block_memory, self.threads).total_bytes for block in self.blocks)
        return {
            "name": self.name,
            "inputs": {name: list(cube.bands) for name, cube in sorted(self.cubes.items())},
            "missing_inputs": [port.name for port in self.spec.ports if port.name not in self.cubes],
            "patch_px": lattice.patch_px,
            "stride_px": lattice.stride_px,
            "blocks": len(self.blocks),
            "pixels": pixels,
            "windows_at_most": windows,
            "uncompressed_output_bytes": pixels * layers,
            "memory_bytes": memory * at_a_time,
        }


def plan_area(
    model: Path,
    pieces: Mapping[str, Sequence[Path]],
    aoi: Path,
    config: PredictConfig,
    runtime: RuntimeConfig,
    *,
    block_px: int,
    name: str | None = None,
) -> AreaPlan:
    """Lay out the blocks of an area; reads metadata only.

    Raises:
        InputError: The AOI, the model or a cube is not what it must be; the AOI lies outside the cubes.
    """
    spec = read_spec(model)
    cubes = {key: CubeSeries.open(paths) for key, paths in pieces.items()}
    check_inputs(spec, cubes)
    area = read_aoi(aoi)
    crs = next(iter(cubes.values())).crs
    geometry = aoi_on_grid(area, crs)
    box = area_box(geometry, spec.gsd_m)
    if all(box.intersect(PixelBox.from_bounds(cube.bounds_m, spec.gsd_m)).empty for cube in cubes.values()):
        bounds = next(iter(cubes.values())).bounds_m
        raise InputError(
            f"AOI {aoi} lies outside the cubes: it covers {_metres(geometry.bounds)}, they cover {_metres(bounds)}",
            remedy="give an AOI within the cubes, or make the cubes for it",
        )
    title = re.sub(r"[^A-Za-z0-9._-]+", "_", name or aoi.stem).strip("._") or "map"
    blocks = _blocks(geometry, box, ProductGrid(crs, spec.gsd_m, block_px))
    return AreaPlan(model, spec, pieces, cubes, config, runtime, title, area, geometry, blocks)


def _metres(bounds: Sequence[float]) -> str:
    left, bottom, right, top = bounds
    return f"x {left:.0f} … {right:.0f}, y {bottom:.0f} … {top:.0f}"


def _blocks(geometry: BaseGeometry, box: PixelBox, grid: ProductGrid) -> tuple[PixelBox, ...]:
    """The tiles of a grid over an area, each cut to the area's box."""
    tiles = [PixelBox.from_bounds(grid.tile_bounds_m(t), grid.resolution_m) for t in grid.tiles_over(geometry)]
    return tuple(sorted(part for tile in tiles if not (part := tile.intersect(box)).empty))


@dataclass(frozen=True)
class _BlockTask:
    model: str
    pieces: Mapping[str, tuple[str, ...]]
    config: PredictConfig
    box: PixelBox
    geometry: BaseGeometry
    folder: str
    context: RunContext


def _run_block(task: _BlockTask) -> None:
    """Map one block into its folder; runs in any worker."""
    cubes = {name: CubeSeries.open(Path(path) for path in paths) for name, paths in task.pieces.items()}
    predictor = open_predictor(Path(task.model), cubes, task.config, task.context.device)
    folder = Path(task.folder)
    folder.mkdir(parents=True)
    gsd_m = predictor.spec.gsd_m
    predict_to_files(predictor, task.box, folder, task.context, lambda part: inside_mask(task.geometry, part, gsd_m))


def predict_area(plan: AreaPlan, out: Path, watcher: Watcher) -> dict[str, Any]:
    """Map an area into a new folder; it appears whole or not at all.

    Raises:
        InputError: A chunk of a cube is damaged; nothing was observed in the area.
        StorageError: The disk is full.
    """
    facts = map_facts(
        plan.name,
        plan.spec,
        model_digest(plan.model),
        next(iter(plan.cubes.values())).crs,
        tuple(sorted({period for cube in plan.cubes.values() for period in cube.periods})),
        plan.config,
        tuple(plan.cubes),
    )
    runtime = plan.runtime
    with atomic_folder(out) as folder:
        blocks = folder / ".blocks"
        workers = min(runtime.workers, len(plan.blocks))
        kind = "serial" if workers == 1 and runtime.executor == "threads" else runtime.executor
        with open_executor(kind, workers, runtime.scheduler, parse_bytes(runtime.memory)) as executor:
            watcher.step("Prediction", len(plan.blocks), 0)
            try:
                _run_blocks(plan, blocks, executor, watcher)
            except BaseException:
                executor.abort()
                raise
        watcher.step("Map", 1, 0)
        folders = [blocks / str(index) for index in range(len(plan.blocks))]
        layers = map_layers(facts.legend, facts.validity, facts.probabilities)
        tiles = {name: [item / f"{name}.tif" for item in folders] for name in layers}
        result = write_map(folder, facts, tiles, plan.geometry, plan.aoi.geometry_4326, runtime.workers)
        shutil.rmtree(blocks)
        watcher.unit(UnitRef("map", plan.name), 0.0, None)
    return result


def _run_blocks(plan: AreaPlan, blocks: Path, executor: Executor, watcher: Watcher) -> None:
    context = RunContext(memory_bytes=plan.block_memory, threads=plan.threads, device=plan.runtime.device)
    if executor.in_process:
        context = RunContext(
            memory_bytes=plan.block_memory,
            threads=plan.threads,
            device=plan.runtime.device,
            progress=watcher.within,
        )
    pieces = {name: tuple(str(path.resolve()) for path in paths) for name, paths in plan.pieces.items()}
    tasks = [
        _BlockTask(
            str(plan.model.resolve()),
            pieces,
            plan.config,
            box,
            plan.geometry,
            str((blocks / str(index)).resolve()),
            context,
        )
        for index, box in enumerate(plan.blocks)
    ]
    for outcome in executor.run(_run_block, tasks):
        watcher.unit(UnitRef("predict", f"block {outcome.index}"), 0.0, outcome.error)
        if outcome.error is not None:
            raise outcome.error

"""What a step sees when it lays out its units, and what a step is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from landcover_cli.core.grid import ProductGrid, Tile
from landcover_cli.core.types import Period
from landcover_cli.core.unit import Inputs, RunContext, Unit

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry

    from landcover_cli.config.pipeline import PipelineConfig


@dataclass(frozen=True)
class Region:
    """One area of a run, resolved onto the product grid.

    Attributes:
        name: As in the pipeline file (``main`` where there is one AOI).
        role: ``train``, ``map`` or ``both``.
        aoi_file: Path of the AOI file.
        geometry: The AOI in the grid's CRS.
        periods: Composite periods, in order.
        tiles: Tiles that share area with the AOI; the map is made on these.
        context_tiles: Those, and the tiles that windows of the model reach into from them. Cubes are made on these, so
            that a pixel's class does not depend on how the AOI was cut.
        vars: Values for ``{name}`` in paths, ``region`` included.
    """

    name: str
    role: str
    aoi_file: str
    geometry: BaseGeometry
    periods: tuple[Period, ...]
    tiles: tuple[Tile, ...]
    context_tiles: tuple[Tile, ...]
    vars: Mapping[str, str] = field(default_factory=dict)

    @property
    def mapped(self) -> bool:
        """Whether the map is made here."""
        return self.role in {"map", "both"}

    @property
    def labelled(self) -> bool:
        """Whether training labels are taken here."""
        return self.role in {"train", "both"}


@dataclass
class PlanContext:
    """Everything a step may look at while it lays out its units: metadata only, no pixel.

    Attributes:
        config: The pipeline file.
        base: Folder of the pipeline file; paths in it are relative to this.
        grid: The product grid.
        regions: Regions in the order of the pipeline file.
        units: Units of the steps before this one, by step name.
        cache: Room for what several steps find out (lists of scenes); never a result.
    """

    config: PipelineConfig
    base: Path
    grid: ProductGrid
    regions: tuple[Region, ...]
    units: dict[str, tuple[Unit, ...]] = field(default_factory=dict)
    cache: dict[Any, Any] = field(default_factory=dict)

    def path(self, text: str, region: Region | None = None) -> Path:
        """A path of the pipeline file: relative to it, with ``{name}`` filled from the region's values.

        Raises:
            ConfigError: A ``{name}`` that the region has no value for.
        """
        from landcover_cli.errors import ConfigError

        try:
            filled = text.format_map(dict(region.vars)) if region else text
        except (KeyError, IndexError, ValueError) as error:
            known = ", ".join(sorted(region.vars)) if region else "none"
            raise ConfigError(
                f"path {text!r}: no value for {error}", remedy=f"add it to the region's `vars` (known: {known})"
            ) from None
        return self.base / filled


@dataclass(frozen=True)
class Step:
    """A step plug-in.

    Attributes:
        name: The stem of its file.
        title: What it does, for people ("Monthly composites").
        version: Raised whenever the same inputs and parameters give other bytes.
        plan: Lays out the units; metadata only. Returns an empty list where the pipeline file does not ask for it.
        run: Carries out one unit: reads ``Inputs``, writes into the given empty folder, nothing else. Raises LcError
            for bad input. Must give the same bytes whatever the RunContext says.
        parallel: False for a step whose units use all cores by themselves (training).
        check: Refuses parameters of a unit that is to run, before any unit of any step runs; may import what is heavy.
        publish: Folder below ``products/`` where a finished unit's files appear, or None (kept in the store only).
    """

    name: str
    title: str
    version: int
    plan: Callable[[PlanContext], list[Unit]]
    run: Callable[[Unit, Inputs, Path, RunContext], None]
    parallel: bool = True
    check: Callable[[Unit], None] = lambda unit: None
    publish: Callable[[Unit], str | None] = lambda unit: None

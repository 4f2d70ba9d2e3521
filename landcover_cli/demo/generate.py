"""Writing the demo region as products of the real formats."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TypeVar

from landcover_cli.demo.pipeline_file import pipeline_yaml
from landcover_cli.demo.rasters import write_dem, write_truth
from landcover_cli.demo.readme import readme_text
from landcover_cli.demo.region import EPSG, LEFT_M, RELATIVE_ORBIT_S1, TOP_M, Size, region
from landcover_cli.demo.sentinel1_geometry import Geometry, make_geometry
from landcover_cli.demo.sentinel1_ground import MapGrid
from landcover_cli.demo.sentinel1_safe import write_grd_safe
from landcover_cli.demo.sentinel2_safe import product, write_reflectance_safe
from landcover_cli.demo.simulation import Simulation, labelled_units, simulate
from landcover_cli.demo.vectors import write_labels, write_legend, write_region
from landcover_cli.demo.weather import Acquisition
from landcover_cli.errors import InputError, UsageError
from landcover_cli.io.atomic import atomic_folder

T = TypeVar("T")

# Raised whenever the same seed gives another region, so that an old demo is not taken for a new one.
VERSION = 3
_MARKER = "demo.json"
_VIEW_DEG = {22: (5.6, 104.0), 122: (9.4, 286.0)}
# Days on which ESA's processing changed (its list of processing baselines); older products keep theirs.
_BASELINES = ((date(2021, 6, 30), "03.01"), (date(2021, 3, 30), "03.00"), (date.min, "02.14"))


@dataclass(frozen=True)
class DemoPaths:
    """Where the parts of a demo are.

    Attributes:
        root: The demo's folder.
        readme: What was simulated and how.
        pipeline: Pipeline file for ``lc run``.
        region: Area of interest (GeoJSON).
        legend: Legend file.
        labels: Label polygons (GeoPackage).
        truth: Class codes of every pixel (GeoTIFF).
        reference: The same in the unlabelled eastern half alone.
        dem: Elevation (GeoTIFF).
        s2: Sentinel-2 SAFE folders, by date.
        s1: Sentinel-1 SAFE folders, by date.
    """

    root: Path
    readme: Path
    pipeline: Path
    region: Path
    legend: Path
    labels: Path
    truth: Path
    reference: Path
    dem: Path
    s2: tuple[Path, ...]
    s1: tuple[Path, ...]


def generate(
    out: Path, *, size: Size = "standard", seed: int = 7, log: Callable[[str], None] | None = None
) -> DemoPaths:
    """Write the demo region, or find it where an earlier call has left it.

    Args:
        out: Folder that appears. It may exist if it is empty or holds a finished demo of the same size and seed.
        size: ``standard`` (3.84 km × 3.84 km) or ``tiny`` (0.96 km × 1.92 km, fewer dates).
        seed: Seed of every draw, at least 0; the same seed gives the same bytes.
        log: Called with a line on each part as it begins.

    Raises:
        UsageError: An unknown size, or a negative seed.
        InputError: The folder holds something else.
        StorageError: The folder cannot be written, or the disk is full.
    """
    place = region(size)
    if seed < 0:
        raise UsageError(f"demo seed is {seed}", remedy="choose a seed of 0 or more")
    marker = {"demo": "landcover_cli", "version": VERSION, "size": size, "seed": seed}
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        _require_same(out, marker)
        return _paths(out)
    say = log or (lambda _: None)
    with atomic_folder(out) as scratch:
        say(f"drawing the {size} region, seed {seed}")
        simulation = simulate(place, seed)
        say(f"writing {len(simulation.acquisitions)} Sentinel-2 products")
        clear = _write_optical(scratch / "s2", simulation)
        say(f"writing {len(simulation.radar_days)} Sentinel-1 products")
        view = radar_view(simulation)
        _write_radar(scratch / "s1", simulation, view)
        say("writing elevation, truth, labels and texts")
        write_dem(scratch / "dem" / "dem.tif", place, simulation.terrain, view.bounds_lonlat)
        write_truth(scratch / "truth.tif", simulation.landscape.truth_yx)
        write_truth(scratch / "reference.tif", simulation.landscape.truth_yx, east_only=True)
        write_region(scratch / "region.geojson", place)
        write_labels(scratch / "labels.gpkg", simulation.landscape, labelled_units(simulation.landscape, seed))
        write_legend(scratch / "legend.yaml", seed)
        (scratch / "pipeline.yaml").write_text(pipeline_yaml(place), encoding="utf-8")
        (scratch / "README.md").write_text(readme_text(simulation, clear), encoding="utf-8")
        (scratch / _MARKER).write_text(json.dumps(marker, sort_keys=True) + "\n", encoding="utf-8")
    return _paths(out)


def _require_same(out: Path, marker: dict[str, object]) -> None:
    """Refuse a folder that is not this very demo."""
    remedy = "choose another folder, or remove this one"
    if not out.is_dir():
        raise InputError(f"demo folder {out} is a file", remedy=remedy)
    try:
        found = json.loads((out / _MARKER).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise InputError(f"demo folder {out} is not empty and holds no demo", remedy=remedy) from None
    if found != marker:
        size, seed = (found.get(key) if isinstance(found, dict) else None for key in ("size", "seed"))
        raise InputError(
            f"demo folder {out} holds the demo of size {size}, seed {seed}, not of size {marker['size']}, "
            f"seed {marker['seed']} of this version",
            remedy=remedy,
        )


def _paths(root: Path) -> DemoPaths:
    paths = DemoPaths(
        root=root,
        readme=root / "README.md",
        pipeline=root / "pipeline.yaml",
        region=root / "region.geojson",
        legend=root / "legend.yaml",
        labels=root / "labels.gpkg",
        truth=root / "truth.tif",
        reference=root / "reference.tif",
        dem=root / "dem" / "dem.tif",
        s2=tuple(sorted((root / "s2").glob("*.SAFE"), key=lambda path: path.name[11:26])),
        s1=tuple(sorted((root / "s1").glob("*.SAFE"), key=lambda path: path.name[17:32])),
    )
    single = (paths.pipeline, paths.region, paths.legend, paths.labels, paths.truth, paths.reference, paths.dem)
    lost = [path for path in single if not path.is_file()]
    if lost or not paths.s1 or not paths.s2:
        name = lost[0].name if lost else "s1/ or s2/"
        raise InputError(
            f"demo folder {root} is incomplete: {name} is missing", remedy="remove the folder and run again"
        )
    return paths


def processing(acquisition: Acquisition, number: int) -> tuple[str, datetime]:
    """Baseline and processing time of the n-th product of the year.

    Every third product has been processed again as part of Collection 1 (baseline 05.00), as archives hold them: those
    carry the radiometric offset, whatever their date, and the others do not.
    """
    if number % 3 == 1:
        return "05.00", datetime(2023, 2, 1, 4, 30, tzinfo=UTC) + timedelta(days=acquisition.day, minutes=7 * number)
    day = acquisition.when.date()
    baseline = next(name for since, name in _BASELINES if day >= since)
    return baseline, acquisition.when + timedelta(hours=2, minutes=31 + number)


def _write_optical(folder: Path, simulation: Simulation) -> float:
    """Write the Sentinel-2 products; returns the mean share of truly clear pixels."""
    folder.mkdir()

    def write(number: int) -> float:
        acquisition = simulation.acquisitions[number]
        scene = simulation.optical(acquisition)
        baseline, made = processing(acquisition, number)
        about = product(
            acquisition.when,
            shape_10m=(simulation.region.rows, simulation.region.cols),
            baseline=baseline,
            platform=acquisition.platform,
            relative_orbit=acquisition.relative_orbit,
            absolute_orbit=acquisition.absolute_orbit,
            sun_deg=(acquisition.sun_zenith_deg, acquisition.sun_azimuth_deg),
            view_deg=_VIEW_DEG[acquisition.relative_orbit],
            made=made,
        )
        write_reflectance_safe(folder, about, scene.reflectance, scene.scl, scene.inside)
        return float(scene.clear.mean())

    shares = _each(write, len(simulation.acquisitions))
    return sum(shares) / len(shares)


def radar_view(simulation: Simulation) -> Geometry:
    """How Sentinel-1 sees the region on every pass."""
    left, bottom, _, _ = simulation.region.bounds_m
    grid = MapGrid(EPSG, LEFT_M, TOP_M, simulation.region.rows, simulation.region.cols)
    return make_geometry(RELATIVE_ORBIT_S1, grid, lambda e, n: simulation.terrain.height_m(e - left, n - bottom))


def _write_radar(folder: Path, simulation: Simulation, view: Geometry) -> None:
    folder.mkdir()

    def write(number: int) -> Path:
        scene = simulation.radar(simulation.radar_days[number])
        return write_grd_safe(folder, view, scene.gamma0, when=scene.when, seed=simulation.seed)

    _each(write, len(simulation.radar_days))


def _each(write: Callable[[int], T], count: int) -> list[T]:
    # Each date draws from streams of its own, so the order of writing changes no byte.
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(write, range(count)))

"""A folder of results as a run leaves them, small, with names as hostile as a legend or a scene may make them."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import geopandas
import numpy as np
import rasterio
import shapely
from affine import Affine

from landcover_cli.assess.matrix import ErrorMatrix
from landcover_cli.assess.summary import Measured, summarise
from landcover_cli.config.pipeline import parse_pipeline
from landcover_cli.core.grid import ProductGrid
from landcover_cli.core.plan import PlanContext, Region
from landcover_cli.core.types import Period
from landcover_cli.io.cubestore import CubeSpec, make_cube, write_cube

EVIL = '"><script>alert(1)</script><img src=x onerror=y>'
CLASSES = [
    {"code": 10, "name": "Water", "color": "#2f6fb2", "description": ""},
    {"code": 20, "name": EVIL, "color": "#3a8f4d", "description": ""},
    {"code": 9920, "name": "Ä very long name of a class, with commas", "color": "#d8b13a", "description": ""},
]
X0, TOP = 500_000.0, 5_600_000.0


def _raster(path: Path, bands: np.ndarray, nodata: int, descriptions: tuple[str, ...] = (), scale: float = 1.0) -> None:
    count, height, width = bands.shape
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        dtype=bands.dtype,
        count=count,
        height=height,
        width=width,
        crs="EPSG:32631",
        transform=Affine(10, 0, X0, 0, -10, TOP),
        nodata=nodata,
    ) as sink:
        sink.write(bands)
        sink.scales = (scale,) * count
        for number, text in enumerate(descriptions, 1):
            sink.set_band_description(number, text)


def write_clear_counts(path: Path, n_clear: np.ndarray) -> None:
    time, height, width = n_clear.shape
    periods = tuple(Period(date(2021, 1 + t, 1), date(2021, 2 + t, 1)) for t in range(time))
    spec = CubeSpec(
        source="s2",
        sensor="sentinel2",
        kind="series",
        bands=("B04",),
        units="reflectance_dn",
        scale=1e-4,
        offset=-0.1,
        gsd_m=10.0,
        crs="EPSG:32631",
        bounds_m=(X0, TOP - 10 * height, X0 + 10 * width, TOP),
        periods=periods,
        dtype="uint16",
    )
    data = np.where(n_clear[:, None] > 0, 1000, 0).astype(np.uint16)
    count = n_clear.astype(np.uint16)
    write_cube(path, make_cube(spec, data, n_clear > 0, count, count))


def make_results(folder: Path, size: int = 120) -> Path:
    """A folder of results whose names are as hostile as a legend or a scene may make them."""
    rng = np.random.default_rng(4)
    shape = (size, round(size * 1.4))
    blobs = np.kron(rng.integers(0, 3, (shape[0] // 20 + 1, shape[1] // 20 + 1)), np.ones((20, 20), int))
    index = blobs[: shape[0], : shape[1]].astype(np.uint8)
    index[:5] = 255
    there, assessed, model = folder / "map" / "main", folder / "assess" / "main", folder / "model"
    for path in (there, assessed, model):
        path.mkdir(parents=True)
    _raster(there / "main_class.tif", index[None], 255)
    confidence = np.where(index == 255, 255, rng.integers(80, 250, shape)).astype(np.uint8)
    _raster(there / "main_confidence.tif", confidence[None], 255, ("confidence",), 0.004)
    clear = rng.integers(0, 30, (2, *shape)).astype(np.uint16)
    _raster(there / "main_validity.tif", clear, 65535, ("clear observations of s1", "clear observations of s2"))
    legend = {"id": "toy", "version": "1", "nodata_index": 255, "classes": CLASSES}
    (there / "legend.json").write_text(json.dumps(legend))
    item = {
        "properties": {
            "start_datetime": "2021-01-01T00:00:00Z",
            "end_datetime": "2021-12-31T23:59:59Z",
            "lc:run_digest": "ab" * 32,
        },
        "assets": {"class": {"href": "./main_class.tif", "file:checksum": "1220" + "cd" * 32}},
    }
    (there / "item.json").write_text(json.dumps(item))
    matrix = ErrorMatrix(3)
    matrix.counts += np.array([[8100, 220, 0], [340, 9050, 0], [12, 150, 0]])
    pixels = np.array([(index == i).sum() for i in range(3)])
    document = summarise(Measured(matrix, pixels, pixels * 100.0, 400, "pixels"), CLASSES, "none")
    (assessed / "assessment.json").write_text(json.dumps(document))
    rows = ["epoch,learning_rate,train_loss,validation_loss,overall_accuracy,macro_f1"]
    rows += [
        f"{e},0.001,{2 / e:.4f},{2.2 / e + 0.1:.4f},{0.9 - 0.6 / e:.4f},{0.85 - 0.6 / e:.4f}" for e in range(1, 31)
    ]
    (model / "curves.csv").write_text("\n".join([*rows, "31,0.001,0.06,,,"]))
    spec = {"model": EVIL, "ports": [{"name": "s2", "bands": ["B04"], "gsd_m": 10.0, "kind": "series"}], "patch_px": 64}
    (model / "model.json").write_text(json.dumps({"format": 1, "spec": spec}))
    (model / "metrics.json").write_text(json.dumps({"best_epoch": 30, "test_overall_accuracy": 0.91, "x": [1]}))
    write_clear_counts(folder / "cubes" / "cube.zarr", rng.integers(0, 8, (9, *shape)))
    return folder


TILE_X0, TILE_Y0 = 499_200.0, 4_999_680.0  # a corner of the grid's tiles of 64 × 10 m


def make_context(folder: Path) -> PlanContext:
    """A region of one tile whose left half is labelled; its AOI leaves out the lower quarter."""
    (folder / "legend.yaml").write_text("{id: toy, classes: {1: water, 7: land}}")
    half = shapely.box(TILE_X0, TILE_Y0, TILE_X0 + 320, TILE_Y0 + 640)
    geopandas.GeoDataFrame({"code": [7]}, geometry=[half], crs=32631).to_file(folder / "labels.gpkg")
    aoi = shapely.box(TILE_X0, TILE_Y0 + 160, TILE_X0 + 640, TILE_Y0 + 640)
    geopandas.GeoDataFrame(geometry=[aoi], crs=32631).to_file(folder / "aoi.gpkg")
    config = parse_pipeline(
        {
            "aoi": "aoi.gpkg",
            "period": {"start": "2021-01", "end": "2021-02"},
            "sources": {"s1": {"type": "stack", "sensor": "sentinel1", "files": ["*.tif"]}},
            "labels": {"source": "labels.gpkg", "legend": "legend.yaml", "attribute": "code"},
        },
        "test",
    )
    grid = ProductGrid("EPSG:32631", 10.0, 64)
    tiles = grid.tiles_over(aoi)
    period = Period(date(2021, 1, 1), date(2021, 2, 1))
    regions = [
        Region("main", "both", str(folder / "aoi.gpkg"), aoi, (period,), tiles, tiles, {"region": "main"}),
        Region("there", "map", str(folder / "aoi.gpkg"), aoi, (period,), tiles, tiles, {"region": "there"}),
    ]
    return PlanContext(config, folder, grid, tuple(regions))

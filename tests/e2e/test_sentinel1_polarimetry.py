"""An SLC under real annotation, from the SAFE to a cube of polarimetric bands, as the example does it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import rasterio
from slcproduct import MOROCCO, write_slc

from landcover_cli.io.cubestore import CubeSeries

from .conftest import lc

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "sentinel1_atlas_slc.yaml"


def ok(*args: object) -> str:
    result = lc(*map(str, args))
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_the_example_of_the_atlas_from_slc_to_cube(shared_data: Callable[[str], Path], tmp_path: Path) -> None:
    safe = write_slc(shared_data(MOROCCO), tmp_path / "in")
    ok("run", EXAMPLE, "--set", f"vars.products={safe.parent}", "--workspace", tmp_path / "work")
    cube = CubeSeries.open((tmp_path / "work" / "products" / "cubes").rglob("cube.zarr"))
    assert cube.bands == ("VV", "VH", "entropy", "anisotropy", "alpha", "dop", "dprvi", "rvi")
    # The command alone gives the same pixels.
    ok(
        "preprocess", "s1", safe, "--out", tmp_path / "out", "--dem", "flat:0", "--res", 20, "--crs", "EPSG:32629",
        "--aoi", EXAMPLE.parent / "aoi" / "atlas.geojson", "--speckle", "boxcar", "--no-cog",
        "--layers", "haalpha,dop,dprvi,rvi",
    )  # fmt: skip
    folder = next((tmp_path / "out").iterdir())
    with rasterio.open(folder / "data.tif") as alone:
        values = {"VV": alone.read(1), "VH": alone.read(2)}
        window = cube.read(tuple(alone.bounds))
    valid = window.valid_tyx[0]
    assert valid.mean() > 0.9
    for band, found in zip(cube.bands, window.data_tbyx[0], strict=True):
        if band not in values:
            with rasterio.open(folder / f"{band}.tif") as layer:
                values[band] = layer.read(1)
        assert np.array_equal(found[valid], values[band][valid]), band

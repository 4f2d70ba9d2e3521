"""Quality masks of the product: by hand, and real ones."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pytest
import rasterio

from landcover_cli.core.lattice import Lattice
from landcover_cli.core.types import MASK_BAD, MASK_CLEAR, MASK_NODATA, Asset, Scene
from landcover_cli.errors import ConfigError
from landcover_cli.io.raster import gdal_env
from landcover_cli.io.s2_mask import mask_codes
from landcover_cli.optical.masks.product_qa import MASK


def flags(seed: int, share: float, shape: tuple[int, int] = (30, 31)) -> np.ndarray:
    return (np.random.default_rng(seed).random(shape) < share).astype("uint8")


def near(where: np.ndarray, radius_m: float) -> np.ndarray:
    ys, xs = np.nonzero(where)
    out = np.zeros_like(where)
    for y, x in np.ndindex(*where.shape):
        out[y, x] = bool((np.hypot(ys - y, xs - x) * 10.0 <= radius_m + 1e-6).any())
    return out


@pytest.mark.parametrize("keep_snow", [True, False])
def test_every_flag_counts_as_stated(keep_snow: bool) -> None:
    given = {"keep_snow": keep_snow, "cloud_m": 30.0, "cirrus_m": 10.0, "quality": True}
    names = MASK.layer_names(("B02", "B11"), given)
    assert names[:4] == ("CLASSI_1", "CLASSI_2", "CLASSI_3", "QUALIT_B02_3")
    assert {name[-1] for name in names if name.startswith("QUALIT")} == set("34568")
    layers = {name: flags(k, 0.02) for k, name in enumerate(names)}
    bad = near(layers["CLASSI_1"] > 0, 30.0) | near(layers["CLASSI_2"] > 0, 10.0)
    if not keep_snow:
        bad |= layers["CLASSI_3"] > 0
    for name in names[3:]:
        if not name.endswith("_6"):
            bad |= layers[name] > 0
    expected = np.where(bad, MASK_BAD, MASK_CLEAR)
    expected[(layers["QUALIT_B02_6"] > 0) | (layers["QUALIT_B11_6"] > 0)] = MASK_NODATA
    np.testing.assert_array_equal(MASK.compute(layers, 10.0, MASK.options(given)), expected)


def test_quality_of_bands_is_read_on_demand() -> None:
    assert MASK.layer_names(("B02",), {}) == ("CLASSI_1", "CLASSI_2", "CLASSI_3")
    with pytest.raises(ConfigError, match="no option 'shadow_m'"):
        MASK.layer_names(("B02",), {"shadow_m": 1.0})


@pytest.fixture
def real(shared_data):
    """Masks at native size of a cloudy day: scene, and its open layers with the quality of B11."""
    root = shared_data("optical/mapchete-eo/full_products/sentinel-2-l2a")
    quality = next((root / "S2B_33TWM_20230810_0_L2A" / "GRANULE").iterdir()) / "QI_DATA"
    assets = {f"CLASSI_{k}": Asset(str(quality / "MSK_CLASSI_B00.jp2"), k) for k in (1, 2, 3)}
    assets |= {f"QUALIT_B11_{k}": Asset(str(quality / "MSK_QUALIT_B11.jp2"), k) for k in range(1, 9)}
    scene = Scene("s", "sentinel2", dt.datetime(2023, 8, 10, tzinfo=dt.UTC), {}, assets)
    with gdal_env():
        layers = {name: rasterio.open(assets[name].href) for name in MASK.layer_names(("B11",), {"quality": True})}
        yield scene, layers
        for dataset in layers.values():
            dataset.close()


def test_real_clouds_are_the_product_s_own(real) -> None:
    scene, layers = real
    with rasterio.open(scene.assets["CLASSI_1"].href) as dataset:
        classes, crs, bounds = dataset.read(), str(dataset.crs), tuple(dataset.bounds)
    layers = {name: layers[name] for name in MASK.layers}
    options = MASK.options({"cloud_m": 0.0, "cirrus_m": 0.0, "keep_snow": True})
    codes = mask_codes(scene, layers, MASK, options, Lattice(crs, 60.0, bounds), 0)
    np.testing.assert_array_equal(codes == MASK_BAD, (classes[:2] > 0).any(axis=0))
    # A cloudy day by the product's own account.
    assert 0.5 < (codes == MASK_BAD).mean() < 0.7


def test_a_part_of_real_masks_is_the_part_of_the_whole(real) -> None:
    scene, layers = real
    with rasterio.open(scene.assets["CLASSI_1"].href) as dataset:
        crs, left, top = str(dataset.crs), dataset.bounds.left + 60_000, dataset.bounds.top - 60_000
    big = Lattice(crs, 20.0, (left, top - 6_000, left + 6_000, top))
    small = Lattice(crs, 20.0, (left + 3000, top - 5000, left + 5000, top - 2000))
    whole, part = (
        mask_codes(scene, layers, MASK, MASK.options({"quality": True}), lattice, 0) for lattice in (big, small)
    )
    np.testing.assert_array_equal(part, whole[100:250, 150:250])
    assert set(np.unique(whole)) > {MASK_CLEAR}

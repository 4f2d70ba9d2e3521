"""Fmask against a slow oracle written from the papers, and on constructed scenes with known clouds and shadows."""

from __future__ import annotations

import heapq

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from landcover_cli.core.types import MASK_BAD, MASK_CLEAR, MASK_NODATA
from landcover_cli.errors import InputError
from landcover_cli.optical.masking import ANGLES
from landcover_cli.optical.masks import fmask
from landcover_cli.optical.masks._shadows import fill_hollows
from landcover_cli.optical.masks._spectral import displacement_index, keep_displaced, majority

BANDS = ("B02", "B03", "B04", "B8A", "B11", "B12", "B10")
PLAIN = {"cloud_m": 0.0, "shadow_m": 0.0}


def dn(reflectance: np.ndarray) -> np.ndarray:
    return np.clip(np.round(np.asarray(reflectance) * 1e4) + 1000, 1, 65535).astype(np.uint16)


def angles(sun: tuple[float, float] = (40.0, 150.0), view: tuple[float, float] = (5.0, 100.0)) -> dict[str, np.ndarray]:
    return {name: np.full((3, 3), value) for name, value in zip(ANGLES, (*sun, *view), strict=True)}


# --- the slow way ----------------------------------------------------------------------------------------------------


def slow_fill(values: np.ndarray, level: int) -> np.ndarray:
    """Spill levels by a heap, one pixel at a time."""
    height, width = values.shape
    out = np.full(values.shape, -1)
    heap = []
    for y, x in np.ndindex(*values.shape):
        if values[y, x] == 0 or y in (0, height - 1) or x in (0, width - 1):
            heapq.heappush(heap, (max(int(values[y, x]), level), y, x))
    while heap:
        lowest, y, x = heapq.heappop(heap)
        if out[y, x] >= 0:
            continue
        out[y, x] = lowest
        for v, u in np.ndindex(3, 3):
            yy, xx = y + v - 1, x + u - 1
            if 0 <= yy < height and 0 <= xx < width and out[yy, xx] < 0:
                heapq.heappush(heap, (max(int(values[yy, xx]), lowest), yy, xx))
    return out


def near(where: np.ndarray, radius_m: float, gsd_m: float) -> np.ndarray:
    out = where.copy()
    ys, xs = np.nonzero(where)
    for y, x in np.ndindex(*where.shape):
        if ys.size and radius_m >= gsd_m:
            out[y, x] = bool((np.hypot(ys - y, xs - x) * gsd_m <= radius_m + 1e-6).any())
    return out


def slow_pixel(rho: dict[str, float]) -> tuple[bool, bool, bool, float]:
    b, g, r, n, s1, s2, c = (rho[name] for name in BANDS)
    ndvi = (n - r) / (n + r) if n + r > 0 else 0.0
    ndsi = (g - s1) / (g + s1) if g + s1 > 0 else 0.0
    mean = (b + g + r) / 3
    white = sum(abs(v - mean) for v in (b, g, r)) / mean if mean > 0 else 1.0
    basic = s2 > 0.03 and ndsi < 0.8 and ndvi < 0.8
    potential = (basic and white < 0.7 and b - 0.5 * r - 0.08 > 0 and n > 0.75 * s1) or c > 0.01
    water = (ndvi < 0.01 and n < 0.11) or (ndvi < 0.1 and n < 0.05)
    snow = ndsi > 0.15 and n > 0.11 and g > 0.1
    p = min(s1, 0.11) / 0.11 + c / 0.04 if water else 1 - max(abs(ndvi), abs(ndsi), white) + c / 0.04
    return potential, water, snow, p


def slow_fmask(layers: dict[str, np.ndarray], gsd_m: float, o: dict[str, object]) -> np.ndarray:
    shape = layers["B02"].shape
    valid = np.all([layers[name] > 0 for name in BANDS], axis=0)
    potential, water, snow = (np.zeros(shape, bool) for _ in range(3))
    p = np.zeros(shape, np.float32)
    for at in zip(*np.nonzero(valid), strict=True):
        rho = {name: (float(layers[name][at]) - 1000) / 1e4 for name in BANDS}
        potential[at], water[at], snow[at], p[at] = slow_pixel(rho)
    land = valid & ~potential & ~water
    enough = land.any() and land.sum() * 100 >= o["least_clear_percent"] * (valid & ~water).sum()
    limit = float(np.percentile(p[land], 82.5)) + 0.2 if enough else o["fallback_threshold"]
    first = valid & potential & np.where(water, p > np.float32(0.5), p > np.float32(limit))
    cloud = np.zeros(shape, bool)
    for y, x in np.ndindex(*shape):
        cloud[y, x] = valid[y, x] and first[max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2].sum() >= 5
    shadow = np.zeros(shape, bool)
    labels, number = ndimage.label(cloud, np.ones((3, 3)))
    nir = np.where(valid, layers["B8A"], 0)
    level = int(np.percentile(nir[land] if land.any() else nir[valid], 17.5)) if number else 0
    dark = slow_fill(nir, level) - nir.astype(int) > 200
    for k in range(1, number + 1):
        ys, xs = np.nonzero(labels == k)
        cell = (int(ys[ys.size // 2]) * 3 // shape[0], int(xs[ys.size // 2]) * 3 // shape[1])
        sz, sa, vz, va = (np.radians(layers[name][cell]) for name in ANGLES)
        east = (np.tan(vz) * np.sin(va) - np.tan(sz) * np.sin(sa)) / gsd_m
        south = -(np.tan(vz) * np.cos(va) - np.tan(sz) * np.cos(sa)) / gsd_m
        far = max(abs(east), abs(south))
        best = (-np.inf, None, 0.0)
        for step in range(int(11_800 * far) + 1):
            base = 200 + step / far
            yy, xx = ys + int(np.floor(base * south + 0.5)), xs + int(np.floor(base * east + 0.5))
            ok = (yy >= 0) & (yy < shape[0]) & (xx >= 0) & (xx < shape[1])
            yy, xx = yy[ok], xx[ok]
            ok = valid[yy, xx] & ~cloud[yy, xx]
            yy, xx = yy[ok], xx[ok]
            dry = ~water[yy, xx]
            hits, seen = dark[yy, xx][dry].sum(), dry.sum()
            if seen and hits - 0.5 * seen > best[0]:
                best = (hits - 0.5 * seen, (yy, xx), hits / seen)
        if best[2] > 0.3:
            shadow[best[1]] = True
    classes = np.where(water, 5, 1)
    classes[snow] = 4
    classes[near(shadow, o["shadow_m"], gsd_m)] = 3
    classes[near(cloud, o["cloud_m"], gsd_m)] = 2
    classes[~valid] = 0
    return classes


def patchwork(seed: int, shape: tuple[int, int] = (40, 44)) -> dict[str, np.ndarray]:
    """Fields, water, snow, clouds and dark hollows at random, with noise around every test's limit."""
    rng = np.random.default_rng(seed)
    kinds = np.array(
        [
            [0.10, 0.09, 0.06, 0.35, 0.18, 0.09, 0.002],  # vegetation
            [0.13, 0.14, 0.17, 0.26, 0.33, 0.27, 0.002],  # soil
            [0.09, 0.07, 0.04, 0.02, 0.01, 0.01, 0.001],  # water
            [0.70, 0.70, 0.68, 0.60, 0.08, 0.05, 0.002],  # snow
            [0.40, 0.40, 0.41, 0.45, 0.40, 0.30, 0.004],  # cloud
            [0.14, 0.12, 0.10, 0.30, 0.20, 0.12, 0.020],  # cirrus
            [0.08, 0.06, 0.04, 0.12, 0.08, 0.05, 0.001],  # shadow
        ]
    )
    coarse = rng.choice(7, (shape[0] // 4 + 1, shape[1] // 4 + 1), p=[0.4, 0.2, 0.08, 0.06, 0.12, 0.04, 0.1])
    kind = np.kron(coarse, np.ones((4, 4), int))[: shape[0], : shape[1]]
    rho = kinds[kind] * rng.normal(1.0, 0.12, (*shape, 7)) + rng.normal(0, 0.004, (*shape, 7))
    layers = {name: dn(rho[..., k]) for k, name in enumerate(BANDS)}
    layers["B11"][:3, :9] = 0
    layers["B02"][20, 20] = 0
    for name, low, high in zip(ANGLES, (10, 0, 0, 0), (60, 360, 12, 360), strict=True):
        layers[name] = rng.uniform(low, high, (3, 3))
    return layers


@settings(max_examples=25)
@given(
    seed=st.integers(0, 10_000),
    gsd_m=st.sampled_from([20.0, 60.0, 250.0]),
    least=st.sampled_from([0.0, 1.0, 90.0]),
    wide=st.booleans(),
)
def test_it_equals_the_slow_way(seed: int, gsd_m: float, least: float, wide: bool) -> None:
    layers = patchwork(seed)
    options = fmask.MASK.options({"least_clear_percent": least, **({} if wide else PLAIN)})
    np.testing.assert_array_equal(fmask.classify(layers, gsd_m, options), slow_fmask(layers, gsd_m, options))


@given(seed=st.integers(0, 10_000), level=st.sampled_from([0, 4, 30]))
def test_hollows_fill_to_where_they_spill(seed: int, level: int) -> None:
    values = np.random.default_rng(seed).integers(0, 12, (9, 13)).astype(np.uint16)
    np.testing.assert_array_equal(fill_hollows(values, level), slow_fill(values, level))


def test_majority_counts_five_of_nine() -> None:
    cloud = np.zeros((5, 6), bool)
    cloud[1:3, 1:3] = True
    assert not majority(cloud).any()
    cloud[3, 1] = True
    # Both cells of the middle row that see five of the six by three.
    assert sorted(zip(*(a.tolist() for a in np.nonzero(majority(cloud))), strict=True)) == [(2, 1), (2, 2)]
    # At the corner there are four neighbours only.
    corner = np.zeros((4, 4), bool)
    corner[:2, :2] = True
    assert not majority(corner)[0, 0]


def test_displacement_index_is_the_ratio_of_variances() -> None:
    rng = np.random.default_rng(2)
    b8a = dn(rng.uniform(0.2, 0.6, (30, 31)))
    b07, b08 = dn(rng.uniform(0.2, 0.6, b8a.shape)), dn(rng.uniform(0.2, 0.6, b8a.shape))
    ratios = [(band.astype(float) - 1000) / (b8a.astype(float) - 1000) for band in (b07, b08)]
    windows = [np.lib.stride_tricks.sliding_window_view(np.pad(r, 3, mode="edge"), (7, 7)) for r in ratios]
    seven, eight = (w.var((-2, -1)) for w in windows)
    np.testing.assert_allclose(displacement_index(b07, b08, b8a), (seven - eight) / (seven + eight), atol=1e-6)


def test_only_displaced_clouds_are_kept_and_grown() -> None:
    cloud = np.ones((6, 12), bool)
    index = np.zeros((6, 12), np.float32)
    index[1:4, 1:5] = -0.3  # grows from
    index[2, 2] = -0.6  # this
    index[1:4, 8:10] = -0.3  # no core
    kept = keep_displaced(cloud, index)
    np.testing.assert_array_equal(kept, (index <= -0.3) & (np.arange(12) < 6))


# --- constructed scenes ----------------------------------------------------------------------------------------------


def smooth(rng: np.random.Generator, size: int, width: float) -> np.ndarray:
    """Smooth noise of mean 0 and deviation 1, drawn coarsely and interpolated."""
    coarse = rng.normal(size=(int(size / width) + 4,) * 2)
    zoomed = ndimage.zoom(coarse, width, order=3)[:size, :size]
    return (zoomed - zoomed.mean()) / zoomed.std()


def scene(
    seed: int,
    size: int,
    sun: tuple[float, float],
    view: tuple[float, float],
    bases_m: tuple[float, float] = (1100.0, 1500.0),
) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """A landscape under clouds of known bases: layers, where clouds are, where their shadows are seen."""
    rng = np.random.default_rng(seed)
    mix = 1 / (1 + np.exp(-3 * smooth(rng, size, 40)))[..., None]
    vegetation, soil = np.array([0.10, 0.09, 0.06, 0.36, 0.18, 0.09]), np.array([0.12, 0.13, 0.16, 0.27, 0.31, 0.25])
    ground = mix * vegetation + (1 - mix) * soil
    fields = 1 + 0.12 * rng.normal(size=(size // 25 + 1, size // 25 + 1))
    ground *= np.kron(fields, np.ones((25, 25)))[:size, :size, None]
    lake = smooth(rng, size, 120) > 1.6
    ground[lake] = [0.09, 0.07, 0.04, 0.02, 0.01, 0.008]
    white = np.array([0.50, 0.49, 0.50, 0.54, 0.45, 0.36])
    cloud, thick, shade = np.zeros((size, size), bool), np.zeros((size, size)), np.zeros((size, size))
    ys, xs = np.mgrid[:size, :size]
    drift = fmask._drift(angles(sun, view), np.array([0, 1]), np.array([0], np.int32), (size, size), 20.0)[0]
    bumps = smooth(rng, size, 16)
    for _ in range(max(size * size // 90_000, 3)):
        y, x, radius = rng.uniform(0, size), rng.uniform(0, size), rng.uniform(8, 70)
        low, high = (int(max(v - 1.6 * radius, 0)) for v in (y, x)), 1.6 * radius
        y0, x0 = low
        box = (slice(y0, int(y + high)), slice(x0, int(x + high)))
        depth = 1.15 - np.hypot(ys[box] - y, xs[box] - x) / radius + 0.12 * bumps[box]
        opaque = np.clip(depth * 4, 0, 1)
        thick[box] = np.maximum(thick[box], opaque)
        height = rng.uniform(*bases_m)
        move = np.round(height * drift).astype(int)
        moved = np.zeros((size, size))
        moved[box] = opaque
        shade = np.maximum(shade, ndimage.shift(moved, move, order=0))
    cloud = thick > 0.5
    light = ground * (1 - 0.6 * shade[..., None])
    rho = light * (1 - thick[..., None]) + white * thick[..., None] + rng.normal(0, 0.003, light.shape)
    layers = {name: dn(rho[..., k]) for k, name in enumerate(BANDS[:6])}
    layers["B10"] = dn(np.full((size, size), 0.002) + 0.002 * thick)
    return {**layers, **angles(sun, view)}, cloud, (shade > 0.5) & ~cloud


def iou(a: np.ndarray, b: np.ndarray) -> float:
    return float((a & b).sum() / (a | b).sum())


@pytest.mark.parametrize(
    ("seed", "sun", "view", "bases_m"),
    [
        (1, (35.0, 150.0), (4.0, 100.0), (1100.0, 1500.0)),
        pytest.param(2, (60.0, 165.0), (10.0, 285.0), (1100.0, 1500.0), marks=pytest.mark.slow),
        pytest.param(3, (25.0, 30.0), (0.5, 10.0), (2500.0, 3500.0), marks=pytest.mark.slow),
        (4, (45.0, 150.0), (8.0, 100.0), (600.0, 4000.0)),
    ],
)
def test_known_clouds_and_shadows_are_found(
    seed: int, sun: tuple[float, float], view: tuple[float, float], bases_m: tuple[float, float]
) -> None:
    layers, cloud, shadow = scene(seed, 2000, sun, view, bases_m)
    classes = fmask.classify(layers, 20.0, fmask.MASK.options(PLAIN))
    assert iou(classes == fmask.CLOUD, cloud) >= 0.9
    assert iou(classes == fmask.SHADOW, shadow) >= 0.7
    # What is used of the scene holds next to nothing of either.
    codes = fmask.MASK.compute(layers, 20.0, fmask.MASK.options({}))
    assert (codes[cloud | shadow] == MASK_CLEAR).mean() < 0.03


def test_a_clear_scene_stays_clear() -> None:
    layers, _, _ = scene(5, 300, (35.0, 150.0), (4.0, 100.0))
    ground = np.random.default_rng(1).normal(1, 0.1, (300, 300, 1)) * [0.10, 0.09, 0.06, 0.36, 0.18, 0.09]
    layers |= {name: dn(ground[..., k]) for k, name in enumerate(BANDS[:6])}
    layers["B10"] = dn(np.full((300, 300), 0.001))
    assert (fmask.MASK.compute(layers, 20.0, fmask.MASK.options({})) == MASK_CLEAR).all()


def test_a_scene_of_nothing_but_cloud_falls_back_to_the_fixed_threshold() -> None:
    white = np.random.default_rng(1).normal(1, 0.02, (60, 60, 1)) * [0.5, 0.49, 0.5, 0.54, 0.45, 0.36]
    layers = {name: dn(white[..., k]) for k, name in enumerate(BANDS[:6])} | angles()
    layers["B10"] = dn(np.full((60, 60), 0.004))
    assert (fmask.MASK.compute(layers, 20.0, fmask.MASK.options({}))[1:-1, 1:-1] == MASK_BAD).all()


def test_a_scene_without_pixels() -> None:
    layers = {name: np.zeros((8, 9), np.uint16) for name in BANDS} | angles()
    assert (fmask.MASK.compute(layers, 20.0, fmask.MASK.options({})) == MASK_NODATA).all()


def test_snow_is_kept_on_demand() -> None:
    layers = {
        name: dn(np.full((20, 20), v)) for name, v in zip(BANDS, (0.8, 0.8, 0.8, 0.7, 0.05, 0.02, 0.001), strict=True)
    }
    layers |= angles()
    assert (fmask.MASK.compute(layers, 20.0, fmask.MASK.options({})) == MASK_BAD).all()
    assert (fmask.MASK.compute(layers, 20.0, fmask.MASK.options({"keep_snow": True})) == MASK_CLEAR).all()


def test_unknown_angles_are_an_error_not_a_guess() -> None:
    layers = {k: v for k, v in patchwork(1).items() if k not in ANGLES}
    with pytest.raises(InputError, match="angles of sun and sensor"):
        fmask.classify(layers, 20.0, fmask.MASK.options({}))


def test_layers_of_the_displacement_index_are_read_only_where_it_is_asked_for() -> None:
    assert fmask.MASK.layer_names((), {}) == BANDS
    assert fmask.MASK.layer_names((), {"displacement": True}) == (*BANDS, "B07", "B08")


# --- real dates ------------------------------------------------------------------------------------------------------

# Share of clouds of s2cloudless 1.7.3 (probability > 0.4), stored with the data, and what is allowed to differ. The
# second date is haze of all densities, of which the pixel tests take the denser part.
REAL = {
    "2015-08-20": (1.000, 0.02),
    "2015-07-31": (0.964, 0.15),
    "2015-09-09": (0.0, 0.001),
    "2015-08-30": (0.0, 0.001),
}
ALL_BANDS = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B10", "B11", "B12")


@pytest.mark.parametrize("index", range(5))
def test_shares_on_real_dates(shared_data, index: int) -> None:
    folder = shared_data("optical/eo-learn")
    day = (*REAL, "2015-07-11")[index]
    rho = np.load(folder / "REFERENCE_SCENES.npy", mmap_mode="r")[index]
    layers = {name: dn(rho[..., k]) for k, name in enumerate(ALL_BANDS)} | angles()
    classes = fmask.classify(layers, 10.0, fmask.MASK.options(PLAIN))
    share, tolerance = REAL.get(day, (0.0, 0.001))
    assert (classes == fmask.CLOUD).mean() == pytest.approx(share, abs=tolerance)

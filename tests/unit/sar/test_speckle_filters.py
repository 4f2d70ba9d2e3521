"""Each filter against a slow oracle that walks pixel by pixel and follows the published formulas literally."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import gamma

from landcover_cli import registry
from landcover_cli.errors import ConfigError
from landcover_cli.sar.speckle import SceneStatistics, create, filter_image
from landcover_cli.sar.speckle._windows import STRIP_PX, box_moments
from landcover_cli.sar.speckle.gamma_map import mode_correction
from landcover_cli.sar.speckle.lee_sigma import _FOUR_LOOKS, sigma_range

Rule = Callable[[np.ndarray, float, float, float, float], float]


def by_pixel(image: np.ndarray, window: int, rule: Rule, looks: float) -> np.ndarray:
    """Oracle: apply `rule(valid window values, mean, variance, pixel, looks)` to every valid pixel."""
    half = window // 2
    padded = np.pad(image.astype(np.float64), half, constant_values=np.nan)
    out = np.full(image.shape, np.nan)
    for y, x in np.argwhere(np.isfinite(image)):
        values = padded[y : y + window, x : x + window]
        values = values[np.isfinite(values)]
        variance = values.var(ddof=1) if values.size > 1 else 0.0
        out[y, x] = rule(values, values.mean(), variance, float(image[y, x]), looks)
    return out


def rule_boxcar(_w: np.ndarray, m: float, _v: float, _i: float, _looks: float) -> float:
    return m


def rule_lee(_w: np.ndarray, m: float, v: float, i: float, looks: float) -> float:
    ci, cu = np.sqrt(v) / m, 1 / np.sqrt(looks)
    return m if ci < cu else m + (1 - cu**2 / ci**2) * (i - m)


def rule_enhanced_lee(_w: np.ndarray, m: float, v: float, i: float, looks: float) -> float:
    ci, cu, cmax = np.sqrt(v) / m, 1 / np.sqrt(looks), np.sqrt(1 + 2 / looks)
    if ci <= cu:
        return m
    if ci >= cmax:
        return i
    weight = np.exp(-(ci - cu) / (cmax - ci))
    return m * weight + i * (1 - weight)


def rule_gamma_map(_w: np.ndarray, m: float, v: float, i: float, looks: float) -> float:
    ci, cu = np.sqrt(v) / m, 1 / np.sqrt(looks)
    if ci <= cu:
        return m
    if ci >= np.sqrt(2) * cu:
        return i
    alpha = (1 + cu**2) / (ci**2 - cu**2)
    b = alpha - looks - 1
    return (b * m + np.sqrt(m**2 * b**2 + 4 * alpha * looks * m * i)) / (2 * alpha)


RULES = {"boxcar": rule_boxcar, "lee": rule_lee, "enhanced_lee": rule_enhanced_lee, "gamma_map": rule_gamma_map}


def scene(seed: int, height: int, width: int, looks: float, holes: float) -> np.ndarray:
    """Two fields, a bright target and holes, under speckle."""
    rng = np.random.default_rng(seed)
    truth = np.where(np.add.outer(np.arange(height), 2 * np.arange(width)) > height + width // 2, 0.2, 0.02)
    truth[height // 2 : height // 2 + 2, width // 3 : width // 3 + 2] = 5.0
    image = (truth * rng.gamma(looks, 1 / looks, truth.shape)).astype(np.float32)
    image[rng.random(truth.shape) < holes] = np.nan
    return image


@pytest.mark.parametrize("name", RULES)
@given(
    seed=st.integers(0, 10_000),
    window=st.sampled_from([3, 5, 7, 9, 11]),
    looks=st.floats(1.0, 20.0),
    holes=st.sampled_from([0.0, 0.1, 0.6]),
)
def test_filter_follows_its_formula(name: str, seed: int, window: int, looks: float, holes: float) -> None:
    image = scene(seed, 15, 17, looks, holes)
    plain = {"debias": False} if name == "gamma_map" else {}
    out = filter_image(create(name, window_px=window, looks=looks, **plain), image)
    np.testing.assert_allclose(out, by_pixel(image, window, RULES[name], looks), rtol=2e-6)


@given(seed=st.integers(0, 10_000), window=st.sampled_from([3, 5, 7, 9, 13]), holes=st.sampled_from([0.0, 0.3]))
def test_box_moments_are_mean_and_unbiased_variance(seed: int, window: int, holes: float) -> None:
    image = scene(seed, 14, 19, 4.0, holes)
    padded = np.pad(image, window // 2, constant_values=np.nan)
    mean, variance = box_moments(padded, window)
    views = np.lib.stride_tricks.sliding_window_view(padded.astype(np.float64), (window, window))
    valid = np.isfinite(views)
    number = valid.sum((-2, -1))
    expected = np.where(valid, views, 0).sum((-2, -1)) / np.where(number, number, np.nan)
    deviation = np.where(valid, views - expected[..., None, None], 0)
    np.testing.assert_allclose(mean, expected, rtol=1e-13)
    np.testing.assert_allclose(
        variance, (deviation**2).sum((-2, -1)) / np.maximum(number - 1, 1), rtol=1e-9, atol=1e-15
    )


@pytest.mark.parametrize("window", [3, 5, 7, 9])
def test_box_moments_of_a_block_without_nodata(window: int) -> None:
    # No pixel is invalid, so the short cut for whole rows is taken.
    image = scene(7, 30, 40, 4.4, 0.0)
    views = np.lib.stride_tricks.sliding_window_view(image.astype(np.float64), (window, window))
    mean, variance = box_moments(image, window)
    np.testing.assert_allclose(mean, views.mean((-2, -1)), rtol=1e-13)
    np.testing.assert_allclose(variance, views.var((-2, -1), ddof=1), rtol=1e-9)


def test_strip_borders_leave_no_seam() -> None:
    image = scene(3, 20, 2 * STRIP_PX + 9, 4.4, 0.02)
    wide = filter_image(create("lee"), image)
    np.testing.assert_allclose(wide, by_pixel(image, 7, rule_lee, 4.4), rtol=2e-6)


def test_enhanced_lee_damping_zero_is_the_mean_between_the_limits() -> None:
    image = scene(5, 30, 30, 4.4, 0.0)
    mean = filter_image(create("boxcar"), image)
    out = filter_image(create("enhanced_lee", damping=0.0), image)
    assert ((out == mean) | (out == image)).all()
    with pytest.raises(ConfigError, match="damping"):
        create("enhanced_lee", damping=-1.0)


# --- refined Lee ---------------------------------------------------------------------------------------------------

# A 7×7 window printed with its result in the test suite of the NEST/S1 toolbox (refined Lee, edge threshold 5000).
WINDOW = np.array(
    [
        [99, 105, 124, 138, 128, 34, 62],
        [105, 91, 140, 98, 114, 63, 31],
        [107, 94, 128, 138, 96, 61, 82],
        [137, 129, 136, 105, 100, 55, 85],
        [144, 145, 113, 132, 119, 39, 50],
        [102, 97, 102, 110, 103, 34, 53],
        [107, 146, 115, 123, 101, 76, 56],
    ],
    np.float32,
)
PUBLISHED_CENTRE = 103.94042


def mmse(values: np.ndarray, i: float, noise: float) -> float:
    m = values.mean()
    v = values.var(ddof=1) if values.size > 1 else 0.0
    b = max(v - m * m * noise, 0) / (1 + noise) / v if v > 0 else 0.0
    return m + b * (i - m)


def refined_lee_pixel(z: np.ndarray, looks: float) -> float:
    """Oracle for one 7×7 window (NaN = invalid)."""
    i = z[3, 3]
    if np.isnan(z).any():
        return mmse(z[np.isfinite(z)], i, 1 / looks)
    sub = [[z[2 * r : 2 * r + 3, 2 * c : 2 * c + 3] for c in range(3)] for r in range(3)]
    mean = np.array([[s.mean() for s in row] for row in sub])
    ratio = sorted(s.var(ddof=1) / s.mean() ** 2 for row in sub for s in row)
    y, x = np.mgrid[:7, :7]
    pairs = [  # first sub-window, its half; second sub-window, its half
        ((1, 0), x <= 3, (1, 2), x >= 3),
        ((0, 2), x >= y, (2, 0), x <= y),
        ((0, 1), y <= 3, (2, 1), y >= 3),
        ((0, 0), x + y <= 6, (2, 2), x + y >= 6),
    ]
    first, first_half, second, second_half = max(pairs, key=lambda p: abs(mean[p[0]] - mean[p[2]]))
    half = first_half if abs(mean[first] - mean[1, 1]) < abs(mean[second] - mean[1, 1]) else second_half
    assert half.sum() == 28
    return mmse(z[half], i, float(np.mean(ratio[:5])))


@given(seed=st.integers(0, 10_000), looks=st.floats(1.0, 10.0), holes=st.sampled_from([0.0, 0.01, 0.2]))
def test_refined_lee_follows_its_steps(seed: int, looks: float, holes: float) -> None:
    image = scene(seed, 18, 16, looks, holes)
    padded = np.pad(image.astype(np.float64), 3, constant_values=np.nan)
    expected = np.full(image.shape, np.nan)
    for y, x in np.argwhere(np.isfinite(image)):
        expected[y, x] = refined_lee_pixel(padded[y : y + 7, x : x + 7], looks)
    out = filter_image(create("refined_lee", looks=looks, debias=False), image)
    np.testing.assert_allclose(out, expected, rtol=5e-6)


def test_refined_lee_gives_the_published_value() -> None:
    out = filter_image(create("refined_lee", edge_variance=5000.0, debias=False), WINDOW)
    assert abs(out[3, 3] - PUBLISHED_CENTRE) <= 1e-5 * PUBLISHED_CENTRE


def test_refined_lee_on_the_published_window_with_its_edge() -> None:
    # By hand: |W − E| = 49.6 is the largest gradient (45, 10 and 40 follow) and W lies closer to the centre (7.3
    # against 42.2): columns 0..3, mean 118.2143, variance 314.8413; the five smallest v/m² average to 0.0174498; so
    # b = 0.221604 and the result is 118.2143 − 0.221604·13.2143.
    out = filter_image(create("refined_lee", debias=False), WINDOW)
    assert out[3, 3] == pytest.approx(115.285949, rel=1e-6)


@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize("transpose", [False, True])
def test_refined_lee_treats_all_eight_directions_alike(turns: int, transpose: bool) -> None:
    image = scene(8, 40, 40, 4.4, 0.0)
    made = create("refined_lee")

    def turn(a: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(np.rot90(a.T if transpose else a, turns))

    np.testing.assert_allclose(filter_image(made, turn(image)), turn(filter_image(made, image)), rtol=1e-6)


def test_refined_lee_keeps_a_straight_edge_that_boxcar_smears() -> None:
    truth = np.where(np.arange(80) < 40, 0.01, 0.1) * np.ones((80, 1))
    image = (truth * np.random.default_rng(1).gamma(4.4, 1 / 4.4, truth.shape)).astype(np.float32)
    column = slice(10, 70), 39
    refined = filter_image(create("refined_lee"), image)[column].mean()
    boxcar = filter_image(create("boxcar"), image)[column].mean()
    assert refined < 0.02 < 0.04 < boxcar


def test_refined_lee_refuses_other_windows() -> None:
    with pytest.raises(ConfigError, match="window_px 9"):
        create("refined_lee", window_px=9)


# --- Lee sigma -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sigma", sorted(_FOUR_LOOKS))
def test_sigma_range_gives_the_published_table_back(sigma: float) -> None:
    np.testing.assert_allclose(sigma_range(4.0, sigma), _FOUR_LOOKS[sigma], rtol=5e-3)


@pytest.mark.parametrize("looks", [1.0, 2.5, 4.4, 10.0])
def test_sigma_range_holds_its_share_and_keeps_the_mean(looks: float) -> None:
    low, high, eta = sigma_range(looks, 0.8)
    law = gamma(looks, scale=1 / looks)
    share = law.cdf(high) - law.cdf(low)
    assert share == pytest.approx(0.8, abs=1e-9)
    mean = law.expect(lambda i: i, lb=low, ub=high) / share
    assert mean == pytest.approx(1.0, abs=1e-7)
    assert eta == pytest.approx(np.sqrt(law.expect(lambda i: (i - 1) ** 2, lb=low, ub=high) / share), rel=1e-6)


@given(
    seed=st.integers(0, 10_000),
    looks=st.sampled_from([1.0, 4.0, 4.4]),
    window=st.sampled_from([5, 7, 9]),
    holes=st.sampled_from([0.0, 0.1]),
)
def test_lee_sigma_follows_its_steps(seed: int, looks: float, window: int, holes: float) -> None:
    image = scene(seed, 16, 15, looks, holes)
    image[6:9, 8:11] = 6.0  # a target
    p98 = 3.0
    low, high, eta = _FOUR_LOOKS[0.9] if looks == 4.0 else sigma_range(looks, 0.9)
    half = window // 2
    padded = np.pad(image.astype(np.float64), half, constant_values=np.nan)
    expected = np.full(image.shape, np.nan)
    for y, x in np.argwhere(np.isfinite(image)):
        i = float(image[y, x])
        big = padded[y : y + window, x : x + window]
        small = big[half - 1 : half + 2, half - 1 : half + 2]
        if i > p98 and (small > p98).sum() > 5:
            expected[y, x] = i
            continue
        prior = mmse(small[np.isfinite(small)], i, 1 / looks)
        chosen = big[(big >= low * prior) & (big <= high * prior)]
        expected[y, x] = mmse(chosen, i, eta**2) if chosen.size else i
    out = filter_image(create("lee_sigma", looks=looks, window_px=window, p98=p98, debias=False), image)
    np.testing.assert_allclose(out, expected, rtol=5e-6)


@pytest.mark.parametrize(("bright", "kept"), [(5, False), (6, True)])
def test_lee_sigma_keeps_a_target_of_more_than_five_bright_pixels(bright: int, kept: bool) -> None:
    image = scene(1, 15, 15, 4.4, 0.0)
    # Strong enough to be a target, unlike one another, so that averaging would change them.
    image[6:9, 6:9] = np.where(np.argsort([4, 0, 1, 2, 3, 5, 6, 7, 8]) < bright, 4.0, 0.01).reshape(3, 3)
    image[7, 7] = 5.0
    assert (image[6:9, 6:9] > 3).sum() == bright
    out = filter_image(create("lee_sigma", p98=3.0), image)
    assert (out[7, 7] == 5.0) == kept


def test_lee_sigma_needs_the_scene() -> None:
    with pytest.raises(ConfigError, match="98th percentile"):
        create("lee_sigma").apply(np.ones((9, 9), np.float32))
    with pytest.raises(ConfigError, match="is not within 0"):
        create("lee_sigma", sigma=1.5)


def test_unknown_looks_are_an_error_not_a_guess() -> None:
    with pytest.raises(ConfigError, match="number of looks is not known"):
        create("lee", looks=None).apply(np.ones((9, 9), np.float32))


# --- bias ----------------------------------------------------------------------------------------------------------


def like_grdh(size: int, seed: int) -> np.ndarray:
    """Five independent looks of unequal weight with the spectrum of IW GRDH: 22 × 20 m cells on 10 m pixels."""
    rng = np.random.default_rng(seed)
    frequency = np.abs(np.fft.fftfreq(size))

    def window(cell_m: float) -> np.ndarray:
        band = 0.886 * 1.17 * 10.0 / cell_m  # a Hamming weight of 0.75 widens the cell by 1.17
        return np.where(frequency <= band / 2, 0.75 + 0.25 * np.cos(2 * np.pi * frequency / band), 0.0)

    spectrum = window(22.0)[:, None] * window(20.0)
    power = np.zeros((size, size))
    for weight in (0.5, 0.8, 1.0, 0.8, 0.5):
        field = rng.normal(size=(size, size)) + 1j * rng.normal(size=(size, size))
        power += weight * np.abs(np.fft.ifft2(np.fft.fft2(field) * spectrum)) ** 2
    return (0.05 * power / power.mean()).astype(np.float32)


def bias_db(name: str, image: np.ndarray, **options: object) -> float:
    made = create(name, **options)
    plane = image if image.ndim == 2 else image[0]
    made = made.prepare(SceneStatistics(4.4, float(np.quantile(plane, 0.98))))
    out = filter_image(made, image)[..., 8:-8, 8:-8].mean(dtype=np.float64)
    return float(10 * np.log10(out / image[..., 8:-8, 8:-8].mean(dtype=np.float64)))


@pytest.fixture(scope="module", params=["independent", "like IW GRDH"])
def speckle_image(request: pytest.FixtureRequest) -> np.ndarray:
    """More than a million pixels of homogeneous speckle at about 4.4 looks."""
    if request.param == "independent":
        return np.random.default_rng(11).gamma(4.4, 0.05 / 4.4, (1050, 1050)).astype(np.float32)
    return like_grdh(1050, 12)


@pytest.mark.parametrize("name", registry.names("speckle"))
def test_bias_on_a_million_pixels_is_within_a_twentieth_of_a_decibel(name: str, speckle_image: np.ndarray) -> None:
    # The stack of the multitemporal filter is two halves of the image.
    if registry.load("speckle", name).axes == "tyx":
        speckle_image = np.stack([speckle_image[:, :525], speckle_image[:, 525:]])
    assert abs(bias_db(name, speckle_image)) <= 0.05


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("gamma_map", {"window_px": 5}),
        ("gamma_map", {"window_px": 11}),
        ("lee_sigma", {"window_px": 5}),
        ("lee_sigma", {"window_px": 11}),
        ("lee_sigma", {"sigma": 0.5}),
        ("enhanced_lee", {"window_px": 11}),
    ],
)
def test_bias_with_other_options(name: str, options: dict[str, object], speckle_image: np.ndarray) -> None:
    assert abs(bias_db(name, speckle_image[:700, :700], **options)) <= 0.05


@pytest.mark.parametrize("looks", [1.0, 2.0, 10.0])
@pytest.mark.parametrize("window", [5, 7, 11])
def test_gamma_map_is_unbiased_for_any_looks_and_window(looks: float, window: int) -> None:
    image = np.random.default_rng(13).gamma(looks, 1 / looks, (500, 500)).astype(np.float32)
    assert abs(bias_db("gamma_map", image, looks=looks, window_px=window)) <= 0.005
    assert bias_db("gamma_map", image, looks=looks, window_px=window, debias=False) < -0.015


@pytest.mark.parametrize("ratio", [1.25, 1.5, 2.0])
def test_mode_correction_is_the_mean_over_the_mode_of_its_laws(ratio: float) -> None:
    # Direct sampling of the two laws.
    looks, rng = 4.4, np.random.default_rng(14)
    alpha = (1 + 1 / looks) / (ratio / looks - 1 / looks)
    power = rng.gamma(alpha, 1 / alpha, 2_000_000) * rng.gamma(looks, 1 / looks, 2_000_000)
    b = alpha - looks - 1
    mode = (b + np.sqrt(b * b + 4 * alpha * looks * power)) / (2 * alpha)
    factor = mode_correction(looks)[round((ratio - 1) * 64)]
    assert factor == pytest.approx(1 / mode.mean(), rel=1e-3)
    assert mode_correction(looks)[0] == 1.0


@pytest.mark.parametrize("name", ["gamma_map", "refined_lee", "lee_sigma"])
def test_debias_leaves_targets_alone(name: str) -> None:
    image = scene(21, 40, 40, 4.4, 0.0)
    statistics = SceneStatistics(4.4, 3.0)
    plain = filter_image(create(name, debias=False).prepare(statistics), image)
    kept = plain == image
    assert kept.any() or name == "refined_lee"
    out = filter_image(create(name).prepare(statistics), image)
    np.testing.assert_array_equal(out[kept], image[kept])
    target = image > 1.5
    np.testing.assert_allclose(out[target], plain[target], rtol=0.01)
    # The largest correction is Gamma-MAP's where Ci² = 2·Cu²: 0.67 dB at 4.4 looks.
    assert float(np.max(out / plain)) < 1.17
    assert (out >= plain).all()


@pytest.mark.parametrize("name", ["gamma_map", "refined_lee", "lee_sigma"])
def test_debias_is_a_switch(name: str) -> None:
    with pytest.raises(ConfigError, match="debias 2"):
        create(name, debias=2)


# --- gain of looks -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("window", [3, 5, 7, 11])
def test_boxcar_multiplies_looks_by_its_pixels(window: int) -> None:
    image = np.random.default_rng(3).gamma(4.4, 1 / 4.4, (800, 800)).astype(np.float32)
    out = filter_image(create("boxcar", window_px=window), image)[8:-8, 8:-8].astype(np.float64)
    assert out.mean() ** 2 / out.var() / 4.4 == pytest.approx(window**2, rel=0.1)


@pytest.mark.parametrize("name", ["lee", "enhanced_lee", "gamma_map"])
def test_gain_on_homogeneous_speckle_is_that_of_the_formula(name: str) -> None:
    # No closed form exists; independent windows through the published formula are the theory.
    looks, rng = 4.4, np.random.default_rng(4)
    windows = rng.gamma(looks, 1 / looks, (100_000, 49))
    m, v, i = windows.mean(1), windows.var(1, ddof=1), windows[:, 24]
    theory = np.array([RULES[name](w, *row, looks) for w, *row in zip(windows, m, v, i, strict=True)])
    image = rng.gamma(looks, 1 / looks, (700, 700)).astype(np.float32)
    out = filter_image(create(name), image)[8:-8, 8:-8].astype(np.float64)
    assert out.mean() ** 2 / out.var() == pytest.approx(theory.mean() ** 2 / theory.var(), rel=0.1)


@pytest.mark.parametrize(("dates", "window"), [(1, 7), (4, 5), (10, 7), (20, 3)])
def test_multitemporal_reaches_the_expected_looks(dates: int, window: int) -> None:
    looks, n = 4.4, window**2
    stack = np.random.default_rng(5).gamma(looks, 1 / looks, (dates, 400, 400)).astype(np.float32)
    # Each date has its own backscatter, and keeps it.
    level = np.linspace(0.01, 0.3, dates, dtype=np.float32)[:, None, None]
    out = filter_image(create("multitemporal", window_px=window), stack * level)[:, 8:-8, 8:-8].astype(np.float64)
    measured = (out.mean((1, 2)) ** 2 / out.var((1, 2))).mean()
    assert measured == pytest.approx(looks * dates * n / (dates + n - 1), rel=0.1)
    np.testing.assert_allclose(out.mean((1, 2)), level[:, 0, 0], rtol=0.0115)  # 0.05 dB


def test_multitemporal_counts_valid_dates_per_pixel() -> None:
    rng = np.random.default_rng(6)
    stack = rng.gamma(4.4, 1 / 4.4, (5, 20, 20)).astype(np.float32)
    stack[rng.random(stack.shape) < 0.2] = np.nan
    out = filter_image(create("multitemporal", window_px=5), stack)
    means = np.stack([by_pixel(np.where(np.isfinite(s), s, np.nan), 5, rule_boxcar, 1.0) for s in stack])
    ratio = np.nanmean(stack / means, axis=0)
    np.testing.assert_allclose(out, means * ratio, rtol=2e-6)


def test_solver_used_by_the_sigma_range_is_bracketed_for_extreme_settings() -> None:
    for looks in (0.5, 1.0, 100.0):
        for sigma in (0.05, 0.5, 0.99):
            low, high, eta = sigma_range(looks, sigma)
            assert 0 <= low < 1 < high and eta > 0

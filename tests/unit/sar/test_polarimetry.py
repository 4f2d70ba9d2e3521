"""Dual polarisation against numpy's eigh, a stored reference from real data, and limiting cases."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from landcover_cli.errors import InputError
from landcover_cli.sar.polarimetry import (
    Covariance,
    boxcar,
    covariance,
    degree_of_polarisation,
    detected_indices,
    dprvi,
    eigenvalues,
    h_a_alpha,
    multilook,
    subtract_noise,
)


def random_c2(seed: int, shape: tuple[int, int] = (9, 11), looks: int = 3) -> Covariance:
    rng = np.random.default_rng(seed)
    scale = 10.0 ** rng.uniform(-4, 1, shape)
    vv = (rng.normal(size=(looks, *shape)) + 1j * rng.normal(size=(looks, *shape))) * scale
    vh = 0.4 * vv * rng.uniform(-1, 1) + 0.3 * scale * (
        rng.normal(size=(looks, *shape)) + 1j * rng.normal(size=(looks, *shape))
    )
    return Covariance((np.abs(vv) ** 2).mean(0), (np.abs(vh) ** 2).mean(0), (vv * np.conj(vh)).mean(0))


def matrices(c2: Covariance) -> np.ndarray:
    return np.stack([np.stack([c2.c11, c2.c12], -1), np.stack([np.conj(c2.c12), c2.c22], -1)], -2)


@given(seed=st.integers(0, 10_000), looks=st.integers(1, 8))
def test_eigen_parameters_agree_with_eigh(seed: int, looks: int) -> None:
    c2 = random_c2(seed, looks=looks)
    values, vectors = np.linalg.eigh(matrices(c2))
    high, low = eigenvalues(c2)
    np.testing.assert_allclose(high, values[..., 1], rtol=1e-9)
    np.testing.assert_allclose(low / high, values[..., 0] / values[..., 1], atol=1e-9)
    p = np.clip(values[..., ::-1] / values.sum(-1, keepdims=True), 0, 1)
    safe = np.where(p > 0, p, 1)
    alpha = np.degrees(np.arccos(np.clip(np.abs(vectors[..., 0, ::-1]), 0, 1)))
    result = h_a_alpha(c2)
    np.testing.assert_allclose(result.entropy, -(p * np.log2(safe)).sum(-1), atol=1e-6)
    np.testing.assert_allclose(result.anisotropy, p[..., 0] - p[..., 1], atol=1e-6)
    np.testing.assert_allclose(result.alpha_deg, (p * alpha).sum(-1), atol=1e-4)  # arccos loses half the digits at 1
    determinant = np.linalg.det(matrices(c2)).real
    trace = c2.c11 + c2.c22
    m = np.sqrt(np.clip(1 - 4 * determinant / trace**2, 0, 1))
    np.testing.assert_allclose(degree_of_polarisation(c2), m, atol=1e-6)
    np.testing.assert_allclose(dprvi(c2), 1 - m * values[..., 1] / trace, atol=1e-6)


@given(seed=st.integers(0, 10_000))
def test_swapping_the_channels_mirrors_alpha_alone(seed: int) -> None:
    c2 = random_c2(seed)
    swapped = Covariance(c2.c22, c2.c11, np.conj(c2.c12))
    a, b = h_a_alpha(c2), h_a_alpha(swapped)
    np.testing.assert_allclose(a.alpha_deg, 90 - b.alpha_deg, atol=1e-9)
    np.testing.assert_allclose(a.entropy, b.entropy, atol=1e-12)
    np.testing.assert_allclose(a.anisotropy, b.anisotropy, atol=1e-12)


def pixel(c11: float, c22: float, c12: complex) -> Covariance:
    return Covariance(np.array([[c11]]), np.array([[c22]]), np.array([[c12]]))


def test_limiting_cases() -> None:
    # Only co-polar power: one mechanism, α = 0; only cross-polar: α = 90; equal and unrelated: no order at all.
    co, cross, noise = pixel(0.2, 0, 0), pixel(0, 0.2, 0), pixel(0.1, 0.1, 0)
    assert [float(h_a_alpha(c).alpha_deg[0, 0]) for c in (co, cross, noise)] == pytest.approx([0, 90, 45])
    assert [float(h_a_alpha(c).entropy[0, 0]) for c in (co, cross, noise)] == pytest.approx([0, 0, 1])
    assert [float(dprvi(c)[0, 0]) for c in (co, cross, noise)] == pytest.approx([0, 0, 1])


def test_more_noise_than_power_is_nodata_and_less_stays_in_range() -> None:
    c2 = subtract_noise(pixel(0.2, 0.01, 0.001j), np.array([[0.01]]), np.array([[0.012]]))
    assert c2.c22[0, 0] == pytest.approx(-0.002)
    assert 0 <= h_a_alpha(c2).entropy[0, 0] <= 1
    assert 0 <= dprvi(c2)[0, 0] <= 1
    gone = subtract_noise(pixel(0.01, 0.01, 0), np.array([[0.02]]), np.array([[0.02]]))
    assert np.isnan(dprvi(gone)).all() and np.isnan(h_a_alpha(gone).alpha_deg).all()


def test_noise_subtraction_restores_the_noise_free_covariance() -> None:
    rng = np.random.default_rng(0)
    shape = (700, 700)

    def complex_normal(power: float) -> np.ndarray:
        return np.sqrt(power / 2) * (rng.normal(size=shape) + 1j * rng.normal(size=shape))

    vv = complex_normal(0.1)
    vh = 0.3 * vv + complex_normal(0.002)
    noisy = covariance(vv + complex_normal(0.01), vh + complex_normal(0.01))
    clean = subtract_noise(noisy, np.float64(0.01), np.float64(0.01))
    assert clean.c11.mean() == pytest.approx(0.1, rel=0.01)
    assert clean.c22.mean() == pytest.approx(0.3**2 * 0.1 + 0.002, rel=0.01)
    assert clean.c12.mean().real == pytest.approx(0.03, rel=0.01)


def test_multilook_averages_cells_of_valid_pixels() -> None:
    c2 = random_c2(1, (5, 13))
    c2.c11[0, 0] = np.nan
    out = multilook(c2, 2, 4)
    assert out.c11.shape == (2, 3)
    valid = np.ones((2, 4), bool)
    valid[0, 0] = False
    assert out.c11[0, 0] == pytest.approx(c2.c11[:2, :4][valid].mean())
    assert out.c12[0, 0] == pytest.approx(c2.c12[:2, :4][valid].mean())
    assert out.c22[1, 2] == pytest.approx(c2.c22[2:4, 8:12].mean())


def test_boxcar_keeps_nodata_and_averages_the_rest() -> None:
    c2 = random_c2(2)
    c2.c22[4, 4] = np.nan
    out = boxcar(c2, 3)
    assert np.isnan(out.c11[4, 4]) and np.isnan(out.c12[4, 4])
    keep = np.ones((3, 3), bool)
    keep[0, 0] = False
    assert out.c12[5, 5] == pytest.approx(c2.c12[4:7, 4:7][keep].mean())


def test_parts_of_different_shape_are_refused() -> None:
    with pytest.raises(InputError, match="shapes"):
        Covariance(np.ones((2, 2)), np.ones((2, 2)), np.ones((2, 3), complex))
    with pytest.raises(InputError, match="shapes"):
        detected_indices(np.ones((2, 2)), np.ones((2, 3)))


def test_stored_reference_of_real_data(shared_data: Callable[[str], Path]) -> None:
    folder = shared_data("s1/polsar_c2_vvvh")

    def read(name: str) -> np.ndarray:
        return np.fromfile(folder / f"{name}.bin", "<f4").reshape(201, 101).astype(np.float64)

    c2 = boxcar(Covariance(read("C11"), read("C22"), read("C12_real") + 1j * read("C12_imag")), 5)
    inner = slice(2, -2), slice(2, -2)
    assert np.nanmax(np.abs(dprvi(c2) - read("DpRVI"))[inner]) <= 1e-6
    assert np.nanmax(np.abs(degree_of_polarisation(c2) - read("dop_dp"))[inner]) <= 1e-6
    assert np.isfinite(dprvi(c2)[inner]).all()


@given(q=st.floats(0, 3), vv=st.floats(1e-4, 10))
def test_detected_indices_follow_their_formulas(q: float, vv: float) -> None:
    out = detected_indices(np.array([[vv]]), np.array([[q * vv]]))
    assert out.rvi[0, 0] == pytest.approx(4 * q / (1 + q))
    q = min(q, 1.0)
    p = np.array([1 / (1 + q), q / (1 + q)])
    assert out.dprvi_c[0, 0] == pytest.approx(q * (q + 3) / (q + 1) ** 2)
    assert out.theta_c_deg[0, 0] == pytest.approx(np.degrees(np.arctan((1 - q) ** 2 / (1 - q + q * q))), abs=1e-6)
    assert out.entropy_c[0, 0] == pytest.approx(-(p[p > 0] * np.log2(p[p > 0])).sum(), abs=1e-9)


def test_detected_indices_have_the_published_ends() -> None:
    out = detected_indices(np.array([[1.0, 1.0]]), np.array([[0.0, 1.0]]))
    np.testing.assert_allclose(out.dprvi_c, [[0, 1]])
    np.testing.assert_allclose(out.theta_c_deg, [[45, 0]])
    np.testing.assert_allclose(out.entropy_c, [[0, 1]])


def test_detected_indices_of_unusable_pixels_are_nodata() -> None:
    co = np.array([[0.0, -0.1, np.nan, 0.1, np.inf]], np.float32)
    cross = np.array([[0.1, 0.1, 0.1, -0.1, 0.1]], np.float32)
    out = detected_indices(co, cross)
    for part in (out.rvi, out.dprvi_c, out.theta_c_deg, out.entropy_c):
        assert np.isnan(part).all()

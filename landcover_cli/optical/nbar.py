"""Nadir reflectance: what a sensor right above would have seen, by a fixed BRDF shape per band.

D. P. Roy et al., "Examination of Sentinel-2A multi-spectral instrument (MSI) reflectance anisotropy and the suitability
of a general method to normalize MSI reflectance to nadir BRDF adjusted reflectance", RSE 199, 2017. Kernels: Ross-Thick
and Li-Sparse-Reciprocal (W. Lucht, C. B. Schaaf, A. H. Strahler, IEEE TGRS 38(2), 2000) with h/b = 2 and b/r = 1.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Grid = NDArray[np.float64]

# Band → (isotropic, geometric, volumetric).
COEFFICIENTS = {
    "B02": (0.0774, 0.0079, 0.0372),
    "B03": (0.1306, 0.0178, 0.0580),
    "B04": (0.1690, 0.0227, 0.0574),
    "B05": (0.2085, 0.0256, 0.0845),
    "B06": (0.2316, 0.0273, 0.1003),
    "B07": (0.2599, 0.0294, 0.1197),
    "B08": (0.3093, 0.0330, 0.1535),
    "B8A": (0.3093, 0.0330, 0.1535),
    "B11": (0.3430, 0.0453, 0.1154),
    "B12": (0.2658, 0.0387, 0.0639),
}


def ross_thick(sun: Grid, view: Grid, azimuth: Grid) -> Grid:
    """Volumetric kernel.

    Args:
        sun: Zenith of the sun, radians.
        view: Zenith of the sensor, radians.
        azimuth: Between the two, radians.
    """
    cosine = _phase(sun, view, azimuth)
    phase = np.arccos(cosine)
    kernel: Grid = ((np.pi / 2 - phase) * cosine + np.sin(phase)) / (np.cos(sun) + np.cos(view)) - np.pi / 4
    return kernel


def li_sparse(sun: Grid, view: Grid, azimuth: Grid) -> Grid:
    """Geometric kernel; arguments as in `ross_thick`."""
    tan_s, tan_v = np.tan(sun), np.tan(view)
    secants = 1 / np.cos(sun) + 1 / np.cos(view)
    distance2 = np.maximum(tan_s**2 + tan_v**2 - 2 * tan_s * tan_v * np.cos(azimuth), 0.0)
    cos_t = np.clip(2.0 * np.sqrt(distance2 + (tan_s * tan_v * np.sin(azimuth)) ** 2) / secants, -1.0, 1.0)
    t = np.arccos(cos_t)
    overlap = (t - np.sin(t) * cos_t) * secants / np.pi
    cosine = _phase(sun, view, azimuth)
    kernel: Grid = overlap - secants + 0.5 * (1 + cosine) / (np.cos(sun) * np.cos(view))
    return kernel


def _phase(sun: Grid, view: Grid, azimuth: Grid) -> Grid:
    cosine: Grid = np.clip(np.cos(sun) * np.cos(view) + np.sin(sun) * np.sin(view) * np.cos(azimuth), -1.0, 1.0)
    return cosine


def nadir_factor(band: str, sun_zenith: Grid, sun_azimuth: Grid, view_zenith: Grid, view_azimuth: Grid) -> Grid:
    """What reflectance is multiplied by, c = BRDF(sun, nadir)/BRDF(sun, view).

    Args:
        band: Key of `COEFFICIENTS`.
        sun_zenith: Degrees.
        sun_azimuth: Degrees.
        view_zenith: Degrees.
        view_azimuth: Degrees.

    Returns:
        Factors of the angles' shape; 1 at nadir.
    """
    isotropic, geometric, volumetric = COEFFICIENTS[band]
    sun, view = np.radians(sun_zenith), np.radians(view_zenith)
    azimuth = np.radians(view_azimuth - sun_azimuth)

    def shape(zenith: Grid) -> Grid:
        modelled: Grid = (
            isotropic + geometric * li_sparse(sun, zenith, azimuth) + volumetric * ross_thick(sun, zenith, azimuth)
        )
        return modelled

    return shape(np.zeros_like(view)) / shape(view)


def apply_factor(stored: NDArray[np.uint16], factor: NDArray[np.floating]) -> NDArray[np.uint16]:
    """Multiply the reflectance of stored numbers (ρ = number · 1e-4 − 0.1); 0 stays nothing, nothing becomes 0."""
    value = np.floor((stored.astype(np.float64) - 1000.0) * factor + 1000.5)
    return np.where(stored == 0, 0, np.clip(value, 1, 65535)).astype(np.uint16)

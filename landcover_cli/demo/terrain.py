"""The ground: smooth hills as an analytic sum of waves, so that any grid can ask for the same surface."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from landcover_cli.demo.noise import stream


@dataclass(frozen=True)
class Terrain:
    """Hills of the Tertiary upland kind: about 380 m high, relief of some tens of metres over a kilometre.

    Attributes:
        wave_rad_per_m: ``(n, 2)`` wave vectors (east, north).
        amplitude_m: ``(n,)`` amplitudes.
        phase_rad: ``(n,)`` phases.
        base_m: Mean height above the ellipsoid.
    """

    wave_rad_per_m: NDArray[np.float64]
    amplitude_m: NDArray[np.float64]
    phase_rad: NDArray[np.float64]
    base_m: float

    def height_m(self, east_m: NDArray[np.float64], north_m: NDArray[np.float64]) -> NDArray[np.float64]:
        """Height at points relative to the region's south-western corner."""
        total = np.full(np.broadcast_shapes(east_m.shape, north_m.shape), self.base_m)
        for (kx, ky), amplitude, phase in zip(self.wave_rad_per_m, self.amplitude_m, self.phase_rad, strict=True):
            total += amplitude * np.sin(kx * east_m + ky * north_m + phase)
        return total

    def gradient(
        self, east_m: NDArray[np.float64], north_m: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Slope as (d height / d east, d height / d north), metres per metre."""
        shape = np.broadcast_shapes(east_m.shape, north_m.shape)
        to_east, to_north = np.zeros(shape), np.zeros(shape)
        for (kx, ky), amplitude, phase in zip(self.wave_rad_per_m, self.amplitude_m, self.phase_rad, strict=True):
            rise = amplitude * np.cos(kx * east_m + ky * north_m + phase)
            to_east += kx * rise
            to_north += ky * rise
        return to_east, to_north


def make_terrain(seed: int) -> Terrain:
    """Draw the hills: 24 waves of 0.4 to 4 km, amplitude proportional to wavelength^1.2 (self-affine relief)."""
    rng = stream(seed, "terrain")
    n = 24
    wavelength_m = np.exp(rng.uniform(np.log(400.0), np.log(4000.0), n))
    direction = rng.uniform(0.0, 2 * np.pi, n)
    wave = (2 * np.pi / wavelength_m)[:, None] * np.stack([np.cos(direction), np.sin(direction)], axis=1)
    amplitude = 9.0 * (wavelength_m / 2000.0) ** 1.2
    return Terrain(wave, amplitude, rng.uniform(0.0, 2 * np.pi, n), 380.0)

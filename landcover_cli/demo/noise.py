"""Seeded random fields; every part of the demo draws from its own stream, so that one part's change moves no other."""

from __future__ import annotations

import zlib

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage


def stream(seed: int, *names: object) -> np.random.Generator:
    """An independent generator for one purpose, e.g. ``stream(7, "clouds", 12)``."""
    words = [zlib.crc32(str(name).encode()) for name in names]
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, *words])))


def smooth_field(shape: tuple[int, int], scale_px: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """Gaussian field ``yx`` with zero mean, unit variance and a correlation length of about ``scale_px`` pixels."""
    pad = int(np.ceil(3 * scale_px))
    white = rng.standard_normal((shape[0] + 2 * pad, shape[1] + 2 * pad), dtype=np.float32)
    field = ndimage.gaussian_filter(white, scale_px, mode="wrap", truncate=3.0)
    field = field[pad : pad + shape[0], pad : pad + shape[1]]
    # The theoretical deviation, not the sample's: a field much smoother than the frame must stay a random offset.
    return np.asarray(field * np.float32(2 * np.sqrt(np.pi) * scale_px), np.float32)


def power_law_field(shape: tuple[int, int], beta: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """Field ``yx`` whose power falls with spatial frequency as f^-beta; zero mean, unit variance; periodic."""
    rows, cols = fft.next_fast_len(shape[0]), fft.next_fast_len(shape[1])
    white = fft.rfft2(rng.standard_normal((rows, cols), dtype=np.float32))
    frequency = np.hypot(fft.fftfreq(rows)[:, None], fft.rfftfreq(cols)[None, :])
    frequency[0, 0] = np.inf
    field = fft.irfft2(white * frequency ** (-beta / 2), s=(rows, cols))[: shape[0], : shape[1]]
    return np.asarray((field - field.mean()) / field.std(), np.float32)

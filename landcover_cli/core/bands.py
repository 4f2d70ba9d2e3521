"""Bands that are no plain measurement: the polarimetric layers of radar products, and what their values are."""

from __future__ import annotations

POLARIMETRIC_UNITS = {
    "c11": "power",
    "c22": "power",
    "c12_real": "signed power",
    "c12_imag": "signed power",
    "entropy": "1",
    "anisotropy": "1",
    "alpha": "deg",
    "dprvi": "1",
    "dop": "1",
    "rvi": "1",
    "dprvic": "1",
    "theta_c": "deg",
    "entropy_c": "1",
}
"""All polarimetric layers, in the order of delivery. Powers are linear, in the calibration of their product."""


def is_power(band: str) -> bool:
    """Whether a band of a cube of linear power is power itself, so that decibels make sense of it."""
    return POLARIMETRIC_UNITS.get(band, "power") == "power"

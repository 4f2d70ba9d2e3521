"""Imaging spectrometers: bands come from the file, called by their wavelength, ``865.2nm``; ``b017`` without one."""

from __future__ import annotations

from landcover_cli.sensors import Sensor

SENSOR = Sensor(
    name="hyperspectral",
    title="imaging spectrometers (EnMAP, PRISMA, EMIT, airborne), surface reflectance",
    bands=(),
    dtype="uint16",
    units="reflectance_dn",
    scale=1e-4,
    offset=-0.1,
)

"""Sentinel-1 C-SAR backscatter, terrain-corrected, in linear power."""

from __future__ import annotations

from landcover_cli.sensors import Sensor, SensorBand

SENSOR = Sensor(
    name="sentinel1",
    title="Sentinel-1 C-SAR, gamma0 in linear power",
    bands=(
        SensorBand("VV", 10, ("gamma0_vv", "sigma0_vv", "vv_gamma0", "vv_sigma0")),
        SensorBand("VH", 10, ("gamma0_vh", "sigma0_vh", "vh_gamma0", "vh_sigma0")),
        SensorBand("HH", 10, ("gamma0_hh", "sigma0_hh", "hh_gamma0", "hh_sigma0")),
        SensorBand("HV", 10, ("gamma0_hv", "sigma0_hv", "hv_gamma0", "hv_sigma0")),
    ),
    dtype="float32",
    units="gamma0_linear",
    positive=True,
)

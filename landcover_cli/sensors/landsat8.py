"""Landsat 8 and 9 OLI surface reflectance (Collection 2 Level 2), kept in Sentinel-2's digital numbers.

Collection 2 stores ρ = DN · 2.75e-5 − 0.2 (Landsat 8-9 C2 L2 Science Product Guide); a stack of such files is read with
`units: reflectance` where the file states scale and offset. Bandpasses: Landsat 8 handbook, table 2-1.
"""

from __future__ import annotations

from landcover_cli.sensors import Sensor, SensorBand

SENSOR = Sensor(
    name="landsat8",
    title="Landsat 8/9 OLI, surface reflectance",
    bands=(
        SensorBand("B1", 30, ("coastal", "sr_b1"), 443.0, 16),
        SensorBand("B2", 30, ("blue", "sr_b2"), 482.0, 60),
        SensorBand("B3", 30, ("green", "sr_b3"), 561.4, 57),
        SensorBand("B4", 30, ("red", "sr_b4"), 654.6, 37),
        SensorBand("B5", 30, ("nir08", "nir", "sr_b5"), 864.7, 28),
        SensorBand("B6", 30, ("swir16", "sr_b6"), 1608.9, 85),
        SensorBand("B7", 30, ("swir22", "sr_b7"), 2200.7, 187),
    ),
    layers=(SensorBand("QA_PIXEL", 30, ("qa_pixel",)), SensorBand("QA_RADSAT", 30, ("qa_radsat",))),
    dtype="uint16",
    units="reflectance_dn",
    scale=1e-4,
    offset=-0.1,
)

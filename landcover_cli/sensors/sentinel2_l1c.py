"""Sentinel-2 MSI top-of-atmosphere reflectance (Level-1C); bands as in `sentinel2`, and the cirrus band B10.

B10: Sentinel-2A spectral response (Copernicus, S2-SRF v3.1). Numbers are kept like those of Level-2A.
"""

from __future__ import annotations

from landcover_cli.sensors import Sensor, SensorBand
from landcover_cli.sensors.sentinel2 import SENSOR as LEVEL_2A

_CIRRUS = SensorBand("B10", 60, ("cirrus", "b10_60m"), 1373.5, 31)
_BEFORE = LEVEL_2A.band_names().index("B11")

SENSOR = Sensor(
    name="sentinel2_l1c",
    title="Sentinel-2 MSI, top-of-atmosphere reflectance",
    bands=(*LEVEL_2A.bands[:_BEFORE], _CIRRUS, *LEVEL_2A.bands[_BEFORE:]),
    dtype="uint16",
    units="reflectance_dn",
    scale=1e-4,
    offset=-0.1,
)

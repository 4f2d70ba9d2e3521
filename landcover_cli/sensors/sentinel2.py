"""Sentinel-2 MSI surface reflectance.

Wavelengths and widths: Sentinel-2A spectral response, mean over the detectors (Copernicus, S2-SRF v3.1). Aliases: the
asset keys of the two common catalogues of cloud-optimised scenes, and the asset keys of the data space's catalogue.
"""

from __future__ import annotations

from landcover_cli.sensors import Sensor, SensorBand


def _band(name: str, gsd_m: float, wavelength_nm: float, width_nm: float, *common: str) -> SensorBand:
    native = f"{name.lower()}_{gsd_m:g}m"
    return SensorBand(name, gsd_m, (*common, native), wavelength_nm, width_nm)


SENSOR = Sensor(
    name="sentinel2",
    title="Sentinel-2 MSI, surface reflectance",
    bands=(
        _band("B01", 60, 442.7, 21, "coastal"),
        _band("B02", 10, 492.4, 66, "blue"),
        _band("B03", 10, 559.8, 36, "green"),
        _band("B04", 10, 664.6, 31, "red"),
        _band("B05", 20, 704.1, 15, "rededge1"),
        _band("B06", 20, 740.5, 15, "rededge2"),
        _band("B07", 20, 782.8, 20, "rededge3"),
        _band("B08", 10, 832.8, 106, "nir"),
        _band("B8A", 20, 864.7, 21, "nir08"),
        _band("B09", 60, 945.1, 20, "nir09"),
        _band("B11", 20, 1613.7, 91, "swir16"),
        _band("B12", 20, 2202.4, 175, "swir22"),
    ),
    layers=(SensorBand("SCL", 20, ("scl", "scl_20m", "scene_classification")),),
    dtype="uint16",
    units="reflectance_dn",
    # Digital numbers as of processing baseline 04.00; older ones are raised by 1000, so that nothing clips at zero.
    scale=1e-4,
    offset=-0.1,
)

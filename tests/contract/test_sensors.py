"""What every sensor plug-in must hold."""

from __future__ import annotations

import numpy as np
import pytest

from landcover_cli import registry
from landcover_cli.sensors import Sensor


@pytest.mark.parametrize("name", registry.names("sensor"))
class TestSensor:
    def test_it_is_a_sensor_called_like_its_file(self, name):
        sensor = registry.load("sensor", name)
        assert isinstance(sensor, Sensor)
        assert sensor.name == name
        assert sensor.title

    def test_names_are_unique_and_found_in_any_case(self, name):
        sensor = registry.load("sensor", name)
        assert len(set(sensor.band_names())) == len(sensor.bands)
        for band in (*sensor.bands, *sensor.layers):
            for text in (band.name, band.name.lower(), *band.aliases, f" {band.name} "):
                assert sensor.canonical(text) == band.name
            assert all(alias == alias.lower() for alias in band.aliases)
        assert sensor.canonical("no such band") is None

    def test_physics_is_plausible(self, name):
        sensor = registry.load("sensor", name)
        assert np.dtype(sensor.dtype).name == sensor.dtype
        for band in sensor.bands:
            assert 0.1 <= band.gsd_m <= 5000
            if band.wavelength_nm is not None:
                assert 300 < band.wavelength_nm < 15_000
                assert 0 < band.width_nm < 2000
        if sensor.dtype == "uint16":
            # Zero is nodata; reflectance 0 and 1 must both have a number.
            assert 0 < (0 - sensor.offset) / sensor.scale <= 65535
            assert (1 - sensor.offset) / sensor.scale <= 65535


def test_a_name_for_two_bands_is_refused():
    from landcover_cli.sensors import SensorBand

    with pytest.raises(ValueError, match="names both"):
        Sensor("x", "x", (SensorBand("A", 10, ("red",)), SensorBand("B", 10, ("red",))), "uint16", "dn")

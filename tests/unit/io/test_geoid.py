"""Geoid grids: found by name, read bilinearly, wrapped at the antimeridian."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st

from landcover_cli.errors import InputError
from landcover_cli.io import geoid as geoid_module
from landcover_cli.io.geoid import find_geoid, open_geoid


def _write(path: Path, values: np.ndarray, transform: Affine, **profile: object) -> Path:
    ny, nx = values.shape
    with rasterio.open(
        path, "w", driver="GTiff", height=ny, width=nx, count=1, dtype="float32", transform=transform, **profile
    ) as target:
        target.write(values.astype(np.float32), 1)
    return path


@pytest.fixture(scope="module")
def wave(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One degree, pixel centres on whole degrees, −180..179: N = 30·sin(lon)·cos(lat)."""
    lon, lat = np.meshgrid(np.arange(-180, 180), np.arange(90, -91, -1))
    values = 30 * np.sin(np.radians(lon)) * np.cos(np.radians(lat))
    return _write(tmp_path_factory.mktemp("geoid") / "wave.tif", values, Affine(1, 0, -180.5, 0, -1, 90.5))


@given(lon=st.floats(-720, 720), lat=st.floats(-90, 90))
def test_bilinear_everywhere_on_the_globe(wave: Path, lon: float, lat: float) -> None:
    grid = open_geoid(str(wave))
    got = grid.undulation(np.array([lon]), np.array([lat]))[0]
    truth = 30 * np.sin(np.radians(lon)) * np.cos(np.radians(lat))
    # The error of linear interpolation over one degree: h²/8·|f''| per axis.
    assert abs(got - truth) < 2 * 30 * np.radians(1) ** 2 / 8 + 1e-4


def test_wraps_at_the_antimeridian(wave: Path) -> None:
    grid = open_geoid(str(wave))
    lat = np.array([10.0])
    for lon in (179.7, -180.3, 539.7):
        expected = 0.3 * grid.undulation(np.array([179.0]), lat) + 0.7 * grid.undulation(np.array([-180.0]), lat)
        assert grid.undulation(np.array([lon]), lat)[0] == pytest.approx(expected[0], abs=1e-6)


def test_part_of_the_rows_gives_the_same_values(wave: Path) -> None:
    lon, lat = np.meshgrid(np.linspace(5, 9, 20), np.linspace(40.1, 44.7, 20))
    whole, part = open_geoid(str(wave)), open_geoid(str(wave), (5, 40.1, 9, 44.7))
    assert part.values_m.shape[0] < 12
    np.testing.assert_allclose(part.undulation(lon, lat), whole.undulation(lon, lat), atol=1e-6)


def test_regional_grid_has_nothing_outside(tmp_path: Path) -> None:
    path = _write(tmp_path / "region.tif", np.full((11, 21), 7.0), Affine(0.5, 0, 9.75, 0, -0.5, 45.25))
    grid = open_geoid(str(path))
    inside = grid.undulation(np.array([10.0, 20.0, 15.3]), np.array([45.0, 40.0, 42.2]))
    np.testing.assert_allclose(inside, 7.0)
    assert np.isnan(grid.undulation(np.array([9.9, 20.1, 15.0]), np.array([42.0, 42.0, 45.1]))).all()


def test_gtx_is_read(tmp_path: Path) -> None:
    _, lat = np.meshgrid(np.arange(0, 360, 5.0), np.arange(90, -91, -5.0))
    values = (lat / 10).astype(np.float32)
    path = tmp_path / "small.gtx"
    with rasterio.open(
        path,
        "w",
        driver="GTX",
        height=37,
        width=72,
        count=1,
        dtype="float32",
        transform=Affine(5, 0, -2.5, 0, -5, 92.5),
    ) as target:
        target.write(values, 1)
    grid = open_geoid(str(path))
    np.testing.assert_allclose(
        grid.undulation(np.array([-3.0, 357.5]), np.array([22.5, -45.0])), [2.25, -4.5], atol=1e-5
    )


def test_egm96_of_rome(shared_data) -> None:
    grid = open_geoid(str(shared_data("s1/egm96") / "egm96_15min.tif"))
    # 48.4 m: stated beside the DEM of Rome; the extremes are those published for EGM96.
    assert grid.undulation(np.array([12.5]), np.array([42.0]))[0] == pytest.approx(48.5, abs=0.2)
    assert grid.values_m.min() == pytest.approx(-106.99, abs=0.01)


def test_missing_grid_names_the_remedy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(geoid_module, "proj_folders", lambda: [tmp_path])
    with pytest.raises(InputError, match="egm08_25") as caught:
        find_geoid("egm2008")
    assert "pyproj sync --file us_nga_egm08_25" in caught.value.remedy
    assert "proj-data" in caught.value.remedy


def test_grid_is_found_in_projs_folders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PROJ_DATA", str(tmp_path))
    (tmp_path / "us_nga_egm08_25.tif").touch()
    assert find_geoid("egm2008") == tmp_path / "us_nga_egm08_25.tif"


def test_unknown_name_is_refused() -> None:
    with pytest.raises(InputError, match="egm84"):
        find_geoid("egm84")


def test_unreadable_grid_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "broken.tif"
    path.write_bytes(b"no raster")
    with pytest.raises(InputError, match=r"broken\.tif"):
        open_geoid(str(path))


def test_projected_grid_is_refused(tmp_path: Path) -> None:
    path = _write(tmp_path / "utm.tif", np.zeros((4, 4)), Affine(10, 0, 0, 0, -10, 0), crs="EPSG:32633")
    with pytest.raises(InputError, match="longitude"):
        open_geoid(str(path))

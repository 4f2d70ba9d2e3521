"""Angle grids of real and of broken granules."""

from __future__ import annotations

import numpy as np
import pytest
from s2product import bands, write_l1c

from landcover_cli.errors import InputError
from landcover_cli.io.s2_angles import read_angles
from landcover_cli.optical.masking import ANGLES


@pytest.fixture
def safe(tmp_path):
    values = {k: v for k, v in bands(40).items() if k != "SCL"}
    return write_l1c(tmp_path, values, sun=(40.0, 350.0), view=(8.0, 100.0))


def test_even_angles_come_back_and_bands_go_by_their_id(safe):
    found = read_angles(safe)
    for name, value in zip(ANGLES, (40.0, 350.0, 8.0, 100.0), strict=True):
        np.testing.assert_allclose(found[name], np.full((22, 22), value))


def test_azimuths_are_averaged_as_directions(safe):
    path = next(safe.rglob("MTD_TL.xml"))
    head, tail = path.read_text().split("<Azimuth>", 1)
    row = " ".join(["350.0", "10.0"] * 11 + ["350.0"])
    first, rest = tail.split("</Azimuth>", 1)
    path.write_text(f"{head}<Azimuth>{first.replace(' '.join(['350.0'] * 23), row)}</Azimuth>{rest}")
    azimuth = read_angles(safe)["sun_azimuth_deg"]
    assert (np.minimum(azimuth, 360 - azimuth) < 1e-9).all()


def test_detectors_fill_each_other_and_nothing_stays_empty(safe):
    path = next(safe.rglob("MTD_TL.xml"))
    row = f"<VALUES>{' '.join(['8.0'] * 23)}</VALUES>"
    holed = f"<VALUES>{' '.join(['8.0'] * 20 + ['NaN'] * 3)}</VALUES>"
    path.write_text(path.read_text().replace(row, holed))
    np.testing.assert_allclose(read_angles(safe)["view_zenith_deg"], 8.0)


@pytest.mark.parametrize(
    ("old", "new", "match"),
    [
        ("Sun_Angles_Grid", "Something", "no grid of sun angles"),
        ("40.0", "forty", "no numbers"),
        ("Zenith", "Z", "missing"),
    ],
)
def test_broken_grids_are_named(safe, old, new, match):
    path = next(safe.rglob("MTD_TL.xml"))
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(InputError, match=match):
        read_angles(safe)


def test_a_granule_without_metadata(safe):
    next(safe.rglob("MTD_TL.xml")).unlink()
    with pytest.raises(InputError, match=r"MTD_TL\.xml is missing"):
        read_angles(safe)


@pytest.mark.parametrize(
    ("name", "sun", "view"),
    [
        ("S2A_MSIL1C_20180629T000241_N0206_R030_T56JMM_20180629T012042.zip", (55.4, 33.6), None),
        ("S2A_MSIL1C_20210713T032051_N0301_R032_T48LWP_20210713T054224.zip", None, None),
    ],
)
def test_real_grids_agree_with_the_stated_means(shared_data, name, sun, view):
    import re
    import zipfile

    path = shared_data("optical/eo-datasets3") / name
    with zipfile.ZipFile(path) as archive:
        text = archive.read(next(n for n in archive.namelist() if n.endswith("MTD_TL.xml"))).decode()
    mean = re.search(r"<Mean_Sun_Angle>.*?ZENITH_ANGLE[^>]*>([\d.]+).*?AZIMUTH_ANGLE[^>]*>([\d.]+)", text, re.DOTALL)
    view = re.search(
        r'<Mean_Viewing_Incidence_Angle bandId="8">.*?ZENITH_ANGLE[^>]*>([\d.]+).*?AZIMUTH_ANGLE[^>]*>([\d.]+)',
        text,
        re.DOTALL,
    )
    found = read_angles(path)
    assert found["sun_zenith_deg"].mean() == pytest.approx(float(mean[1]), abs=0.3)
    assert found["sun_azimuth_deg"].mean() == pytest.approx(float(mean[2]), abs=0.5)
    assert found["view_zenith_deg"].mean() == pytest.approx(float(view[1]), abs=1.5)
    assert all(np.isfinite(grid).all() for grid in found.values())

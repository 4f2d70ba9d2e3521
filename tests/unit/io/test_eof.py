"""Choosing and reading orbit files."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from landcover_cli.errors import InputError
from landcover_cli.io.eof import find_orbit, list_orbit_files, read_eof, select_orbit_file
from landcover_cli.io.safe_archive import parse_xml
from landcover_cli.io.safe_s1_xml import parse_annotation
from landcover_cli.sar.orbit import interpolate_orbit
from landcover_cli.sar.types import ProductMeta

START = np.datetime64("2022-09-18T07:49:21.513561", "ns")
STOP = np.datetime64("2022-09-18T07:49:46.683848", "ns")
REAL = "S1A_OPER_AUX_RESORB_OPOD_20220918T093241_V20220918T053155_20220918T084925.EOF"
TIMES = {"start": START, "stop": STOP, "epoch": START}


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).write_bytes(b"")


def test_precise_orbits_come_before_restituted_ones_and_new_before_old(tmp_path: Path) -> None:
    old_precise = "S1A_OPER_AUX_POEORB_OPOD_20221008T120000_V20220917T225942_20220919T005942.EOF"
    new_precise = "S1A_OPER_AUX_POEORB_OPOD_20230101T120000_V20220917T225942_20220919T005942.EOF"
    late = "S1A_OPER_AUX_RESORB_OPOD_20240101T120000_V20220918T053155_20220918T084925.EOF"
    touch(tmp_path, REAL, late, old_precise)
    assert select_orbit_file(tmp_path, "S1A", START, STOP).path.name == old_precise
    (tmp_path / "sub").mkdir()
    touch(tmp_path / "sub", new_precise)
    assert select_orbit_file(tmp_path, "S1A", START, STOP).path.name == new_precise
    assert len(list_orbit_files(tmp_path)) == 4


def test_other_names_missions_and_near_misses_are_passed_over(tmp_path: Path) -> None:
    touch(
        tmp_path,
        "readme.txt",
        "S1A_OPER_AUX_PREORB_OPOD_20220918T093241_V20220918T053155_20220918T084925.EOF",
        "S1B_OPER_AUX_POEORB_OPOD_20221008T120000_V20220917T225942_20220919T005942.EOF",
        # Ends 59 s after the acquisition instead of 60.
        "S1A_OPER_AUX_RESORB_OPOD_20220918T093241_V20220918T053155_20220918T075045.EOF",
        "S1A_OPER_AUX_RESORB_OPOD_20229999T093241_V20220918T053155_20220918T084925.EOF",
    )
    with pytest.raises(InputError, match=r"none of 2 orbit files \(1 of S1A\) covers S1A"):
        select_orbit_file(tmp_path, "S1A", START, STOP)
    with pytest.raises(InputError, match="no such folder"):
        select_orbit_file(tmp_path / "nowhere", "S1A", START, STOP)


def test_a_restituted_orbit_is_within_two_centimetres_of_the_annotation(
    shared_data: Callable[[str], Path],
) -> None:
    folder = shared_data("s1/sarprocessing_slc")
    vectors = find_orbit(folder, mission="S1A", **TIMES)
    assert vectors.source == REAL
    assert 20 <= len(vectors.time_s) <= 40
    name = next(folder.glob("*.xml"))
    meta = ProductMeta("SLC", "S1A", "IW", "SLC", "", "DESCENDING", (3, 52), 45056, 0, 0, START, STOP, ())
    annotation = parse_annotation(parse_xml(name.read_bytes(), name.name), name.name, meta, START)
    time_s = np.linspace(0, 25, 501)
    states = {}
    for key, orbit in (("file", vectors), ("annotation", annotation.orbit)):
        hermite = interpolate_orbit(orbit, 0, 25).state(time_s)[0]
        squares = interpolate_orbit(orbit, 0, 25, method="polynomial").state(time_s)[0]
        assert np.abs(hermite - squares).max() <= 1e-3
        states[key] = hermite
    assert np.linalg.norm(states["file"] - states["annotation"], axis=1).max() <= 0.02


def test_a_zipped_orbit_file_is_read_like_the_file(tmp_path: Path, shared_data: Callable[[str], Path]) -> None:
    real = shared_data("s1/sarprocessing_slc") / REAL
    with zipfile.ZipFile(tmp_path / f"{REAL}.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(real, REAL)
    zipped = find_orbit(tmp_path, mission="S1A", **TIMES)
    plain = read_eof(real, mission="S1A", **TIMES)
    np.testing.assert_array_equal(zipped.position_m, plain.position_m)
    assert zipped.source == plain.source


def test_files_of_another_mission_or_date_are_refused(shared_data: Callable[[str], Path]) -> None:
    real = shared_data("s1/sarprocessing_slc") / REAL
    with pytest.raises(InputError, match="orbit of Sentinel-1A, the product is of S1B"):
        find_orbit(real, mission="S1B", **TIMES)
    day = np.timedelta64(1, "D")
    with pytest.raises(InputError, match="2022-09-18T05:31:55 to 2022-09-18T08:49:25"):
        find_orbit(real, mission="S1A", start=START + day, stop=STOP + day, epoch=START)


OSV = "<OSV><UTC>UTC=2022-09-18T07:49:21</UTC><X>{}</X><Y>1</Y><Z>1</Z><VX>1</VX><VY>1</VY><VZ>1</VZ></OSV>"
HEAD = (
    "<F><Fixed_Header><Mission>Sentinel-1A</Mission></Fixed_Header>"
    "<Variable_Header><Ref_Frame>{}</Ref_Frame></Variable_Header><List_of_OSVs>{}</List_of_OSVs></F>"
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not well-formed"),
        (HEAD.format("EARTH_FIXED", ""), r"state vectors \(none\)"),
        (HEAD.format("EARTH_FIXED", OSV.format("many")), "no number"),
        (HEAD.format("MEAN_OF_2000", ""), "not Earth-fixed"),
        (HEAD.format("EARTH_FIXED", OSV.format(1).replace("UTC=2022", "UTC=x")), "no UTC time"),
        ('<!DOCTYPE a [<!ENTITY b "c">]><F/>', "declares a document type"),
    ],
)
def test_damaged_files_are_refused_with_the_reason(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / REAL
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_eof(path, mission="S1A", **TIMES)


def test_an_unreadable_or_crowded_zip_is_refused(tmp_path: Path) -> None:
    broken = tmp_path / f"{REAL}.zip"
    broken.write_bytes(b"PK")
    with pytest.raises(InputError, match="cannot be read"):
        read_eof(broken, mission="S1A", **TIMES)
    with zipfile.ZipFile(broken, "w") as archive:
        archive.writestr("a.EOF", "")
        archive.writestr("b.EOF", "")
    with pytest.raises(InputError, match="no single orbit file"):
        read_eof(broken, mission="S1A", **TIMES)
    with pytest.raises(InputError, match="cannot be read"):
        read_eof(tmp_path / "absent.EOF", mission="S1A", **TIMES)

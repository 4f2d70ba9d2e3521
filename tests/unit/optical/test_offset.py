"""The offset resolver: metadata first, pixels as proof."""

from __future__ import annotations

import json

import numpy as np
import pytest

from landcover_cli.errors import InputError
from landcover_cli.optical.offset import OffsetDecision, harmonise, judge_offset, resolve_offset


def counts(values) -> np.ndarray:
    return np.bincount(np.asarray(values), minlength=65536)


@pytest.mark.parametrize(
    ("metadata", "override", "add", "source"),
    [
        ({"boa_add_offset": -1000.0, "baseline": "05.09"}, "auto", 0, "safe"),
        ({"boa_add_offset": 0.0, "baseline": "02.14"}, "auto", 1000, "safe"),
        # A reprocessed old scene carries the offset whatever its date; the element decides, not the number.
        ({"boa_add_offset": -1000.0, "baseline": "02.14"}, "auto", 0, "safe"),
        ({"boa_offset_applied": True, "baseline": "05.09"}, "auto", 1000, "stac"),
        ({"boa_offset_applied": False, "baseline": "04.00"}, "auto", 0, "stac"),
        ({"boa_offset_applied": False, "baseline": "00.01"}, "auto", 1000, "stac"),
        ({"baseline": "05.11"}, "auto", 0, "baseline"),
        ({"baseline": "03.01"}, "auto", 1000, "baseline"),
        ({"boa_add_offset": -1000.0}, "applied", 1000, "user"),
        ({"boa_add_offset": 0.0}, "in_pixels", 0, "user"),
    ],
)
def test_metadata_decide_in_their_order(metadata, override, add, source):
    decision = resolve_offset("scene", metadata, override)
    assert (decision.add_dn, decision.source) == (add, source)
    assert decision.reason


@pytest.mark.parametrize("metadata", [{}, {"baseline": "new"}, {"boa_add_offset": -500.0}])
def test_what_decides_nothing_is_refused_by_name(metadata):
    with pytest.raises(InputError, match="my-scene"):
        resolve_offset("my-scene", metadata)


IN_PIXELS = OffsetDecision(0, "safe", "BOA_ADD_OFFSET is -1000")
TAKEN_OUT = OffsetDecision(1000, "stac", "flag")


def test_dark_pixels_prove_a_wrong_flag():
    dark = counts(np.r_[np.full(50, 300), np.full(2000, 1500)])
    with pytest.raises(InputError, match=r"scene-7: .*no longer in the pixels"):
        judge_offset("scene-7", IN_PIXELS, {"B02": dark})
    assert judge_offset("scene-7", TAKEN_OUT, {"B02": dark}) == TAKEN_OUT


def test_a_bright_desert_without_the_offset_is_warned_about_and_not_refused():
    bright = counts(np.full(5000, 2400))
    judged = judge_offset("desert", TAKEN_OUT, {"B02": bright, "B12": bright})
    assert judged.add_dn == 1000
    assert "desert" in judged.warning


@pytest.mark.parametrize(("pixels", "weight"), [(999, 1.0), (3999, 0.25)])
def test_too_few_pixels_prove_nothing(pixels, weight):
    assert judge_offset("s", IN_PIXELS, {"B02": counts(np.full(pixels, 100))}, weight) == IN_PIXELS


def test_nodata_is_no_dark_pixel():
    assert judge_offset("s", IN_PIXELS, {"B02": counts(np.r_[np.zeros(9000, int), np.full(2000, 1400)])}) == IN_PIXELS


def test_harmonising_keeps_nodata_and_saturation():
    dn = np.array([0, 1, 2000, 64535, 64536, 65535], "uint16")
    assert harmonise(dn, 1000).tolist() == [0, 1001, 3000, 65535, 65535, 65535]
    assert harmonise(dn, 0).tolist() == dn.tolist()
    assert harmonise(dn, 1000).dtype == np.uint16


def test_every_real_item_resolves(shared_data):
    from landcover_cli.io.stac_in import read_stac
    from landcover_cli.sensors.sentinel2 import SENSOR

    found = {}
    for path in sorted((shared_data("optical/mapchete-eo") / "stac_items").rglob("*")):
        if path.is_file() and path.suffix != ".xml":
            try:
                json.loads(path.read_text())
            except ValueError:
                continue
            scene = read_stac(str(path), SENSOR)[0]
            found[scene.id] = resolve_offset(scene.id, scene.metadata).add_dn
    assert len(found) == 18
    # What the catalogue's own `raster:bands` offsets and flags say of these items, read by hand.
    assert found["S2B_33TWN_20220226_0_L2A"] == 0
    assert found["S2B_33TWN_20220130_0_L2A"] == 1000
    assert found["S2A_33TWN_20161202_0_L2A"] == 1000
    assert sum(value == 0 for value in found.values()) == 2


def test_items_of_other_providers_resolve_as_their_own_raster_offsets_say(shared_data):
    """None of them was harmonised by an archive: numbers with an offset carry it, numbers without do not."""
    from landcover_cli.io.stac_in import read_stac
    from landcover_cli.sensors.sentinel2 import SENSOR

    paths = sorted((shared_data("optical/stactools-sentinel2")).rglob("expected_output.json"))
    assert len(paths) == 17
    for path in paths:
        (scene,) = read_stac(str(path), SENSOR)
        assets = json.loads(path.read_text())["assets"]
        stated = {
            raster.get("offset", 0)
            for name in ("red", "blue")
            for raster in assets.get(name, {}).get("raster:bands", [{}])
            if name in assets
        }
        assert len(stated) == 1, path
        assert resolve_offset(scene.id, scene.metadata).add_dn == (0 if stated.pop() < 0 else 1000), path


def test_the_pixels_of_every_real_scene_agree(shared_data):
    """Ten granules whose items say both an offset and that it was taken out already: it was."""
    import rasterio

    from landcover_cli.io.stac_in import read_stac
    from landcover_cli.sensors.sentinel2 import SENSOR

    scenes = read_stac(str(shared_data("optical/mapchete-eo") / "full_products" / "catalog.json"), SENSOR)
    assert len(scenes) == 10
    for scene in scenes:
        decision = resolve_offset(scene.id, scene.metadata)
        with rasterio.open(scene.assets["B02"].href) as blue, rasterio.open(scene.assets["SCL"].href) as scl:
            ground = np.isin(scl.read(1), (4, 6))
            counts = {"B02": np.bincount(blue.read(1)[ground], minlength=65536)}
        assert judge_offset(scene.id, decision, counts) == decision
        wrong = resolve_offset(scene.id, {"baseline": "05.09", "boa_offset_applied": False})
        with pytest.raises(InputError, match=scene.id):
            judge_offset(scene.id, wrong, counts)


def test_level_1c_has_an_offset_of_its_own_name():
    found = resolve_offset("x", {"radio_add_offset": -1000.0, "baseline": "04.00"})
    assert (found.add_dn, found.source, found.reason) == (0, "safe", "RADIO_ADD_OFFSET is -1000")
    found = resolve_offset("x", {"radio_add_offset": 0.0, "baseline": "03.01"})
    assert (found.add_dn, found.reason) == (1000, "the metadata holds no RADIO_ADD_OFFSET")
    with pytest.raises(InputError, match="RADIO_ADD_OFFSET is -500"):
        resolve_offset("x", {"radio_add_offset": -500.0})

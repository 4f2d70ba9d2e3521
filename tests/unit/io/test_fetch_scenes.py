"""Downloads of scenes from a server on loopback: chosen, resumed, verified, without secrets."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pystac
import pytest
from loopback import PAGE, Site, body_of, hang_up_after, serve, status, stay_on_loopback
from rtcproduct import opera_item, pc_item, write_collection
from stacserver import multihash, s2_item, tiff

from landcover_cli.errors import InputError, UsageError
from landcover_cli.io.downloadcheck import WrongContentError
from landcover_cli.io.fetch_scenes import Choice, choose_assets, fetch_scenes, plan_scenes
from landcover_cli.io.rtc_items import read_rtc
from landcover_cli.io.signing import BlobSigner
from landcover_cli.io.stac_in import read_item, read_items, read_stac
from landcover_cli.io.web import Web, WebSettings
from landcover_cli.sensors.sentinel1 import SENSOR as S1
from landcover_cli.sensors.sentinel2 import SENSOR

SECRET = "s3cr3t-s1gnature"
RNG = np.random.default_rng(5)
# Incompressible, so that a cut at any point takes pixels away.
FILES = {
    "B02": tiff(RNG.integers(1, 60000, (400, 400)).astype("uint16"), 10.0),
    "B11": tiff(RNG.integers(1, 60000, (200, 200)).astype("uint16"), 20.0),
    "SCL": tiff(np.full((200, 200), 4, "uint8"), 20.0),
}
KEYS = {"B02": "blue", "B11": "swir16", "SCL": "scl"}


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    stay_on_loopback(monkeypatch)
    with serve() as found:
        for band, data in FILES.items():
            for scene in "ab":
                found.files[f"/data/{scene}/{band}.tif"] = data
        yield found


class Clock:
    def __init__(self) -> None:
        self.waits: list[float] = []

    def __call__(self, seconds: float) -> None:
        self.waits.append(seconds)


def client(clock: Clock | None = None, **more: Any) -> Web:
    return Web(WebSettings(sleep=clock or Clock(), timeout_s=10.0, **more))


def items(site: Site, scenes: str = "ab", **asset: Any) -> list[pystac.Item]:
    found = []
    for n, scene in enumerate(scenes):
        assets = {
            key: {"href": site.url(f"/data/{scene}/{band}.tif"), "roles": ["data"], **asset}
            for band, key in KEYS.items()
        }
        assets["thumbnail"] = {"href": site.url("/thumb.jpg"), "roles": ["thumbnail"]}
        assets["blue-jp2"] = {"href": "s3://bucket/B02.jp2", "roles": ["data"]}
        found.append(pystac.Item.from_dict(s2_item(f"2023-08-{17 + n}", name=scene, assets=assets)))
    return found


def fetch(site: Site, out: Path, web: Web | None = None, found: Any = None, **choice: Any) -> list[Any]:
    assets = choose_assets(found or items(site), Choice(**choice), out)
    return fetch_scenes(assets, out, web or client(), workers=1)


def everything(out: Path) -> dict[str, bytes]:
    return {str(p.relative_to(out)): p.read_bytes() for p in sorted(out.rglob("*")) if p.is_file()}


# --- what comes -------------------------------------------------------------------------------------------------------


def test_the_readers_find_what_came(site, tmp_path):
    got = fetch(site, tmp_path)
    assert [(a.item.id, a.key, f.status) for a, f in got] == [
        (scene, key, "fetched") for scene in "ab" for key in ("blue", "swir16", "scl")
    ]
    assert (tmp_path / "a/blue.tif").read_bytes() == FILES["B02"]
    for href in (tmp_path / "items.json", tmp_path, tmp_path / "a"):
        first = read_stac(str(href), SENSOR)[0]
        assert {band: asset.href for band, asset in first.assets.items()} == {
            band: str(tmp_path / "a" / f"{key}.tif") for band, key in KEYS.items()
        }
        assert first.metadata["item"] == str(tmp_path / "a/item.json")
        assert read_item(first.metadata["item"], SENSOR) == first
    record = json.loads((tmp_path / "a/lc-fetch.json").read_text())["files"]
    assert {entry["name"]: entry["sha256"] for entry in record} == {
        f"{key}.tif": hashlib.sha256(FILES[band]).hexdigest() for band, key in KEYS.items()
    }
    (again,) = (a for a in read_items(str(tmp_path / "items.json")) if a.id == "a")
    assert again.assets["blue"].extra_fields["file:checksum"] == multihash(FILES["B02"])
    # A second time nothing is asked for, and no byte changes.
    before, asked = everything(tmp_path), len(site.asked)
    assert {f.status for _, f in fetch(site, tmp_path)} == {"present"}
    assert len(site.asked) == asked
    assert everything(tmp_path) == before
    assert str(tmp_path) not in "".join(text.decode() for name, text in before.items() if name.endswith(".json"))


@pytest.mark.parametrize(
    ("choice", "keys"),
    [
        ({"bands": ("B11", "B02")}, ["swir16", "blue"]),
        ({"bands": ("red", "nir")}, None),
        ({"bands": ("blue",), "assets": ("thumbnail",)}, ["blue", "thumbnail"]),
        ({"assets": ("thumbnail",)}, ["thumbnail"]),
        ({"bands": ("swir16",), "sensor": "sentinel2"}, ["swir16"]),
    ],
)
def test_bands_are_asked_for_by_any_of_their_names(site, tmp_path, choice, keys):
    if keys is None:
        with pytest.raises(InputError, match="item a has no asset of B04"):
            choose_assets(items(site), Choice(**choice), tmp_path)
        return
    assets = choose_assets(items(site, "a"), Choice(**choice), tmp_path)
    assert [asset.key for asset in assets] == keys


def test_what_cannot_be_chosen(site, tmp_path):
    for choice, error, words in (
        ({"bands": ("B99",)}, UsageError, "has no band 'B99'"),
        ({"sensor": "sentinel9"}, UsageError, "--sensor 'sentinel9' is unknown"),
        ({"assets": ("granule",)}, InputError, "has no asset 'granule'"),
        ({"assets": ("blue-jp2",)}, InputError, "asset blue-jp2 is at s3://bucket/B02.jp2, which only"),
    ):
        with pytest.raises(error, match=words):
            choose_assets(items(site), Choice(**choice), tmp_path)
    with pytest.raises(InputError, match="two items are called 'a'"):
        choose_assets(items(site, "aa"), Choice(), tmp_path)
    strange = pystac.Item.from_dict(s2_item("2023-08-17", assets={"x": {"href": "https://a.org/x.tif"}}))
    with pytest.raises(InputError, match="no sensor knows one of its assets"):
        choose_assets([strange], Choice(), tmp_path)
    assert not list(tmp_path.iterdir())


def test_an_alternate_address_and_a_file_name_without_one(site, tmp_path):
    alternate = {"https": {"href": site.url("/odata/Nodes(B02)/$value")}, "s3": {"href": "s3://eodata/x"}}
    asset = {"href": "s3://eodata/B02_10m.tif", "type": "image/tiff", "alternate": alternate, "roles": ["data"]}
    site.files["/odata/Nodes(B02)/$value"] = FILES["B02"]
    one = pystac.Item.from_dict(s2_item("2023-08-17", name="a", assets={"B02_10m": asset}))
    fetch(site, tmp_path, found=[one])
    assert (tmp_path / "a/B02_10m.tif").read_bytes() == FILES["B02"]
    assert "eodata" not in (tmp_path / "items.json").read_text()


def test_local_files_stay_where_they_are(site, tmp_path):
    (tmp_path / "b2.tif").write_bytes(FILES["B02"])
    one = items(site, "a")[0]
    one.assets["blue"].href = str(tmp_path / "b2.tif")
    got = fetch(site, tmp_path / "out", found=[one], bands=("B02", "SCL"))
    assert [file and file.status for _, file in got] == [None, "fetched"]
    (scene,) = read_stac(str(tmp_path / "out/items.json"), SENSOR)
    assert Path(scene.assets["B02"].href).samefile(tmp_path / "b2.tif")


def test_terrain_corrected_radar_with_its_mask(site, tmp_path):
    pixels = {"VV": np.full((8, 8), 0.1), "VH": np.full((8, 8), 0.02)}
    corner = (480000.0, 4992000.0)
    made = [
        pc_item(tmp_path / "server", "2022-07-03T06:15:00", pixels, corner),
        opera_item(tmp_path / "server", "2022-07-06T05:20:08", "T022-045677-IW1", pixels, corner, mask=np.ones((8, 8))),
    ]
    for path in (tmp_path / "server").rglob("*.tif*"):
        site.files[f"/{path.relative_to(tmp_path / 'server')}"] = path.read_bytes()
    for item in made:
        for asset in item["assets"].values():
            if "://" not in asset["href"]:
                asset["href"] = site.url(f"/{asset['href'].removeprefix('./')}")
    path = write_collection(tmp_path / "list.json", made)
    out = tmp_path / "out"
    got = fetch(site, out, found=read_items(str(path)))
    assert [asset.key for asset, _ in got] == ["vv", "vh", "0_VV", "0_VH", "0_mask"]
    first, second = read_rtc(str(out / "items.json"), S1)
    assert first.assets == {"VV": str(out / first.id / "vv.tif"), "VH": str(out / first.id / "vh.tif")}
    assert second.mask == str(out / second.id / "0_mask.tif")
    assert (second.burst, second.platform) == ("T022-045677-IW1", "S1A")


def test_a_dry_run_asks_for_sizes_alone(site, tmp_path):
    stated = items(site, "a")
    stated[0].assets["blue"].extra_fields["file:size"] = 123
    plans = plan_scenes(choose_assets(stated, Choice(), tmp_path), client())
    assert [(p.status, p.size) for _, p in plans] == [
        ("to fetch", 123), ("to fetch", len(FILES["B11"])), ("to fetch", len(FILES["SCL"])),
    ]  # fmt: skip
    assert {asked.method for asked in site.asked} == {"HEAD"}
    assert not list(tmp_path.iterdir())


# --- interrupted, refused, lied to ------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(20))
def test_interrupted_at_a_random_point_the_same_command_goes_on(site, tmp_path, seed):
    whole = sum(len(data) for data in FILES.values()) * 2
    point = int(np.random.default_rng(seed).integers(1, whole))
    arrived = 0

    def stop(count: int) -> None:
        nonlocal arrived
        arrived += count
        if arrived >= point:
            raise KeyboardInterrupt

    assets = choose_assets(items(site), Choice(), tmp_path)
    with pytest.raises(KeyboardInterrupt):
        fetch_scenes(assets, tmp_path, client(), workers=1, progress=stop)
    assert not (tmp_path / "items.json").exists()
    came: list[int] = []
    fetch_scenes(assets, tmp_path, client(), workers=1, progress=came.append)
    for scene in "ab":
        for band, key in KEYS.items():
            assert (tmp_path / scene / f"{key}.tif").read_bytes() == FILES[band]
    # What had arrived is not sent again.
    assert sum(came) == whole - arrived
    assert not list(tmp_path.rglob("*.part*"))


def test_hung_up_on_at_twenty_random_points_within_one_run(site, tmp_path):
    data = FILES["B02"]
    points = np.sort(np.random.default_rng(4).choice(np.arange(4096, len(data)), 20, replace=False))
    site.mishaps += [hang_up_after(int(step)) for step in np.diff(points, prepend=0)]
    fetch(site, tmp_path, bands=("B02",), found=items(site, "a"))
    assert (tmp_path / "a/blue.tif").read_bytes() == data
    starts = [int(a.headers.get("Range", "bytes=0-")[6:-1]) for a in site.gets()]
    assert starts == [0, *points.tolist()]


def test_busy_servers_are_waited_for(site, tmp_path):
    clock = Clock()
    site.mishaps += [status(429, Retry_After="9"), status(503), status(503)]
    fetch(site, tmp_path, client(clock))
    assert clock.waits == [9.0, 2.0, 4.0]
    assert (tmp_path / "b/scl.tif").read_bytes() == FILES["SCL"]


@pytest.mark.parametrize(
    ("mishap", "asset", "words"),
    [
        (body_of(PAGE), {}, "blue.tif: the server sends an HTML page in place of a GeoTIFF file"),
        (body_of(FILES["B02"][:-5000]), {}, "blue.tif: the file is truncated"),
        (body_of(FILES["SCL"]), {"file:size": len(FILES["B02"])}, "blue.tif: the server offers .* the list says"),
        (None, {"file:checksum": multihash(b"else")}, "blue.tif: its sha256 is .*, and should be"),
        (None, {"file:checksum": f"d50110{hashlib.md5(b'else').hexdigest()}"}, "blue.tif: its md5 is"),
    ],
)
def test_what_is_not_the_file_is_found_out_and_not_kept(site, tmp_path, mishap, asset, words):
    if mishap is not None:
        site.mishaps += [mishap] * 3
    with pytest.raises(WrongContentError, match=words) as caught:
        fetch(site, tmp_path, client(attempts=2), found=items(site, "a", **asset), bands=("B02",))
    assert "--base-url" not in caught.value.remedy
    assert not list(tmp_path.rglob("*.tif"))
    assert not (tmp_path / "items.json").exists()


def test_right_checksums_of_both_kinds_pass(site, tmp_path):
    found = items(site, "a")
    found[0].assets["blue"].extra_fields["file:checksum"] = multihash(FILES["B02"])
    found[0].assets["scl"].extra_fields["file:checksum"] = f"d50110{hashlib.md5(FILES['SCL']).hexdigest()}"
    found[0].assets["swir16"].extra_fields["file:checksum"] = "90e4021044656c656c"
    assert {f.status for _, f in fetch(site, tmp_path, found=found)} == {"fetched"}


def test_a_body_cut_short_is_taken_up(site, tmp_path):
    site.mishaps += [hang_up_after(20_000)]
    fetch(site, tmp_path)
    assert (tmp_path / "a/blue.tif").read_bytes() == FILES["B02"]


def test_a_cut_jpeg_2000_is_found_out(site, tmp_path):
    from s2product import write_jp2

    write_jp2(tmp_path / "b.jp2", np.arange(10000, dtype="uint16").reshape(100, 100), 10)
    whole = (tmp_path / "b.jp2").read_bytes()
    one = items(site, "a")[0]
    one.assets = {"blue": pystac.Asset(site.url("/b.jp2"), media_type="image/jp2", roles=["data"])}
    site.files["/b.jp2"] = whole[:-100]
    with pytest.raises(WrongContentError, match=r"blue\.jp2: the file is truncated"):
        fetch(site, tmp_path / "out", found=[one])
    site.files["/b.jp2"] = whole
    fetch(site, tmp_path / "out", found=[one])
    assert (tmp_path / "out/a/blue.jp2").read_bytes() == whole


# --- signatures and tokens --------------------------------------------------------------------------------------------


def signed(site: Site, expiry: str = "2023-08-20T10:00:00Z") -> tuple[Web, list[float]]:
    """A client whose signatures come from the site, and its clock."""
    now = [1692520000.0]  # 2023-08-20 08:26:40 UTC
    site.dynamic["/token/acc/data"] = lambda method, query, body: json.dumps(
        {"token": f"se=1&sig={SECRET}", "msft:expiry": expiry}
    ).encode()
    web = client()
    web.sign = BlobSigner(web, site.url("/token"), {site.base.removeprefix("http://"): "acc"}, lambda: now[0])
    return web, now


def test_signatures_are_asked_for_once_and_reach_no_file_and_no_message(site, tmp_path, caplog, capsys):
    web, now = signed(site)
    with caplog.at_level(logging.DEBUG):
        fetch(site, tmp_path, web)
    tokens = [asked for asked in site.asked if asked.path.startswith("/token")]
    assert len(tokens) == 1
    data = [asked.path for asked in site.asked if asked.path.startswith("/data")]
    assert data
    assert all(path.endswith(f"?se=1&sig={SECRET}") for path in data)
    shown = capsys.readouterr()
    texts = [caplog.text, shown.out, shown.err, *(v.decode("latin-1") for v in everything(tmp_path).values())]
    assert not any(SECRET in text for text in texts)
    # Five minutes before the end another one is asked for.
    now[0] = 1692525600.0 - 299
    (tmp_path / "b/scl.tif").unlink()
    fetch(site, tmp_path, web)
    assert len([asked for asked in site.asked if asked.path.startswith("/token")]) == 2
    site.files["/data/a/B02.tif"] = b""
    site.mishaps += [status(403)]
    (tmp_path / "a/blue.tif").unlink()
    with pytest.raises(InputError, match="may not be read") as caught:
        fetch(site, tmp_path, web)
    assert SECRET not in f"{caught.value.problem}{caught.value.remedy}"


def test_only_blobs_without_a_signature_are_signed(site):
    web, _ = signed(site)
    sign = BlobSigner(web, site.url("/token"))
    for url in (
        "https://a.blob.core.windows.net/data/x.tif?sig=1",
        "https://a.blob.core.windows.net.evil.org/data/x.tif",
        "https://evil.org/a.blob.core.windows.net/x.tif",
        "https://a.blob.core.windows.net/",
    ):
        assert sign(url) == url
    assert not site.asked
    assert sign("https://acc.blob.core.windows.net/data/x.tif").endswith(f"?se=1&sig={SECRET}")
    site.dynamic["/token/acc/data"] = lambda method, query, body: PAGE
    with pytest.raises(InputError, match="/token/acc/data gives no signature"):
        BlobSigner(web, site.url("/token"))("https://acc.blob.core.windows.net/data/x.tif")


def test_a_subscription_key_goes_to_the_service_alone(site, tmp_path, monkeypatch):
    monkeypatch.setenv("PC_SDK_SUBSCRIPTION_KEY", SECRET)
    web, _ = signed(site)
    fetch(site, tmp_path, web)
    holders = {asked.path.split("?")[0] for asked in site.asked if SECRET in asked.headers.values()}
    assert holders == {"/token/acc/data"}


def test_a_token_of_the_host(site, tmp_path, monkeypatch, caplog):
    site.mishaps += [status(401)]
    with pytest.raises(InputError, match="status 401") as caught:
        fetch(site, tmp_path)
    assert caught.value.remedy == "set a token in LC_FETCH_TOKEN_127_0_0_1"
    monkeypatch.setenv("LC_FETCH_TOKEN_127_0_0_1", SECRET)
    fetch(site, tmp_path)
    assert site.asked[-1].headers["Authorization"] == f"Bearer {SECRET}"
    assert SECRET not in caplog.text
    assert not any(SECRET in data.decode("latin-1") for data in everything(tmp_path).values())


def test_an_address_signed_in_the_list_itself(site, tmp_path):
    found = items(site, "a")
    for asset in found[0].assets.values():
        asset.href += f"?sig={SECRET}"
    found[0].assets.pop("blue-jp2")
    fetch(site, tmp_path, found=found)
    assert all(SECRET in asked.path for asked in site.asked)
    assert not any(SECRET in data.decode("latin-1") for data in everything(tmp_path).values())

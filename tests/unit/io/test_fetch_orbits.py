"""Orbit files: chosen from a bucket's list or a tree of pages as from a folder, and checked when they arrive."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
from loopback import PAGE, Site, send, serve, stay_on_loopback
from typer.testing import CliRunner

from landcover_cli.cli.app import app
from landcover_cli.errors import InputError, UsageError
from landcover_cli.io.eof import find_orbit
from landcover_cli.io.fetch_orbits import acquisition_of, choose_orbits
from landcover_cli.io.web import Web, WebSettings

PRODUCT = "S1A_IW_GRDH_1SDV_20210119T031653_20210119T031718_036201_043ED0_F4F6"
OLD = "S1A_OPER_AUX_POEORB_OPOD_20210208T121957_V20210118T225942_20210120T005942.EOF"
NEW = "S1A_OPER_AUX_POEORB_OPOD_20230101T000000_V20210118T225942_20210120T005942.EOF"
OTHER = "S1B_OPER_AUX_POEORB_OPOD_20230101T000000_V20210118T225942_20210120T005942.EOF"
QUICK = "S1A_OPER_AUX_RESORB_OPOD_20210119T064427_V20210119T025044_20210119T060814.EOF"
LATE = "S1A_OPER_AUX_RESORB_OPOD_20210119T082234_V20210119T042921_20210119T074651.EOF"


def eof(name: str, mission: str = "Sentinel-1A", first: str = "", last: str = "") -> bytes:
    """An orbit file with a vector every ten seconds around the acquisition."""
    start = np.datetime64(first or "2021-01-19T03:10:00")
    stop = np.datetime64(last or "2021-01-19T03:25:00")
    vectors = "".join(
        f"<OSV><UTC>UTC={time}.000000</UTC><X>7000000</X><Y>{i}</Y><Z>0</Z><VX>0</VX><VY>7500</VY><VZ>0</VZ></OSV>"
        for i, time in enumerate(np.arange(start, stop, np.timedelta64(10, "s")))
    )
    return (
        f'<?xml version="1.0" ?>\n<Earth_Explorer_File><Earth_Explorer_Header><Fixed_Header>'
        f"<File_Name>{name}</File_Name>"
        f"<Mission>{mission}</Mission></Fixed_Header><Variable_Header><Ref_Frame>EARTH_FIXED</Ref_Frame></Variable_Header>"
        f"</Earth_Explorer_Header><Data_Block><List_of_OSVs>{vectors}</List_of_OSVs></Data_Block></Earth_Explorer_File>"
    ).encode()


class Bucket:
    """Answers ListObjectsV2, two keys a page."""

    def __init__(self, site: Site) -> None:
        self.site, self.keys = site, {}
        site.mishaps = _Always(self.answer)  # type: ignore[assignment]

    def put(self, *names: str, **more: bytes) -> None:
        for name in names:
            kind = "POEORB" if "POEORB" in name else "RESORB"
            self.keys[f"AUX_{kind}/{name}"] = more.get("data") or eof(name)
        self.site.files = {f"/{key}": data for key, data in self.keys.items()}

    def answer(self, handler: object, body: bytes) -> bool:
        query = parse_qs(urlsplit(handler.path).query)  # type: ignore[attr-defined]
        if "list-type" not in query:
            return False
        keys = sorted(key for key in self.keys if key.startswith(query["prefix"][0]))
        at = int(query.get("continuation-token", ["0"])[0])
        items = "".join(
            f"<Contents><Key>{key}</Key><ETag>&quot;{hashlib.md5(self.keys[key]).hexdigest()}&quot;</ETag>"
            f"<Size>{len(self.keys[key])}</Size></Contents>"
            for key in keys[at : at + 2]
        )
        more = at + 2 < len(keys)
        text = (
            '<?xml version="1.0" encoding="UTF-8"?>\n<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
            f"<IsTruncated>{str(more).lower()}</IsTruncated>{items}"
            + (f"<NextContinuationToken>{at + 2}</NextContinuationToken>" if more else "")
            + "</ListBucketResult>"
        )
        send(handler, 200, text.encode())  # type: ignore[arg-type]
        return True


class _Always(list):
    def __init__(self, answer: object) -> None:
        super().__init__([answer])

    def pop(self, index: int = -1) -> object:
        return self[0]


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    stay_on_loopback(monkeypatch)
    with serve() as found:
        yield found


@pytest.fixture
def bucket(site: Site) -> Bucket:
    return Bucket(site)


def client() -> Web:
    return Web(WebSettings(attempts=2, sleep=lambda seconds: None, timeout_s=10.0))


def chosen(bucket: Bucket, **more: object) -> list[str]:
    offers = choose_orbits([acquisition_of(PRODUCT)], client(), base_url=bucket.site.base, **more)  # type: ignore[arg-type]
    return [offer.file.path.name for offer in offers]


def lc(*args: object) -> str:
    result = CliRunner().invoke(app, ["fetch", "orbits", *map(str, args)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_the_bare_name_of_a_product_is_enough() -> None:
    for text in (PRODUCT, f"{PRODUCT}.SAFE", f"some/where/{PRODUCT}.zip", f"{PRODUCT}.SAFE/"):
        one = acquisition_of(text)
        assert (one.name, one.mission) == (PRODUCT, "S1A")
        assert one.start == np.datetime64("2021-01-19T03:16:53")
        assert one.stop == np.datetime64("2021-01-19T03:17:19")
    slc = acquisition_of("S1B_IW_SLC__1SSV_20190103T170131_20190103T170158_014340_01AAF2_A5E5")
    assert slc.mission == "S1B"
    with pytest.raises(InputError):
        acquisition_of("S2A_MSIL1C_20210119")
    with pytest.raises(InputError, match="is no time"):
        acquisition_of(PRODUCT.replace("20210119T031653", "20211319T031653"))


def test_a_product_that_is_there_is_opened(tmp_path: Path) -> None:
    from s1product import write_product

    product = write_product(tmp_path)
    one = acquisition_of(str(product))
    assert one.name == product.name.removesuffix(".SAFE")
    assert one.stop > one.start


def test_precise_before_restituted_and_new_before_old_over_all_pages(bucket: Bucket) -> None:
    bucket.put(QUICK, LATE)
    assert chosen(bucket) == [QUICK]
    bucket.put(OLD, OTHER)
    assert chosen(bucket) == [OLD]
    bucket.put(NEW, *(OLD.replace("20210208T12", f"20210208T0{n}") for n in range(6)))
    assert chosen(bucket) == [NEW]
    assert chosen(bucket, kinds=("RESORB",)) == [QUICK]
    prefixes = {parse_qs(urlsplit(a.path).query)["prefix"][0] for a in bucket.site.asked}
    assert prefixes == {
        "AUX_POEORB/S1A_OPER_AUX_POEORB_OPOD_",
        "AUX_RESORB/S1A_OPER_AUX_RESORB_OPOD_20210119",
        "AUX_RESORB/S1A_OPER_AUX_RESORB_OPOD_20210120",
    }


def test_none_that_fits_is_told(bucket: Bucket) -> None:
    bucket.put(OTHER, LATE)
    with pytest.raises(InputError, match="none of 1 POEORB and RESORB files listed covers S1A") as caught:
        chosen(bucket)
    assert "hours" in caught.value.remedy


def test_fetched_orbits_are_what_the_chain_reads(bucket: Bucket, tmp_path: Path) -> None:
    bucket.put(OLD, NEW, QUICK)
    out = tmp_path / "orbits"
    plan = json.loads(lc(PRODUCT, "--out", out, "--base-url", bucket.site.base, "--dry-run", "--json"))
    assert plan["files"] == [{"name": NEW, "status": "to fetch", "size": len(eof(NEW))}]
    assert not out.exists()
    assert "fetched" in lc(PRODUCT, PRODUCT, "--out", out, "--base-url", bucket.site.base)
    one = acquisition_of(PRODUCT)
    found = find_orbit(out, mission="S1A", start=one.start, stop=one.stop, epoch=one.start)
    assert found.source == NEW
    assert "present" in lc(PRODUCT, "--out", out, "--base-url", bucket.site.base)
    assert sorted(p.name for p in out.iterdir()) == [NEW, "lc-fetch.json"]


def test_what_is_no_orbit_of_the_product_is_refused(bucket: Bucket, tmp_path: Path) -> None:
    bucket.put(NEW)
    key = f"AUX_POEORB/{NEW}"
    args = [PRODUCT, "--out", tmp_path / "o", "--base-url", bucket.site.base]
    for data, message in (
        (eof(NEW, "Sentinel-1B"), f"^{NEW}: orbit of Sentinel-1B"),
        (eof(NEW, last="2021-01-19T03:17:00"), f"^{NEW}: state vectors"),
        (eof(NEW)[:-30], "not well-formed"),
        (PAGE, "HTML page in place of an XML file"),
    ):
        bucket.keys[key] = bucket.site.files[f"/{key}"] = data
        with pytest.raises(InputError, match=message):
            lc(*args)
        assert not list((tmp_path / "o").glob("*"))
    bucket.keys[key] = eof(NEW)
    bucket.site.files[f"/{key}"] = eof(NEW).replace(b"7500", b"7501")
    with pytest.raises(InputError, match="its md5 is"):
        lc(*args)
    bucket.site.files[f"/{key}"] = eof(NEW) + b" "
    with pytest.raises(InputError, match="the list says"):
        lc(*args)


def test_a_tree_of_pages_with_zips(site: Site, tmp_path: Path) -> None:
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(NEW, eof(NEW))
    base = "/orbits/POEORB/S1A/2021/01/"
    site.files[f"{base}{NEW}.zip"] = buffer.getvalue()
    site.files[base] = (
        f'<html><body><a href="../">up</a> <a href="{NEW}.zip">x</a>'
        f"<a href='http://127.0.0.1:1/{OTHER}'>y</a></body></html>"
    ).encode()
    out = tmp_path / "o"
    lc(PRODUCT, "--out", out, "--base-url", site.url("/orbits/"), "--layout", "folders")
    one = acquisition_of(PRODUCT)
    assert find_orbit(out, mission="S1A", start=one.start, stop=one.stop, epoch=one.start).source == NEW
    # The first of a month may lie in a file that begins on the day before.
    site.asked.clear()
    with pytest.raises(InputError, match="none of 2 POEORB files"):
        lc(PRODUCT.replace("20210119", "20210201"), "--out", out, "--base-url", site.url("/orbits"),
           "--layout", "folders", "--kind", "poeorb")  # fmt: skip
    assert {a.path for a in site.asked} == {"/orbits/POEORB/S1A/2021/01/", "/orbits/POEORB/S1A/2021/02/"}


def test_bad_usage_and_pages_that_are_no_list(site: Site, tmp_path: Path) -> None:
    args = [PRODUCT, "--out", tmp_path, "--base-url", site.base]
    with pytest.raises(UsageError, match="--kind 'best'"):
        lc(*args, "--kind", "best")
    with pytest.raises(UsageError, match="--layout 'ftp'"):
        lc(*args, "--layout", "ftp")
    with pytest.raises(UsageError, match="of which server"):
        lc(PRODUCT, "--out", tmp_path, "--layout", "folders")
    site.mishaps = _Always(lambda handler, body: send(handler, 200, PAGE) is None)  # type: ignore[assignment]
    with pytest.raises(InputError, match="sends no list of a bucket"):
        lc(*args)

"""Downloads from a server on loopback: interrupted, refused, slowed down, and lied to."""

from __future__ import annotations

import hashlib
import logging
import os
import signal
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from loopback import PAGE, Site, body_of, hang_up_after, send, serve, status, stay_on_loopback

from landcover_cli.errors import InputError, StorageError, UsageError
from landcover_cli.io.download import fetch_all, fetch_one, plan_all
from landcover_cli.io.downloadcheck import Remote, WrongContentError
from landcover_cli.io.fetchrecord import read_checksums, read_record, write_record
from landcover_cli.io.partfile import PartFile
from landcover_cli.io.web import (
    NotThereError,
    Web,
    WebSettings,
    check_base_url,
    public_url,
    retry_after_s,
    token_variable,
)

# A header whose first directory is empty, and bytes that nobody looks into.
HEADER = b"II*\0\x08\0\0\0\0\0\0\0\0\0"
TIFF = HEADER + np.random.default_rng(3).bytes(2_000_000)
SECRET = "s3cr3t-t0ken-9f8e"


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    stay_on_loopback(monkeypatch)
    with serve() as found:
        found.files["/a.tif"] = TIFF
        yield found


class Clock:
    """Remembers the waits instead of waiting."""

    def __init__(self) -> None:
        self.waits: list[float] = []

    def __call__(self, seconds: float) -> None:
        self.waits.append(seconds)


def client(clock: Clock | None = None, base: str | None = None, **more: float) -> Web:
    return Web(WebSettings(sleep=clock or Clock(), timeout_s=10.0, **more), base)  # type: ignore[arg-type]


def remote(site: Site, folder: Path, **more: object) -> Remote:
    return Remote(site.url("/a.tif"), folder / "a.tif", "GeoTIFF", **more)  # type: ignore[arg-type]


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def left(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


# --- whole and resumed ------------------------------------------------------------------------------------------------


def test_a_file_arrives_whole_and_is_not_asked_for_twice(site: Site, tmp_path: Path) -> None:
    counts: list[int] = []
    got = fetch_one(remote(site, tmp_path / "new" / "dir"), client(), counts.append)
    assert (tmp_path / "new" / "dir" / "a.tif").read_bytes() == TIFF
    assert (got.status, got.size, got.sha256) == ("fetched", len(TIFF), sha256(TIFF))
    assert sum(counts) == len(TIFF)
    assert left(tmp_path / "new" / "dir") == ["a.tif"]
    asked = len(site.asked)
    assert fetch_one(remote(site, tmp_path / "new" / "dir"), client()).status == "present"
    assert len(site.asked) == asked


def test_hung_up_on_at_twenty_random_points_it_goes_on_from_there(site: Site, tmp_path: Path) -> None:
    points = np.sort(np.random.default_rng(11).choice(np.arange(1, len(TIFF)), 20, replace=False))
    points[0] = max(points[0], 4096)
    site.mishaps += [hang_up_after(int(step)) for step in np.diff(points, prepend=0)]
    got = fetch_one(remote(site, tmp_path), client())
    assert (tmp_path / "a.tif").read_bytes() == TIFF
    assert got.sha256 == sha256(TIFF)
    starts = [int(a.headers.get("Range", "bytes=0-")[6:-1]) for a in site.gets()]
    # Every request begins exactly where the one before it was cut: no byte is sent twice.
    assert starts == [0, *points.tolist()]


@pytest.mark.parametrize("seed", range(20))
def test_a_run_that_dies_at_a_random_point_is_taken_up_by_the_next(site: Site, tmp_path: Path, seed: int) -> None:
    point = int(np.random.default_rng(seed).integers(1, len(TIFF)))
    site.mishaps += [hang_up_after(point)]
    with pytest.raises(InputError, match="body is truncated"):
        fetch_one(remote(site, tmp_path), client(attempts=1))
    assert not (tmp_path / "a.tif").exists()
    kept = point if point >= 512 else 0
    assert left(tmp_path) == ([".a.tif.part", ".a.tif.part.json"] if kept else [])
    (plan,) = plan_all([remote(site, tmp_path)], client())
    assert (plan.status, plan.size) == ("to fetch", len(TIFF) - kept)
    fetch_one(remote(site, tmp_path), client())
    assert (tmp_path / "a.tif").read_bytes() == TIFF
    tag = f'"{hashlib.md5(TIFF).hexdigest()}"'
    headers = site.gets()[-1].headers
    assert (headers.get("Range"), headers.get("If-Range")) == ((f"bytes={point}-", tag) if kept else (None, None))
    assert left(tmp_path) == ["a.tif"]


def test_a_killed_process_leaves_what_the_next_one_goes_on_from(site: Site, tmp_path: Path) -> None:
    def trickle(handler: object, body: bytes) -> bool:
        handler.send_response(200)  # type: ignore[attr-defined]
        for name, value in {"Content-Length": len(body), "ETag": f'"{hashlib.md5(body).hexdigest()}"'}.items():
            handler.send_header(name, str(value))  # type: ignore[attr-defined]
        handler.end_headers()  # type: ignore[attr-defined]
        try:
            for at in range(0, len(body), 20_000):
                handler.wfile.write(body[at : at + 20_000])  # type: ignore[attr-defined]
                time.sleep(0.02)
        except OSError:
            handler.close_connection = True  # type: ignore[attr-defined]
        return True

    site.mishaps.append(trickle)
    code = (
        "import sys; from pathlib import Path; from landcover_cli.io.download import *; "
        "from landcover_cli.io.downloadcheck import Remote; from landcover_cli.io.web import Web; "
        "fetch_all([Remote(sys.argv[1], Path(sys.argv[2]), 'GeoTIFF')], Web())"
    )
    root = Path(__file__).resolve().parents[3]
    process = subprocess.Popen(
        [sys.executable, "-c", code, site.url("/a.tif"), str(tmp_path / "a.tif")],
        env={**os.environ, "PYTHONPATH": str(root)},
    )
    part = tmp_path / ".a.tif.part"
    for _ in range(2000):
        if part.exists() and part.stat().st_size > 200_000:
            break
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept = part.stat().st_size
    assert 200_000 < kept < len(TIFF)
    assert TIFF.startswith(part.read_bytes())
    fetch_one(remote(site, tmp_path), client())
    assert (tmp_path / "a.tif").read_bytes() == TIFF
    assert site.gets()[-1].headers["Range"] == f"bytes={kept}-"


def test_a_file_that_changed_meanwhile_is_begun_again(site: Site, tmp_path: Path) -> None:
    site.mishaps.append(hang_up_after(900_000))
    with pytest.raises(InputError):
        fetch_one(remote(site, tmp_path), client(attempts=1))
    site.files["/a.tif"] = new = HEADER + bytes(reversed(TIFF[14:]))
    fetch_one(remote(site, tmp_path), client())
    assert (tmp_path / "a.tif").read_bytes() == new


def test_without_a_tag_or_a_checksum_nothing_is_pieced_together(site: Site, tmp_path: Path) -> None:
    site.etags = False

    def cut(handler: object, body: bytes) -> bool:
        send(handler, 200, body, cut=900_000)  # type: ignore[arg-type]
        return True

    site.mishaps.append(cut)
    fetch_one(remote(site, tmp_path), client())
    assert [a.headers.get("Range") for a in site.gets()] == [None, None]
    assert (tmp_path / "a.tif").read_bytes() == TIFF
    (tmp_path / "a.tif").unlink()
    site.asked.clear()
    site.mishaps.append(cut)
    fetch_one(remote(site, tmp_path, checksum=f"sha256:{sha256(TIFF)}"), client())
    assert [a.headers.get("Range") for a in site.gets()] == [None, "bytes=900000-"]


def test_a_server_without_ranges_sends_it_all_again(site: Site, tmp_path: Path) -> None:
    site.ranges = False
    site.mishaps.append(hang_up_after(900_000))
    fetch_one(remote(site, tmp_path), client())
    assert (tmp_path / "a.tif").read_bytes() == TIFF


def test_a_part_that_is_whole_already_only_has_to_be_checked(site: Site, tmp_path: Path) -> None:
    with PartFile(tmp_path / "a.tif", site.url("/a.tif")) as part:
        part.restart(len(TIFF), '"x"')
        part.write(TIFF)
    fetch_one(remote(site, tmp_path), client())
    assert site.asked == []
    assert (tmp_path / "a.tif").read_bytes() == TIFF


def test_a_part_of_another_place_or_that_is_too_long_is_not_used(site: Site, tmp_path: Path) -> None:
    for source, data in ((site.url("/b.tif"), TIFF[:5000]), (site.url("/a.tif"), TIFF + b"more")):
        with PartFile(tmp_path / "a.tif", source) as part:
            part.restart(len(TIFF), f'"{hashlib.md5(TIFF).hexdigest()}"')
            part.write(data)
        fetch_one(remote(site, tmp_path), client())
        assert (tmp_path / "a.tif").read_bytes() == TIFF
        assert site.gets()[-1].headers.get("Range") is None
        (tmp_path / "a.tif").unlink()


def test_a_wrong_answer_to_a_range_is_not_pasted(site: Site, tmp_path: Path) -> None:
    def shifted(handler: object, body: bytes) -> bool:
        send(handler, 206, body[10:], Content_Range=f"bytes 10-{len(body) - 1}/{len(body)}")  # type: ignore[arg-type]
        return True

    site.mishaps += [hang_up_after(900_000), shifted]
    fetch_one(remote(site, tmp_path), client())
    assert (tmp_path / "a.tif").read_bytes() == TIFF


def test_two_processes_do_not_write_one_part(site: Site, tmp_path: Path) -> None:
    with PartFile(tmp_path / "a.tif", site.url("/a.tif")), pytest.raises(InputError, match="another process"):
        fetch_one(remote(site, tmp_path), client())
    fetch_one(remote(site, tmp_path), client())


# --- busy servers -----------------------------------------------------------------------------------------------------


def test_busy_servers_are_asked_again_ever_later(site: Site, tmp_path: Path) -> None:
    clock = Clock()
    site.mishaps += [status(429), status(503), status(502), status(500)]
    fetch_one(remote(site, tmp_path), client(clock))
    assert clock.waits == [1.0, 2.0, 4.0, 8.0]
    assert (tmp_path / "a.tif").read_bytes() == TIFF


def test_retry_after_is_kept_as_seconds_and_as_a_date(site: Site, tmp_path: Path) -> None:
    clock = Clock()
    site.mishaps += [status(429, Retry_After="7"), status(503, Retry_After="Wed, 21 Oct 2015 07:28:00 GMT")]
    fetch_one(remote(site, tmp_path), client(clock))
    assert clock.waits == [7.0, 0.0]
    assert retry_after_s("Wed, 21 Oct 2015 07:28:00 GMT", 1445412450.0) == 30.0
    assert [retry_after_s(text) for text in (None, "", "soon", "12")] == [None, None, None, 12.0]


def test_enough_is_enough(site: Site, tmp_path: Path) -> None:
    site.mishaps += [status(503)] * 6
    with pytest.raises(InputError, match=r"a\.tif: the server answers 503 \(attempt 6 of 6\)") as caught:
        fetch_one(remote(site, tmp_path), client())
    assert "same command again" in caught.value.remedy
    site.mishaps[:] = [status(429, Retry_After="3600")]
    with pytest.raises(InputError, match="asks to come back in 3,600 s"):
        fetch_one(remote(site, tmp_path), client())
    assert left(tmp_path) == []


def test_lost_connections_and_closed_ports_are_tried_again(site: Site, tmp_path: Path) -> None:
    def drop(handler: object, body: bytes) -> bool:
        handler.close_connection = True  # type: ignore[attr-defined]
        return True

    clock = Clock()
    site.mishaps += [drop, drop]
    fetch_one(remote(site, tmp_path), client(clock))
    assert clock.waits == [1.0, 2.0]
    with serve() as other:
        gone = other.url("/a.tif")
    with pytest.raises(InputError, match=r"the server is not reached \(.*refused\)"):
        fetch_one(Remote(gone, tmp_path / "b.tif", "GeoTIFF"), client(attempts=2))


def test_a_truncating_server_does_not_go_on_for_ever(site: Site, tmp_path: Path) -> None:
    site.ranges = False

    def cut(handler: object, body: bytes) -> bool:
        send(handler, 200, body, cut=700_000)  # type: ignore[arg-type]
        return True

    site.mishaps += [cut] * 50
    with pytest.raises(InputError, match="the body is truncated: 700,000 of 2,000,014 bytes"):
        fetch_one(remote(site, tmp_path), client())
    # The first brought something new and counts as one of six all the same.
    assert len(site.gets()) == 6
    assert not (tmp_path / "a.tif").exists()


# --- wrong content ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["GeoTIFF", "zip", "XML", "data"])
def test_a_page_in_place_of_a_file_is_told_and_leaves_nothing(site: Site, tmp_path: Path, kind: str) -> None:
    site.mishaps.append(body_of(PAGE, Content_Type="text/html"))
    with pytest.raises(WrongContentError, match="HTML page in place of"):
        fetch_one(Remote(site.url("/a.tif"), tmp_path / "a.tif", kind), client())  # type: ignore[arg-type]
    site.mishaps.append(body_of(b'<?xml version="1.0"?>\n<!DOCTYPE html>\n<html xmlns="x"></html>'))
    with pytest.raises(WrongContentError, match="HTML page in place of"):
        fetch_one(Remote(site.url("/a.tif"), tmp_path / "a.tif", kind), client())  # type: ignore[arg-type]
    assert left(tmp_path) == []


def test_a_page_on_the_way_costs_nothing_of_what_has_arrived(site: Site, tmp_path: Path) -> None:
    site.mishaps += [hang_up_after(900_000), body_of(PAGE)]
    with pytest.raises(WrongContentError, match="HTML page"):
        fetch_one(remote(site, tmp_path), client())
    site.mishaps += [status(403)]
    with pytest.raises(InputError, match="may not be read"):
        fetch_one(remote(site, tmp_path), client())
    fetch_one(remote(site, tmp_path), client())
    assert site.gets()[-1].headers["Range"] == "bytes=900000-"
    assert (tmp_path / "a.tif").read_bytes() == TIFF


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"GIF89a" + bytes(600), "is not a GeoTIFF file"), (b"", "empty file"), (b"II", "is not a GeoTIFF file")],
)
def test_other_types_and_empty_files_are_told(site: Site, tmp_path: Path, content: bytes, message: str) -> None:
    site.files["/a.tif"] = content
    with pytest.raises(WrongContentError, match=message):
        fetch_one(remote(site, tmp_path), client())
    assert left(tmp_path) == []


def test_a_wrong_checksum_or_length_leaves_nothing(site: Site, tmp_path: Path) -> None:
    for method, good in (("sha256", sha256(TIFF)), ("md5", hashlib.md5(TIFF).hexdigest())):
        with pytest.raises(WrongContentError, match=f"its {method} is {good}, and should be 0000"):
            fetch_one(remote(site, tmp_path, checksum=f"{method}:{'0' * len(good)}"), client())
        assert left(tmp_path) == []
    with pytest.raises(WrongContentError, match="offers 2,000,014 bytes, the list says 5"):
        fetch_one(remote(site, tmp_path, size=5), client())
    assert left(tmp_path) == []
    fetch_one(remote(site, tmp_path, checksum=f"md5:{hashlib.md5(TIFF).hexdigest().upper()}", size=len(TIFF)), client())


def test_pieces_that_do_not_fit_are_fetched_again_in_one_go(site: Site, tmp_path: Path) -> None:
    # The server's tag says that the file is the same, and it is not.
    with PartFile(tmp_path / "a.tif", site.url("/a.tif")) as part:
        part.restart(len(TIFF), f'"{hashlib.md5(TIFF).hexdigest()}"')
        part.write(HEADER + bytes(500_000))
    fetch_one(remote(site, tmp_path, checksum=f"sha256:{sha256(TIFF)}"), client())
    assert (tmp_path / "a.tif").read_bytes() == TIFF
    assert [a.headers.get("Range") for a in site.gets()] == ["bytes=500014-", None]


def test_a_target_that_is_there_but_wrong_is_replaced(site: Site, tmp_path: Path) -> None:
    for wrong, more in (
        (b"", {}),
        (PAGE, {}),
        (TIFF[:-1], {"size": len(TIFF)}),
        (TIFF[:-1], {"checksum": f"sha256:{sha256(TIFF)}"}),
    ):
        (tmp_path / "a.tif").write_bytes(wrong)
        assert fetch_one(remote(site, tmp_path, **more), client()).status == "fetched"
        assert (tmp_path / "a.tif").read_bytes() == TIFF


def test_a_body_whose_end_nobody_knows_is_refused_unless_a_checksum_does(site: Site, tmp_path: Path) -> None:
    def endless(handler: object, body: bytes) -> bool:
        handler.send_response(200)  # type: ignore[attr-defined]
        handler.end_headers()  # type: ignore[attr-defined]
        handler.wfile.write(body)  # type: ignore[attr-defined]
        handler.close_connection = True  # type: ignore[attr-defined]
        return True

    site.mishaps += [endless, endless]
    with pytest.raises(InputError, match="does not say how long it is"):
        fetch_one(remote(site, tmp_path), client())
    fetch_one(remote(site, tmp_path, checksum=f"sha256:{sha256(TIFF)}"), client())
    assert (tmp_path / "a.tif").read_bytes() == TIFF


@pytest.mark.parametrize("whole", [True, False])
def test_a_chunked_body_says_itself_where_it_ends(site: Site, tmp_path: Path, whole: bool) -> None:
    def chunked(handler: object, body: bytes) -> bool:
        handler.send_response(200)  # type: ignore[attr-defined]
        handler.send_header("Transfer-Encoding", "chunked")  # type: ignore[attr-defined]
        handler.end_headers()  # type: ignore[attr-defined]
        for at in range(0, len(body), 300_000):
            piece = body[at : at + 300_000]
            handler.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))  # type: ignore[attr-defined]
            if at > 900_000 and not whole:
                handler.close_connection = True  # type: ignore[attr-defined]
                return True
        handler.wfile.write(b"0\r\n\r\n")  # type: ignore[attr-defined]
        return True

    site.mishaps.append(chunked)
    if whole:
        fetch_one(remote(site, tmp_path), client())
        assert (tmp_path / "a.tif").read_bytes() == TIFF
    else:
        with pytest.raises(InputError, match="the connection was lost"):
            fetch_one(remote(site, tmp_path), client(attempts=1))
        assert not (tmp_path / "a.tif").exists()


def test_an_encoded_body_is_refused(site: Site, tmp_path: Path) -> None:
    site.mishaps.append(body_of(TIFF, Content_Encoding="gzip"))
    with pytest.raises(InputError, match="sends it encoded"):
        fetch_one(remote(site, tmp_path), client())
    assert site.gets()[0].headers["Accept-Encoding"] == "identity"


def test_archives_are_unpacked_whole_or_not_at_all(site: Site, tmp_path: Path) -> None:
    def packed(**members: bytes) -> bytes:
        buffer = BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in members.items():
                archive.writestr(f"{name}.hgt", data)
        return buffer.getvalue()

    good = packed(a=b"heights" * 1000)
    job = Remote(site.url("/a.zip"), tmp_path / "a.hgt", "zip", unpack="zip", unpacked_limit=10_000)
    damaged = good[:40] + bytes([good[40] ^ 0xFF]) + good[41:]
    for content, message in (
        (damaged, "archive is damaged"),
        (packed(a=b"1", b=b"2"), "holds 2 .hgt files"),
        (packed(a=bytes(10_001)), "more than 10,000 bytes"),
        (b"PK\x03\x04" + bytes(700), "archive is damaged"),
    ):
        site.files["/a.zip"] = content
        with pytest.raises(WrongContentError, match=message):
            fetch_one(job, client())
        assert left(tmp_path) == []
    site.files["/a.zip"] = good
    fetch_one(job, client())
    assert (tmp_path / "a.hgt").read_bytes() == b"heights" * 1000
    assert left(tmp_path) == ["a.hgt"]


# --- tokens -----------------------------------------------------------------------------------------------------------


def test_the_token_goes_to_the_named_place_alone(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("LC_FETCH_TOKEN", SECRET)
    caplog.set_level(logging.DEBUG)
    fetch_one(remote(site, tmp_path / "no"), client())
    assert "Authorization" not in site.gets()[-1].headers
    site.mishaps.append(hang_up_after(900_000))
    with pytest.raises(InputError) as caught:
        fetch_one(
            Remote(site.url("/a.tif?X-Sig=" + SECRET), tmp_path / "a.tif", "GeoTIFF"),
            client(base=site.base, attempts=1),
        )
    assert site.gets()[-1].headers["Authorization"] == f"Bearer {SECRET}"
    texts = [str(caught.value), caplog.text, *left(tmp_path)]
    texts += [p.read_bytes().decode("latin-1") for p in tmp_path.glob(".*.json")]
    got = fetch_one(Remote(site.url("/a.tif?X-Sig=" + SECRET), tmp_path / "a.tif", "GeoTIFF"), client(base=site.base))
    write_record(tmp_path, [{"name": got.name, "source": got.source}])
    texts += [repr(got), (tmp_path / "lc-fetch.json").read_text(), repr(client(base=site.base))]
    assert len(texts) > 6
    assert all(SECRET not in text for text in texts)


def test_a_redirect_to_another_place_does_not_carry_the_token(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LC_FETCH_TOKEN", SECRET)
    with serve() as other:
        other.files["/b.tif"] = TIFF
        site.mishaps.append(status(302, Location=other.url("/b.tif?sig=1")))
        fetch_one(remote(site, tmp_path), client(base=site.base))
        assert site.gets()[-1].headers["Authorization"] == f"Bearer {SECRET}"
        assert "Authorization" not in other.gets()[-1].headers
        assert SECRET not in str(other.asked)
    (tmp_path / "a.tif").unlink()
    site.files["/c.tif"] = TIFF
    site.mishaps.append(status(307, Location="/c.tif"))
    fetch_one(remote(site, tmp_path), client(base=site.base))
    assert site.gets("/c.tif")[-1].headers["Authorization"] == f"Bearer {SECRET}"


def test_a_redirect_keeps_the_range_and_leads_to_http_only(site: Site, tmp_path: Path) -> None:
    with serve() as other:
        other.files["/b.tif"] = TIFF
        site.mishaps += [hang_up_after(900_000), status(302, Location=other.url("/b.tif"))]
        fetch_one(remote(site, tmp_path), client())
        assert other.gets()[-1].headers["Range"] == "bytes=900000-"
    for place in ("file:///etc/passwd", "ftp://127.0.0.1/a.tif"):
        site.mishaps.append(status(302, Location=place))
        with pytest.raises(InputError, match=r"redirects to an address that is not http|refused|answers"):
            fetch_one(Remote(site.url("/a.tif"), tmp_path / "z.tif", "GeoTIFF"), client())


def test_a_host_has_its_own_token(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert token_variable("e4ftl01.cr.example.gov") == "LC_FETCH_TOKEN_E4FTL01_CR_EXAMPLE_GOV"
    monkeypatch.setenv(token_variable("127.0.0.1"), "of-the-host")
    fetch_one(remote(site, tmp_path), client())
    assert site.gets()[-1].headers["Authorization"] == "Bearer of-the-host"


def test_tokens_that_cannot_be_sent_are_told_by_the_name_of_their_variable(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for value in (f"{SECRET}\r\nX-Other: 1", f"{SECRET} {SECRET}"):
        monkeypatch.setenv("LC_FETCH_TOKEN", value)
        with pytest.raises(UsageError, match="the token in LC_FETCH_TOKEN holds a space") as caught:
            fetch_one(remote(site, tmp_path), client(base=site.base))
        assert SECRET not in str(caught.value)
    monkeypatch.setenv("LC_FETCH_TOKEN", SECRET)
    with pytest.raises(UsageError, match=r"would travel unencrypted to http://mirror\.example") as caught:
        fetch_one(
            Remote("http://mirror.example/a.tif", tmp_path / "a.tif", "GeoTIFF"), client(base="http://mirror.example")
        )
    assert SECRET not in str(caught.value)
    assert site.asked == []


def test_refusals_name_the_variable_and_no_secret(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_FETCH_TOKEN", SECRET)
    for code in (401, 403):
        site.mishaps.append(status(code))
        with pytest.raises(InputError, match=rf"may not be read \(status {code}\)") as caught:
            fetch_one(remote(site, tmp_path), client(base=site.base))
        assert "LC_FETCH_TOKEN_127_0_0_1" in caught.value.remedy
        assert SECRET not in str(caught.value)
    with pytest.raises(NotThereError, match="does not exist"):
        fetch_one(Remote(site.url("/none.tif?sig=" + SECRET), tmp_path / "n.tif", "GeoTIFF"), client())
    assert left(tmp_path) == []


def test_base_urls(site: Site) -> None:
    assert check_base_url("https://a.example:8443/dem/") == "https://a.example:8443/dem"
    for wrong in ("ftp://a.example", "a.example/dem", "https://", "https://a.example:x/", "https://a b.example"):
        with pytest.raises(UsageError, match="no http or https URL"):
            check_base_url(wrong)
    for wrong in (f"https://me:{SECRET}@a.example/d", f"https://a.example/d?sig={SECRET}"):
        with pytest.raises(UsageError, match="carries a user name, a query") as caught:
            check_base_url(wrong)
        assert SECRET not in str(caught.value)
    assert public_url(f"https://me:{SECRET}@[::1]:8/d/x?sig={SECRET}#f") == "https://[::1]:8/d/x"


# --- several files ----------------------------------------------------------------------------------------------------


def test_several_files_come_a_few_at_a_time(site: Site, tmp_path: Path) -> None:
    now, most, lock = 0, 0, threading.Lock()

    def count(handler: object, body: bytes) -> bool:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        time.sleep(0.02)
        with lock:
            now -= 1
        return False

    jobs = []
    for number in range(12):
        site.files[f"/{number}.tif"] = HEADER + bytes([number]) * 5000
        jobs.append(Remote(site.url(f"/{number}.tif"), tmp_path / f"{number}.tif", "GeoTIFF"))
    site.mishaps += [count] * 12
    got = fetch_all(jobs, client(), workers=3)
    assert [g.name for g in got] == [f"{n}.tif" for n in range(12)]
    assert all((tmp_path / f"{n}.tif").read_bytes() == site.files[f"/{n}.tif"] for n in range(12))
    assert most == 3
    with pytest.raises(InputError, match="one target"):
        fetch_all([jobs[0], jobs[0]], client())


def test_a_failure_begins_no_further_file_and_absent_ones_may_be_answers(site: Site, tmp_path: Path) -> None:
    jobs = [Remote(site.url(f"/{n}.tif"), tmp_path / f"{n}.tif", "GeoTIFF") for n in range(30)]
    site.files |= {f"/{n}.tif": TIFF[:3000] for n in range(1, 30)}
    with pytest.raises(NotThereError, match=r"/0\.tif does not exist"):
        fetch_all(jobs, client(), workers=1)
    assert len(site.asked) == 1
    got = fetch_all(jobs, client(), absent_ok=True)
    assert [g.status for g in got] == ["absent"] + ["fetched"] * 29
    plans = plan_all(jobs, client(), absent_ok=True)
    assert [p.status for p in plans] == ["absent"] + ["present"] * 29


def test_planning_writes_nothing_and_works_without_head(site: Site, tmp_path: Path) -> None:
    (plan,) = plan_all([remote(site, tmp_path / "new")], client())
    assert (plan.status, plan.size) == ("to fetch", len(TIFF))
    assert not (tmp_path / "new").exists()
    assert site.gets() == []
    seen: list[str] = []

    class NoHead(Web):
        def open(self, url, *, method="GET", headers=None):  # type: ignore[no-untyped-def, override]
            seen.append(method)
            if method == "HEAD":
                raise InputError("403")
            return super().open(url, method=method, headers=headers)

    assert NoHead().size(site.url("/a.tif")) == len(TIFF)
    assert seen == ["HEAD", "GET"]


def test_a_folder_that_cannot_be_written_is_told(site: Site, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageError, match="is a file, not a folder"):
        fetch_one(remote(site, tmp_path / "file"), client())


def test_documents_are_read_whole_or_not_at_all(site: Site) -> None:
    site.files["/list"] = b"a\n" * 1000
    site.mishaps += [status(503), hang_up_after(100)]
    assert client().read(site.url("/list"), 5000) == b"a\n" * 1000
    with pytest.raises(InputError, match="longer than 100 bytes"):
        client().read(site.url("/list"), 100)


# --- lists and records ------------------------------------------------------------------------------------------------


def test_checksum_lists_and_records(tmp_path: Path) -> None:
    path = tmp_path / "sums"
    path.write_text(f"# made by sha256sum\n{'a' * 64}  dir/x.tif\n{'B' * 32} *y z.EOF\n\n")
    assert read_checksums(path) == {"x.tif": f"sha256:{'a' * 64}", "y z.EOF": f"md5:{'b' * 32}"}
    path.write_text("x.tif\n")
    with pytest.raises(InputError, match="line 1 is no checksum"):
        read_checksums(path)
    with pytest.raises(InputError, match="checksums"):
        read_checksums(tmp_path / "none")
    write_record(tmp_path, [{"name": "b", "size": 1}, {"name": "a", "size": 2}])
    first = (tmp_path / "lc-fetch.json").read_bytes()
    write_record(tmp_path, [{"name": "a", "size": 2}])
    assert (tmp_path / "lc-fetch.json").read_bytes() == first
    assert read_record(tmp_path) == ({"name": "a", "size": 2}, {"name": "b", "size": 1})

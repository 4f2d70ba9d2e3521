"""Orbit files for Sentinel-1 products: POEORB and RESORB from a public bucket, a mirror of it, or a tree of folders.

Layouts: ``bucket``, an object store with the keys ``AUX_POEORB/<name>`` and ``AUX_RESORB/<name>`` that answers
ListObjectsV2; ``folders``, pages of links under ``POEORB/S1A/2021/01/``, by the month of the validity's start.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Literal
from urllib.parse import quote, unquote, urlencode

import numpy as np

from landcover_cli.errors import InputError, UsageError
from landcover_cli.io.downloadcheck import Remote
from landcover_cli.io.eof import OrbitFile, best_orbit_file, name_orbit_file, read_eof
from landcover_cli.io.safe_archive import parse_xml
from landcover_cli.io.safe_s1 import open_s1_product
from landcover_cli.io.web import NotThereError, Web

BASE_URL = "https://s1-orbits.s3.us-west-2.amazonaws.com"
KINDS = ("POEORB", "RESORB")
LAYOUTS = ("bucket", "folders")
Layout = Literal["bucket", "folders"]
_PRODUCT = re.compile(r"^(S1[A-Z])_[A-Z0-9]{2}_[A-Z0-9_]{4}_\d[A-Z]{3}_(\d{8}T\d{6})_(\d{8}T\d{6})_", re.IGNORECASE)
_MAX_PAGES = 500
_PAGE_BYTES = 16 * 1024**2


@dataclass(frozen=True, slots=True)
class Acquisition:
    """What an orbit file must cover.

    Attributes:
        name: Product id.
        mission: "S1A".. "S1D".
        start: Start of sensing, UTC; datetime64[ns].
        stop: Stop of sensing, UTC.
    """

    name: str
    mission: str
    start: np.datetime64
    stop: np.datetime64


@dataclass(frozen=True, slots=True)
class Offer:
    """An orbit file that a server lists.

    Attributes:
        file: What its name says; its path is the name alone.
        url: Where it is.
        size: Bytes; None if the list does not say.
        checksum: ``md5:<hex>`` if the list says so, else "".
    """

    file: OrbitFile
    url: str
    size: int | None = None
    checksum: str = ""


def acquisition_of(product: str) -> Acquisition:
    """Mission and times of a product: of a folder or zip, or of a bare product name.

    Args:
        product: Path or name, e.g. ``S1A_IW_GRDH_1SDV_20210119T031653_20210119T031718_036201_043ED0_F4F6``.

    Raises:
        InputError: Neither a product's name nor a product.
    """
    name = PurePosixPath(product.rstrip("/")).name
    match = _PRODUCT.match(name)
    if match and not Path(product).exists():
        second = np.timedelta64(1, "s")
        # The name cuts fractions of seconds off.
        start, stop = (_time(match.group(i)) for i in (2, 3))
        return Acquisition(
            name.removesuffix(".SAFE").removesuffix(".zip"), match.group(1).upper(), start, stop + second
        )
    meta = open_s1_product(Path(product)).meta
    return Acquisition(meta.product_id, meta.mission, meta.start, meta.stop)


def _time(text: str) -> np.datetime64:
    t = text.upper()
    try:
        return np.datetime64(f"{t[0:4]}-{t[4:6]}-{t[6:8]}T{t[9:11]}:{t[11:13]}:{t[13:15]}", "ns")
    except ValueError:
        raise InputError(f"{text} in a product's name is no time", remedy="check the name of the product") from None


def choose_orbits(
    acquisitions: Sequence[Acquisition],
    web: Web,
    *,
    base_url: str = BASE_URL,
    layout: Layout = "bucket",
    kinds: Sequence[str] = KINDS,
) -> tuple[Offer, ...]:
    """The best orbit file for each acquisition, chosen as from a folder: POEORB before RESORB, then the newest.

    Args:
        acquisitions: What to cover.
        web: The client.
        base_url: The bucket, a mirror of it, or the root of a tree of folders.
        layout: Which of them.
        kinds: Kinds that will do.

    Returns:
        Files, each once, sorted by name.

    Raises:
        InputError: No file covers one of the acquisitions, or no list can be read.
    """

    @cache
    def listed(kind: str, mission: str, part: str) -> tuple[Offer, ...]:
        if layout == "bucket":
            return tuple(_bucket(web, base_url, f"AUX_{kind}/{mission}_OPER_AUX_{kind}_OPOD_{part}"))
        return tuple(_folder(web, f"{base_url}/{kind}/{mission}/{part}/"))

    chosen: dict[str, Offer] = {}
    for one in acquisitions:
        best, count = None, 0
        for kind in kinds:
            offers = [o for part in _parts(layout, kind, one) for o in listed(kind, one.mission, part)]
            count += len(offers)
            by_file = {offer.file: offer for offer in offers}
            found = best_orbit_file(by_file, one.mission, one.start, one.stop)
            if found is not None:
                best = by_file[found]
                break
        if best is None:
            raise InputError(
                f"{one.name}: none of {count} {' and '.join(kinds)} files listed covers {one.mission} from "
                f"{one.start.astype('datetime64[s]')} to {one.stop.astype('datetime64[s]')}",
                remedy="RESORB come hours after the acquisition, POEORB three weeks later; check --base-url and --kind",
            )
        chosen[best.file.path.name] = best
    return tuple(chosen[name] for name in sorted(chosen))


def _parts(layout: Layout, kind: str, one: Acquisition) -> list[str]:
    """Parts of the list in which a file for an acquisition may stand."""
    day = np.timedelta64(1, "D")
    if layout == "folders":
        return sorted({str((one.start - d * day).astype("datetime64[M]")).replace("-", "/") for d in (0, 1)})
    if kind == "POEORB":
        return [""]  # reprocessed years after the acquisition: any date of creation
    # Made within hours after the orbit; the name begins with the date of creation.
    days = {str((one.stop + d * day).astype("datetime64[D]")).replace("-", "") for d in (0, 1)}
    return sorted(days)


def _bucket(web: Web, base: str, prefix: str) -> Iterator[Offer]:
    token = ""
    for _ in range(_MAX_PAGES):
        query = {"list-type": "2", "prefix": prefix} | ({"continuation-token": token} if token else {})
        data = web.read(f"{base}/?{urlencode(query)}", _PAGE_BYTES)
        if not data.lstrip().startswith((b"<?xml", b"<ListBucketResult")):
            raise InputError(
                f"{base} sends no list of a bucket",
                remedy="check --base-url; for a tree of folders use --layout folders",
            )
        root = parse_xml(data, "list of orbit files")
        for element in root.iter():
            element.tag = element.tag.rpartition("}")[2]
        for item in root.iterfind("Contents"):
            key, size = item.findtext("Key") or "", item.findtext("Size") or ""
            file = name_orbit_file(Path(PurePosixPath(key).name))
            if file is not None:
                etag = (item.findtext("ETag") or "").strip('"').lower()
                # A tag without a dash is the MD5 of an object that was stored in one piece.
                checksum = f"md5:{etag}" if re.fullmatch(r"[0-9a-f]{32}", etag) else ""
                yield Offer(file, f"{base}/{quote(key)}", int(size) if size.isdecimal() else None, checksum)
        token = root.findtext("NextContinuationToken") or ""
        if (root.findtext("IsTruncated") or "").lower() != "true" or not token:
            return
    raise InputError(f"{base}: the list of orbit files does not end", remedy="check --base-url")


def _folder(web: Web, address: str) -> Iterator[Offer]:
    try:
        page = web.read(address, _PAGE_BYTES).decode("utf-8", errors="replace")
    except NotThereError:
        return
    for link in sorted(set(re.findall(r"""href=["']([^"'?#]+)["']""", page, re.IGNORECASE))):
        name = PurePosixPath(unquote(link)).name
        file = name_orbit_file(Path(name))
        # Links are taken by their name alone: a page does not choose another server.
        if file is not None:
            yield Offer(file, address + quote(name))


def orbit_remote(
    offer: Offer, acquisitions: Sequence[Acquisition], out: Path, checksums: Mapping[str, str] | None = None
) -> Remote:
    """The download of a file; what arrives must hold vectors for every acquisition that it is for.

    Args:
        offer: The file.
        acquisitions: All acquisitions; those that the file's name covers are checked.
        out: Folder.
        checksums: By file name; they go before what the list says.
    """
    name = offer.file.path.name
    served = [a for a in acquisitions if offer.file.covers(a.mission, a.start, a.stop)]

    def check(path: Path) -> None:
        for one in served:
            try:
                read_eof(path, mission=one.mission, start=one.start, stop=one.stop, epoch=one.start)
            except InputError as error:
                raise InputError(error.problem.replace(path.name, name), remedy=error.remedy) from None

    zipped = name.lower().endswith(".zip")
    checksum = (checksums or {}).get(name, offer.checksum)
    return Remote(offer.url, out / name, "zip" if zipped else "XML", offer.size, checksum, check=check)


def kinds_of(text: str) -> tuple[str, ...]:
    """Kinds that the user asks for.

    Raises:
        UsageError: None of auto, poeorb, resorb.
    """
    found = {"auto": KINDS, "poeorb": KINDS[:1], "resorb": KINDS[1:]}.get(text.lower())
    if found is None:
        raise UsageError(f"--kind {text!r} is unknown", remedy="use auto, poeorb or resorb")
    return found

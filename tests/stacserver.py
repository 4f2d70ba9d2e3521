"""A STAC API and static catalogues on a loopback site, and Sentinel-2 items as the providers write them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlencode

import numpy as np
from loopback import Site
from rasterio.io import MemoryFile
from rasterio.transform import from_origin

COLLECTION = "sentinel-2-l2a"
LEFT, TOP, EPSG = 600000.0, 5000040.0, 32633


def square(west: float, south: float, size: float = 1.0) -> dict[str, Any]:
    east, north = west + size, south + size
    return {
        "type": "Polygon",
        "coordinates": [[[west, south], [east, south], [east, north], [west, north], [west, south]]],
    }


def s2_item(
    day: str,
    tile: str = "33TXX",
    *,
    baseline: str = "05.09",
    take: str | None = None,
    strip: str | None = None,
    cloud: float | None = 10.0,
    made: str = "20230820T124817",
    geometry: dict[str, Any] | None = None,
    assets: dict[str, Any] | None = None,
    name: str = "",
    **properties: Any,
) -> dict[str, Any]:
    """An item with the properties of Earth Search; `take` and `strip` are times of day."""
    stamp = day.replace("-", "")
    number = baseline.replace(".", "")
    start, strip = f"{stamp}T{take or '094549'}", f"{stamp}T{strip or '094908'}"
    geometry = geometry or square(16, 45)
    ring = np.array(geometry["coordinates"][0])
    facts = {
        "datetime": f"{day}T09:57:56.646000Z",
        "platform": "sentinel-2b",
        "grid:code": f"MGRS-{tile}",
        "s2:processing_baseline": baseline,
        "s2:product_type": "S2MSI2A",
        "s2:generation_time": made,
        "s2:product_uri": f"S2B_MSIL2A_{start}_N{number}_R079_T{tile}_{made}.SAFE",
        "s2:datatake_id": f"GS2B_{start}_033710_N{baseline}",
        "s2:datastrip_id": f"S2B_OPER_MSI_L2A_DS_2BPS_{made}_S{strip}_N{baseline}",
        **({} if cloud is None else {"eo:cloud_cover": cloud}),
        **properties,
    }
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "stac_extensions": [],
        "id": name or f"S2B_{tile}_{stamp}_{made}_{strip[-6:]}",
        "collection": COLLECTION,
        "geometry": geometry,
        "bbox": [*ring.min(axis=0).tolist(), *ring.max(axis=0).tolist()],
        "properties": {key: value for key, value in facts.items() if value is not None},
        "links": [{"rel": "collection", "href": "./collection"}],
        "assets": assets or {"blue": {"href": "https://example.org/B02.tif", "roles": ["data"]}},
    }


def tiff(values: np.ndarray, gsd_m: float, **profile: Any) -> bytes:
    """A GeoTIFF in memory, on the ground of tests/s2product.py."""
    height, width = values.shape
    options = {"driver": "GTiff", "count": 1, "dtype": values.dtype.name, "crs": f"EPSG:{EPSG}", **profile}
    with MemoryFile() as memory:
        with memory.open(
            height=height, width=width, transform=from_origin(LEFT, TOP, gsd_m, gsd_m), **options
        ) as target:
            target.write(values, 1)
        return bytes(memory.read())


def multihash(data: bytes) -> str:
    return f"1220{hashlib.sha256(data).hexdigest()}"


@dataclass
class Api:
    """A STAC API; its search ignores what a lazy one may ignore, and gives its answer in pages of two."""

    site: Site
    items: Sequence[dict[str, Any]]
    collections: Sequence[str] = (COLLECTION, "sentinel-2-l1c", "landsat-c2-l2")
    methods: tuple[str, ...] = ("GET", "POST")
    page: int = 2
    searched: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.site.dynamic |= {"/v1": self.landing, "/v1/collections": self.listing, "/v1/search": self.search}

    @property
    def url(self) -> str:
        return self.site.url("/v1")

    def landing(self, method: str, query: str, body: bytes) -> bytes:
        search = [{"rel": "search", "href": self.site.url("/v1/search"), "method": m} for m in self.methods]
        links = [{"rel": "data", "href": self.site.url("/v1/collections")}, *search]
        return json.dumps({"type": "Catalog", "id": "api", "stac_version": "1.0.0", "links": links}).encode()

    def listing(self, method: str, query: str, body: bytes) -> bytes:
        at = int(parse_qs(query).get("token", ["0"])[0])
        links = []
        if at + self.page < len(self.collections):
            links = [{"rel": "next", "href": self.site.url(f"/v1/collections?token={at + self.page}")}]
        part = [{"id": name} for name in self.collections[at : at + self.page]]
        return json.dumps({"collections": part, "links": links}).encode()

    def search(self, method: str, query: str, body: bytes) -> bytes:
        asked = json.loads(body) if method == "POST" else {k: v[0] for k, v in parse_qs(query).items()}
        self.searched.append(asked)
        at = int(asked.get("token", 0))
        wanted = asked["collections"] if method == "POST" else asked["collections"].split(",")
        known = [item for item in self.items if item["collection"] in wanted]
        links: list[dict[str, Any]] = []
        if at + self.page < len(known):
            token = str(at + self.page)
            if method == "POST":
                links = [
                    {
                        "rel": "next",
                        "href": self.site.url("/v1/search"),
                        "method": "POST",
                        "body": {**asked, "token": token},
                    }
                ]
            else:
                links = [{"rel": "next", "href": self.site.url(f"/v1/search?{urlencode({**asked, 'token': token})}")}]
        return json.dumps(
            {"type": "FeatureCollection", "features": known[at : at + self.page], "links": links}
        ).encode()

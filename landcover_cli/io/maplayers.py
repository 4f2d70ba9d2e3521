"""The layers of a map: which there are, and what each file says about itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from landcover_cli.core.types import Period
from landcover_cli.io.tilewriter import Layer
from landcover_cli.labels.legend import Legend

PROBABILITY_SCALE = 0.004
"""A probability p is stored as round(250·p)."""
PROBABILITY_NODATA = 255
VALIDITY_NODATA = 65_535


@dataclass(frozen=True)
class MapFacts:
    """Where a map comes from; nothing of time, host or run.

    Attributes:
        name: Name of the map; files begin with it.
        legend: Classes in index order.
        crs: ``EPSG:<code>`` or WKT of the grid.
        gsd_m: Pixel edge in metres.
        periods: Periods of the observations; empty for a map of images alone.
        model: Name of the network.
        model_digest: Hex sha256 of its description and weights.
        settings: Settings of prediction that decide the pixels.
        inputs: Input → its bands, for people.
        validity: Names of the validity layer's bands.
        probabilities: Whether there is a layer with one band per class.
        version: Version of lc.
    """

    name: str
    legend: Legend
    crs: str
    gsd_m: float
    periods: tuple[Period, ...]
    model: str
    model_digest: str
    settings: Mapping[str, object]
    inputs: Mapping[str, str]
    validity: tuple[str, ...]
    probabilities: bool
    version: str

    @property
    def period(self) -> str:
        """``2021-01-01/2021-12-31``: first and last day; empty where there is no period."""
        if not self.periods:
            return ""
        first, last = min(p.start for p in self.periods), max(p.end for p in self.periods)
        return f"{first.isoformat()}/{last.fromordinal(last.toordinal() - 1).isoformat()}"


def map_layers(legend: Legend, validity: tuple[str, ...], probabilities: bool) -> dict[str, Layer]:
    """Layers of a map by name, in the order in which they are written."""
    nodata = legend.nodata
    colors = {index: (*item.rgb, 255) for index, item in enumerate(legend.classes)}
    layers = {
        "class": Layer(legend.dtype, nodata, ("class",), {**colors, nodata: (0, 0, 0, 0)}),
        "confidence": Layer("uint8", PROBABILITY_NODATA, ("confidence",), scale=PROBABILITY_SCALE),
        "validity": Layer("uint16", VALIDITY_NODATA, tuple(f"clear observations of {name}" for name in validity)),
    }
    if probabilities:
        layers["probabilities"] = Layer("uint8", PROBABILITY_NODATA, legend.names, scale=PROBABILITY_SCALE)
    return layers


def tagged(layer: Layer, name: str, facts: MapFacts) -> Layer:
    """A layer with the tags of a delivered file; the legend's codes and names stand in every class map itself."""
    tags = {
        "LC_LAYER": name,
        "LC_MODEL": facts.model,
        "LC_MODEL_DIGEST": facts.model_digest,
        "LC_LEGEND_ID": facts.legend.id,
        "LC_LEGEND_VERSION": facts.legend.version,
        "LC_PERIOD": facts.period,
        "LC_SOFTWARE": f"lc {facts.version}",
    }
    if name == "class":
        from landcover_cli.core.digest import canonical_json

        tags["LC_LEGEND"] = canonical_json([[item.code, item.name, item.color] for item in facts.legend.classes])
    if layer.scale != 1.0:
        tags["LC_SCALE"] = f"probability = {layer.scale:g} x value"
    return replace(layer, tags=tags)

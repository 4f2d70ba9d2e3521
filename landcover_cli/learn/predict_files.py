"""A predictor's strips into files, and what a map made of them says about itself."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from landcover_cli import __version__
from landcover_cli.config.learning import PredictConfig
from landcover_cli.core.types import Period
from landcover_cli.core.unit import RunContext
from landcover_cli.core.windows import PixelBox
from landcover_cli.io.maplayers import MapFacts, map_layers
from landcover_cli.io.tilewriter import TileWriter
from landcover_cli.labels.legend import Legend, parse_legend
from landcover_cli.learn.predict_inputs import validity_ports

if TYPE_CHECKING:
    from landcover_cli.learn.predictor import Mask, Predictor
    from models.spec import ModelSpec


def legend_of(spec: ModelSpec) -> Legend:
    """The legend that a model's class indices mean."""
    return parse_legend({**spec.legend, "classes": [dict(entry) for entry in spec.classes]}, "of the model")


def predict_to_files(
    predictor: Predictor, box: PixelBox, folder: Path, context: RunContext, inside: Mask | None = None
) -> None:
    """Map a box into ``class.tif``, ``confidence.tif``, ``validity.tif`` (and ``probabilities.tif``) of a folder.

    Raises:
        InputError: A chunk of a cube is damaged.
        StorageError: The disk is full.
    """
    spec = predictor.spec
    names = tuple(port.name for port in validity_ports(spec))
    layers = map_layers(legend_of(spec), names, predictor.config.probabilities)
    crs = next(iter(predictor.cubes.values())).crs
    with ExitStack() as stack:
        writers = {
            name: stack.enter_context(TileWriter(folder / f"{name}.tif", box, spec.gsd_m, crs, layer))
            for name, layer in layers.items()
        }
        for strip in predictor.strips(box, context, inside):
            writers["class"].write(strip.box, strip.class_yx[None])
            writers["confidence"].write(strip.box, strip.confidence_yx[None])
            writers["validity"].write(strip.box, strip.validity_byx)
            if strip.probabilities_byx is not None:
                writers["probabilities"].write(strip.box, strip.probabilities_byx)


def map_facts(
    name: str,
    spec: ModelSpec,
    digest: str,
    crs: str,
    periods: tuple[Period, ...],
    config: PredictConfig,
    inputs: Collection[str],
) -> MapFacts:
    """What a map says about itself.

    Args:
        name: Name of the map.
        spec: The model.
        digest: Digest of the model.
        crs: CRS of the grid.
        periods: Periods of the observations.
        config: Settings of prediction.
        inputs: Names of the inputs that were there.
    """
    return MapFacts(
        name=name,
        legend=legend_of(spec),
        crs=crs,
        gsd_m=spec.gsd_m,
        periods=periods,
        model=spec.model,
        model_digest=digest,
        settings=config.model_dump(mode="json"),
        inputs={port.name: " ".join(port.bands) for port in spec.ports if port.name in inputs},
        validity=tuple(port.name for port in validity_ports(spec)),
        probabilities=config.probabilities,
        version=__version__,
    )

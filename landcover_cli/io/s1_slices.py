"""Consecutive GRD slices of one pass as one image, calibrated, freed from noise and read like a single product."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from landcover_cli.errors import InputError
from landcover_cli.io.s1_source import GrdSource, SliceStack, grd_sources
from landcover_cli.io.safe_s1 import S1Product
from landcover_cli.sar.border import SIDES, Side
from landcover_cli.sar.noise import Denoise
from landcover_cli.sar.slices import assemble_annotations
from landcover_cli.sar.types import Backscatter, S1Annotation


@dataclass(frozen=True, slots=True, eq=False)
class SliceAssembly:
    """Slices as one image.

    Attributes:
        annotation: Annotation of the whole, for `radar_model`.
        sources: {polarisation: image of the whole}.
        product_ids: Names of the slices from first to last.
        first_lines: Line of the whole at which each begins.
        slices: {polarisation: source of each slice}, for provenance.
    """

    annotation: S1Annotation
    sources: dict[str, SliceStack]
    product_ids: tuple[str, ...]
    first_lines: tuple[int, ...]
    slices: dict[str, tuple[GrdSource, ...]]


def assemble_slices(
    products: Sequence[S1Product],
    polarisations: Sequence[str] | None = None,
    *,
    backscatter: Backscatter = "beta0",
    denoise: Denoise = "auto",
) -> SliceAssembly:
    """Assemble consecutive GRD products of one pass; one product alone is an assembly of one.

    Each slice is calibrated and denoised by its own tables before it is joined. Border noise is sought on the outer
    edges of the whole: a joint is no border, and dark water across it stays.

    Args:
        products: The products, in any order.
        polarisations: Which to read; those of the first product if None.
        backscatter: What to calibrate to; terrain flattening starts from "beta0".
        denoise: See `landcover_cli.sar.noise.noise_state`.

    Returns:
        The assembly.

    Raises:
        InputError: None given, products of different passes, a missing slice, a polarisation that one of them lacks,
            or a channel that is damaged.
    """
    if not products:
        raise InputError("no product was given", remedy="give the consecutive products of one pass")
    names = tuple(polarisations) if polarisations is not None else products[0].polarisations
    if not names:
        raise InputError("no polarisation was asked for", remedy="choose at least one that the product holds")
    geometry = assemble_annotations([p.annotation(names[0]) for p in products])
    ordered = [products[k] for k in geometry.order]
    parts = [
        grd_sources(
            [product.channel(name) for name in names],
            backscatter=backscatter,
            denoise=denoise,
            border_sides=_outer_sides(k, len(ordered)),
        )
        for k, product in enumerate(ordered)
    ]
    slices = {name: tuple(part[name] for part in parts) for name in names}
    shape = geometry.annotation.image.shape_yx
    return SliceAssembly(
        annotation=geometry.annotation,
        sources={name: SliceStack(found, geometry.first_lines, shape) for name, found in slices.items()},
        product_ids=tuple(p.meta.product_id for p in ordered),
        first_lines=geometry.first_lines,
        slices=slices,
    )


def _outer_sides(index: int, count: int) -> tuple[Side, ...]:
    """Edges of a slice that are edges of the whole."""
    joint = {"top"} if index else set()
    if index < count - 1:
        joint.add("bottom")
    return tuple(side for side in SIDES if side not in joint)

"""The bistatic residual of a product that was read: which sub-swaths its image is made of, and where they meet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from landcover_cli.sar.bistatic import middle_of_grd, residual_of_grd, residual_of_slc
from landcover_cli.sar.geocoding import RadarModel
from landcover_cli.sar.slc import slc_grid
from landcover_cli.sar.types import S1Annotation, S1Channel


def with_residual(
    model: RadarModel, annotation: S1Annotation, channels: Sequence[Sequence[S1Channel]], looks: tuple[int, int]
) -> RadarModel:
    """The model of an image whose lines are found with the bistatic residual.

    Args:
        model: Geometry of the image.
        annotation: Of the image: a GRD, an assembled pass, or the multilooked image of an SLC.
        channels: Per product, its channels.
        looks: Lines and samples of a cell of an SLC.

    Raises:
        InputError: The annotation lacks what the residual depends on.
    """
    if annotation.meta.product_type != "SLC":
        # All slices of a pass must agree.
        pulses = tuple(pulse for of_one in channels for pulse in of_one[0].annotation.pulses)
        whole = replace(annotation, pulses=pulses)
        line, *ends = middle_of_grd(whole)
        middle_m = float(model.slant_range_m(np.full(2, line), np.array(ends)).mean())
        return replace(model, bistatic=residual_of_grd(whole, middle_m))
    first = channels[0][0].annotation.polarisation
    own = [c.annotation for c in channels[0] if c.annotation.polarisation == first]
    own.sort(key=lambda a: a.image.slant_range_time_s)
    cuts = slc_grid(own, looks).merge.cuts
    # A sample s lies in the cell (s − ½(looks − 1)) / looks.
    return replace(model, bistatic=residual_of_slc(own, [(cut - 0.5 * looks[1]) / looks[1] for cut in cuts]))

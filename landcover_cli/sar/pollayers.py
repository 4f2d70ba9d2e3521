"""The polarimetric layers by name: what each is, what it needs, and how it follows from C2 or from two powers.

The channels are always ordered co-polar, cross-polar (VV, VH or HH, HV), whatever order they were asked for in: C12 is
⟨co · conj(cross)⟩ and α is counted from the co-polar channel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from landcover_cli.core.bands import POLARIMETRIC_UNITS
from landcover_cli.errors import InputError, UsageError
from landcover_cli.sar.polarimetry import POLARIMETRIC_LAYERS, Covariance, detected_indices, polarimetric_layers

FloatArray = NDArray[np.floating[Any]]

MAX_WINDOW_PX = 31


@dataclass(frozen=True, slots=True)
class LayerInfo:
    """What a layer holds.

    Attributes:
        title: For people.
        unit: As in `landcover_cli.core.bands.POLARIMETRIC_UNITS`.
        phase: It needs the phase between the channels: an SLC.
    """

    title: str
    unit: str
    phase: bool


_TITLES = {
    "c11": "C11, power of the co-polar channel",
    "c22": "C22, power of the cross-polar channel",
    "c12_real": "C12, real part of co-polar times conjugate cross-polar",
    "c12_imag": "C12, imaginary part of co-polar times conjugate cross-polar",
    "entropy": "Entropy H of C2, 0 to 1",
    "anisotropy": "Anisotropy A of C2, 0 to 1",
    "alpha": "Mean alpha of C2, 0 to 90, counted from the co-polar channel",
    "dprvi": "Dual-pol radar vegetation index DpRVI, 0 to 1",
    "dop": "Degree of polarisation, 0 to 1",
    "rvi": "Radar vegetation index 4 cross/(co + cross), 0 to 4",
    "dprvic": "DpRVIc of the two powers, 0 to 1",
    "theta_c": "Pseudo scattering-type parameter theta_c of the two powers, 0 to 45",
    "entropy_c": "Pseudo scattering entropy Hc of the two powers, 0 to 1",
}
LAYER_INFO = {
    name: LayerInfo(_TITLES[name], unit, name in POLARIMETRIC_LAYERS) for name, unit in POLARIMETRIC_UNITS.items()
}
"""All polarimetric layers in the order in which they are delivered."""

DETECTED_LAYERS = tuple(name for name, info in LAYER_INFO.items() if not info.phase)
LAYER_GROUPS = {
    "c2": ("c11", "c22", "c12_real", "c12_imag"),
    "haalpha": ("entropy", "anisotropy", "alpha"),
    # Always made; it may be named beside what else is wanted.
    "backscatter": (),
}
"""Short names of several layers."""


def expand_groups(names: Sequence[str]) -> tuple[str, ...]:
    """Groups replaced by their layers, each layer once, in the order asked for; other names as they are."""
    return tuple(dict.fromkeys(layer for name in names for layer in LAYER_GROUPS.get(name, (name,))))


def needs_covariance(names: Sequence[str], product_type: str) -> bool:
    """Whether any of the layers comes from C2: of an SLC all of them do."""
    return product_type == "SLC" and any(name in LAYER_INFO for name in names)


def check_product(
    names: Sequence[str], product_type: str, polarisations: Sequence[str], what: str
) -> tuple[str, str] | None:
    """Refuse layers that a product cannot give.

    Args:
        names: Layers; those that are not polarimetric are passed over.
        product_type: "GRD" or "SLC".
        polarisations: The channels that are used.
        what: Name of the product for messages.

    Returns:
        (co-polar, cross-polar) channel; None where no layer is polarimetric.

    Raises:
        InputError: A layer needs the phase of an SLC, or a second channel, and the product has none.
    """
    wanted = [name for name in names if name in LAYER_INFO]
    if not wanted:
        return None
    phase = [name for name in wanted if LAYER_INFO[name].phase]
    if product_type != "SLC" and phase:
        raise InputError(
            f"layer {_as_asked(phase[0], wanted)!r} needs the phase between the channels; {what} is a {product_type}, "
            "which has none",
            remedy=f"give the SLC of the same pass, or choose among {', '.join(DETECTED_LAYERS)}",
        )
    co = [name for name in polarisations if name[0] == name[1]]
    cross = [name for name in polarisations if name[0] != name[1]]
    if len(co) != 1 or len(cross) != 1:
        raise InputError(
            f"layer {_as_asked(wanted[0], wanted)!r} needs a co-polar and a cross-polar channel; {what} is read with "
            f"{', '.join(polarisations)} alone",
            remedy="give a dual-polarisation product with both of its polarisations, or leave the layer out",
        )
    return co[0], cross[0]


def _as_asked(name: str, wanted: Sequence[str]) -> str:
    """The group where all of its layers are wanted: that is how they are asked for."""
    groups = (group for group, layers in LAYER_GROUPS.items() if name in layers and set(layers) <= set(wanted))
    return next(groups, name)


def check_window(window_px: int) -> None:
    """Refuse a window over which C2 cannot be averaged.

    Raises:
        UsageError: It is even, or out of range.
    """
    if not 1 <= window_px <= MAX_WINDOW_PX or window_px % 2 == 0:
        raise UsageError(
            f"a window of {window_px} pixels for C2 is even or out of range",
            remedy=f"choose an odd number from 1 (the looks alone) to {MAX_WINDOW_PX}",
        )


def layers_of_covariance(c2: Covariance, names: Sequence[str]) -> dict[str, NDArray[np.float32]]:
    """Layers of an averaged covariance matrix; those of two powers are taken from its diagonal.

    Args:
        c2: Averaged covariance, [H, W].
        names: Any of `LAYER_INFO`.

    Returns:
        {name: [H, W] float32} in the order asked for; NaN for nodata.
    """
    own = polarimetric_layers(c2, [name for name in names if name in POLARIMETRIC_LAYERS])
    made = own | layers_of_powers(c2.c11, c2.c22, [name for name in names if name in DETECTED_LAYERS])
    return {name: made[name] for name in names}


def layers_of_powers(co: FloatArray, cross: FloatArray, names: Sequence[str]) -> dict[str, NDArray[np.float32]]:
    """Layers of two detected channels.

    Args:
        co: [H, W] co-polar power, linear.
        cross: [H, W] cross-polar power, linear.
        names: Any of `DETECTED_LAYERS`.

    Returns:
        {name: [H, W] float32} in the order asked for; NaN where the co-polar power is not positive, the cross-polar
        one is negative (less than its noise), or one is nodata.
    """
    if not names:
        return {}
    found = detected_indices(co, cross)
    made = {
        "rvi": found.rvi,
        "dprvic": found.dprvi_c,
        "theta_c": found.theta_c_deg,
        "entropy_c": found.entropy_c,
    }
    return {name: made[name].astype(np.float32) for name in names}

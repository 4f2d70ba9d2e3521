"""Whether a Sentinel-2 product's digital numbers carry the +1000 of processing baseline 04.00, and why we think so.

Stored values are always those of baseline ≥ 04.00 (ρ = DN · 1e-4 − 0.1); older numbers are raised by 1000. The date of
the acquisition decides nothing: reprocessed old scenes carry the offset, and some archives took it out again.
Source: Sentinel-2 Products Specification, PSD 14.9+, Radiometric Offset (RADIO_ADD_OFFSET, BOA_ADD_OFFSET).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from landcover_cli.errors import InputError

HARMONISED_DN = 1000
"""What zero reflectance is stored as."""
_PROOF_DN = 900
_PROOF_PIXELS = 1000


@dataclass(frozen=True)
class OffsetDecision:
    """What is added to a product's numbers, and why.

    Attributes:
        add_dn: 0 where the numbers carry the +1000 already, 1000 where they do not.
        source: ``user``, ``safe``, ``stac`` or ``baseline``.
        reason: One sentence for the log and the observation's record.
        warning: What the pixels suggest against it, without proof; empty if nothing.
    """

    add_dn: int
    source: str
    reason: str
    warning: str = ""


def resolve_offset(
    scene_id: str,
    metadata: Mapping[str, object],
    override: Literal["auto", "applied", "in_pixels"] = "auto",
) -> OffsetDecision:
    """Decide from metadata: user, else SAFE XML, else STAC flag, else baseline.

    Args:
        scene_id: Named in errors.
        metadata: ``boa_add_offset`` or ``radio_add_offset`` (DN, from a SAFE of either level; 0 where the element is
            absent), ``boa_offset_applied`` (bool, from a STAC item), ``baseline`` (``05.09``); any may be absent.
        override: What the user says: ``applied`` (already taken out of the pixels) or ``in_pixels``.

    Raises:
        InputError: Nothing decides, or the SAFE's offset is neither 0 nor −1000.
    """
    if override != "auto":
        return OffsetDecision(HARMONISED_DN if override == "applied" else 0, "user", f"`offset: {override}` was given")
    offset, flag, baseline = (metadata.get(k) for k in ("boa_add_offset", "boa_offset_applied", "baseline"))
    tag = "BOA_ADD_OFFSET"
    if offset is None and metadata.get("radio_add_offset") is not None:
        offset, tag = metadata["radio_add_offset"], "RADIO_ADD_OFFSET"
    if isinstance(offset, int | float):
        if offset not in {0, -HARMONISED_DN}:
            raise InputError(
                f"{scene_id}: {tag} is {offset:g}, neither 0 nor −1000",
                remedy="say `offset: applied` or `offset: in_pixels` if you know which holds",
            )
        said = f"{tag} is {offset:g}" if offset else f"the metadata holds no {tag}"
        return OffsetDecision(HARMONISED_DN + int(offset), "safe", said)
    number = _baseline(baseline)
    if flag is True:
        return OffsetDecision(HARMONISED_DN, "stac", "earthsearch:boa_offset_applied is true")
    if number is None:
        raise InputError(
            f"{scene_id}: neither offset nor processing baseline is stated ({baseline!r})",
            remedy="say `offset: applied` or `offset: in_pixels`",
        )
    # A flag of false says only that nothing was taken out; whether there was anything is the baseline's to say.
    source = "stac" if flag is False else "baseline"
    if number >= 4.0:
        return OffsetDecision(0, source, f"processing baseline {baseline} carries the offset")
    return OffsetDecision(HARMONISED_DN, source, f"processing baseline {baseline} is older than 04.00")


def judge_offset(
    scene_id: str, decision: OffsetDecision, counts: Mapping[str, np.ndarray], weight: float = 1.0
) -> OffsetDecision:
    """Compare a decision with the pixels.

    The first percentile of B02 or B12 over vegetation and water (SCL 4 and 6) below 900 proves that the +1000 is not in
    the numbers: reflectance would be below −0.01. At 1000 or more it is evidence only: bright soil reaches that
    honestly.

    Args:
        scene_id: Named in errors.
        decision: From `resolve_offset`.
        counts: Band (``B02``, ``B12``) → how many pixels of vegetation and water hold each number as read
            (65536 values).
        weight: Pixels of the classification per counted pixel (1/4 where counted at 10 m).

    Returns:
        The decision, with a warning where the pixels suggest another one without proof.

    Raises:
        InputError: The pixels prove the decision wrong.
    """
    seen = {}
    for band, histogram in counts.items():
        total = int(histogram[1:].sum())
        if total * weight >= _PROOF_PIXELS:
            seen[band] = int(np.searchsorted(np.cumsum(histogram[1:]), 0.01 * total)) + 1
    if not seen:
        return decision
    band, dark = min(seen.items(), key=lambda item: item[1])
    text = f"the darkest percent of {band} over vegetation and water is DN {dark}"
    if dark < _PROOF_DN and decision.add_dn == 0:
        raise InputError(
            f"{scene_id}: {decision.reason}, but {text}: the offset is no longer in the pixels",
            remedy="say `offset: applied` for this source",
        )
    if dark >= HARMONISED_DN and decision.add_dn == HARMONISED_DN:
        warning = f"{scene_id}: {decision.reason}, yet {text}, as if the offset were still in the pixels"
        return OffsetDecision(decision.add_dn, decision.source, decision.reason, warning)
    return decision


def harmonise(dn: np.ndarray, add_dn: int) -> np.ndarray:
    """Raise uint16 numbers by 0 or 1000; 0 (nodata) stays 0, and what would overflow stays at 65535 (saturated)."""
    if add_dn == 0:
        return dn
    raised = np.minimum(dn, 65535 - add_dn) + np.uint16(add_dn)
    return np.where(dn == 0, np.uint16(0), raised).astype(np.uint16)


def _baseline(value: object) -> float | None:
    try:
        return float(str(value))
    except ValueError:
        return None

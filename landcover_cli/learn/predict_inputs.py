"""What prediction reads: cubes checked against the model, and strips of them with what was observed where."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from math import lcm
from typing import Any

import numpy as np

from landcover_cli.core.bands import is_power
from landcover_cli.core.types import Period
from landcover_cli.core.windows import Blend, PixelBox, WindowLattice
from landcover_cli.errors import ConfigError, InputError
from landcover_cli.io.cubestore import CubeSeries, CubeWindow
from models.spec import ModelSpec, Port

CAP = 65_534
"""Largest number of observations that the validity layer can state."""


def window_lattice(spec: ModelSpec, stride_px: int | None, blend: Blend) -> WindowLattice:
    """The windows a model is run on; the stride defaults to three quarters of its patch.

    Raises:
        ConfigError: A stride that does not fit the patch or the inputs' pixels.
        InputError: The model's patch is no whole number of its inputs' pixels.
    """
    # Window edges must be pixel edges of every input: multiples of the denominator of gsd / input gsd.
    unit = lcm(*(Fraction(spec.gsd_m / port.gsd_m).limit_denominator(1000).denominator for port in spec.ports))
    coarse = ", ".join(f"{port.name} {port.gsd_m:g} m" for port in spec.ports)
    if spec.patch_px % unit:
        raise InputError(
            f"the model's patch of {spec.patch_px} px of {spec.gsd_m:g} m cuts input pixels ({coarse})",
            remedy=f"train with a patch that is a multiple of {unit} px",
        )
    stride = max(unit, spec.patch_px * 3 // 4 // unit * unit) if stride_px is None else stride_px
    if stride % unit:
        raise ConfigError(
            f"a stride of {stride} px of {spec.gsd_m:g} m cuts input pixels ({coarse})",
            remedy=f"choose a multiple of {unit} px",
        )
    return WindowLattice(spec.patch_px, stride, blend, spec.halo_px)


def validity_ports(spec: ModelSpec) -> tuple[Port, ...]:
    """Inputs whose observations decide whether there is anything to map: the series, or all where there is none.

    A terrain model covers every pixel; it says nothing about whether the ground was seen.
    """
    series = tuple(port for port in spec.ports if port.kind == "series")
    return series or spec.ports


def calendar_step(periods: tuple[Period, ...]) -> str:
    """``month``, or e.g. ``10d``: the step that a series was made of; ``mixed`` where there is none."""
    if not periods:
        return "none"
    if all("_" not in period.label for period in periods):
        return "month"
    # The last period may be cut short by the end of the span.
    lengths = {(period.end - period.start).days for period in (periods[:-1] or periods)}
    return f"{lengths.pop()}d" if len(lengths) == 1 else "mixed"


def check_inputs(spec: ModelSpec, cubes: Mapping[str, CubeSeries]) -> None:
    """Check that cubes are what a model was trained on.

    Raises:
        InputError: A missing or unknown input; bands, pixel size, units, kind, calendar or CRS that differ. Both sides
            are named.
    """
    names = [port.name for port in spec.ports]
    unknown = sorted(set(cubes) - set(names))
    if unknown:
        raise InputError(
            f"the model has no input {unknown[0]!r}; its inputs are {', '.join(names)}",
            remedy="give each cube under the name of a model input",
        )
    if not cubes:
        raise InputError(f"no cube is given; the model's inputs are {', '.join(names)}", remedy="give at least one")
    for port in spec.ports:
        if port.name in cubes:
            _check_port(port, cubes[port.name], spec)
        elif not port.optional:
            raise InputError(
                f"the model needs input {port.name!r} (bands {', '.join(port.bands)}); there are cubes for "
                f"{', '.join(sorted(cubes))}",
                remedy="make that cube, or train a model without the input",
            )
    if not any(port.name in cubes for port in validity_ports(spec)):
        raise InputError(
            "no cube holds a series; without observations there is nothing to map",
            remedy=f"give at least one of {', '.join(port.name for port in validity_ports(spec))}",
        )
    by_crs = {cube.crs: name for name, cube in cubes.items()}
    if len(by_crs) > 1:
        shown = ", ".join(f"{name} {crs[:60]}" for crs, name in by_crs.items())
        raise InputError(f"the cubes lie in different CRS: {shown}", remedy="make all cubes on one grid")


def _check_port(port: Port, cube: CubeSeries, spec: ModelSpec) -> None:
    def differ(what: str, model: object, found: object, remedy: str) -> InputError:
        return InputError(f"input {port.name!r}: {what}: the model has {model}, the cube has {found}", remedy=remedy)

    missing = [band for band in port.bands if band not in cube.bands]
    if missing:
        raise differ(
            "bands",
            ", ".join(port.bands),
            f"{', '.join(cube.bands)} (missing: {', '.join(missing)})",
            "make the cube with the model's bands, or train a model on the bands there are",
        )
    if abs(port.gsd_m - cube.gsd_m) > 1e-6:
        raise differ("pixel size", f"{port.gsd_m:g} m", f"{cube.gsd_m:g} m", "make the cube at the model's resolution")
    if port.kind != cube.kind:
        raise differ("kind", port.kind, cube.kind, "give a cube of the model's kind")
    if port.units != cube.units:
        raise differ("units", port.units, cube.units, "make the cube in the model's units")
    if port.kind != "series":
        return
    step, wanted = calendar_step(cube.periods), spec.calendar.get("step")
    if wanted and wanted not in {step, "all", "season"}:
        raise differ("calendar", f"steps of {wanted}", f"steps of {step}", "composite with the model's period step")
    if port.length is not None and port.length != len(cube.periods):
        raise differ(
            "number of dates",
            port.length,
            len(cube.periods),
            "composite over as many periods as the model was trained on",
        )


@dataclass(frozen=True)
class StripData:
    """All inputs over some rows of windows.

    Attributes:
        box: Ground that was read, in output pixels.
        ports: Input name → window of its cube over `box`.
        observed_yx: Over `box` at the output's pixel size: whether any series saw the pixel.
        n_clear_byx: Clear observations of each of `validity_ports`, over `box` at the output's pixel size.
    """

    box: PixelBox
    ports: Mapping[str, CubeWindow]
    observed_yx: np.ndarray
    n_clear_byx: np.ndarray


@dataclass(frozen=True)
class StripReader:
    """Reads every input of a model over a rectangle of windows."""

    spec: ModelSpec
    cubes: Mapping[str, CubeSeries]

    def bytes_per_pixel(self) -> float:
        """Memory of one output pixel of a strip, in bytes."""
        total = 0.0
        for port in self.spec.ports:
            if port.name in self.cubes:
                cube = self.cubes[port.name]
                per_date = len(cube.bands) * cube.dtype.itemsize + 3
                total += max(1, len(cube.periods)) * per_date * (self.spec.gsd_m / port.gsd_m) ** 2
        return total + 1 + 2 * len(validity_ports(self.spec))

    def read(self, box: PixelBox) -> StripData:
        """Read a strip whose edges are pixel edges of every input.

        Raises:
            InputError: A chunk of a cube is damaged.
        """
        bounds = box.bounds_m(self.spec.gsd_m)
        ports = {
            port.name: _usable(self.cubes[port.name].read(bounds), port, self.cubes[port.name])
            for port in self.spec.ports
            if port.name in self.cubes
        }
        counted = validity_ports(self.spec)
        observed = np.zeros((box.height, box.width), bool)
        n_clear = np.zeros((len(counted), box.height, box.width), np.uint16)
        for index, port in enumerate(counted):
            if port.name in ports:
                window = ports[port.name]
                ratio = self.spec.gsd_m / port.gsd_m
                observed |= _to_output(np.any(window.valid_tyx, axis=0), ratio, box)
                total = np.minimum(window.n_clear_tyx.sum(axis=0, dtype=np.int64), CAP).astype(np.uint16)
                n_clear[index] = _to_output(total, ratio, box)
        return StripData(box, ports, observed, n_clear)

    def cut(self, strip: StripData, window: PixelBox, port: Port) -> CubeWindow:
        """One window of a strip, without a copy."""
        ratio = self.spec.gsd_m / port.gsd_m
        rows, cols = (
            slice(round(part.start * ratio), round(part.stop * ratio)) for part in window.slices_in(strip.box)
        )
        whole = strip.ports[port.name]
        return replace(
            whole,
            data_tbyx=whole.data_tbyx[..., rows, cols],
            valid_tyx=whole.valid_tyx[..., rows, cols],
            n_clear_tyx=whole.n_clear_tyx[..., rows, cols],
        )


def _usable(window: CubeWindow, port: Port, cube: CubeSeries) -> CubeWindow:
    """Take values that have no place in the model out of the validity, so that they count as not observed."""
    if cube.dtype.kind != "f":
        return window
    valid = window.valid_tyx.copy()
    for band in port.bands:
        values = window.data_tbyx[:, cube.bands.index(band)]
        valid &= np.isfinite(values)
        if port.transform == "db" and is_power(band):
            valid &= values > 0
    return replace(window, valid_tyx=valid)


def _to_output(values_yx: Any, ratio: float, box: PixelBox) -> np.ndarray:
    """From an input's pixels to output pixels: the largest of several, or the one a pixel's centre lies in."""
    if ratio == 1.0:
        return np.asarray(values_yx)
    if ratio > 1.0 and ratio.is_integer():
        step = int(ratio)
        return np.asarray(values_yx.reshape(box.height, step, box.width, step).max(axis=(1, 3)))
    rows = ((np.arange(box.height) + 0.5) * ratio).astype(np.int64)
    cols = ((np.arange(box.width) + 0.5) * ratio).astype(np.int64)
    return np.asarray(values_yx[np.ix_(rows, cols)])

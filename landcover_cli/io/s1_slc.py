"""IW and EW SLC products as images for geocoding: calibrated, freed from noise, debursted, merged and multilooked.

`open_slc` gives what `landcover_cli.io.s1_scene.geocode_scene` needs: an annotation for `radar_model`, one source of
power per polarisation, and for two polarisations the four real parts of the covariance matrix C2.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from landcover_cli.errors import InputError
from landcover_cli.io.safe_s1 import S1Product, open_measurement
from landcover_cli.sar.calibration import (
    Radiometry,
    calibrate,
    calibrate_complex,
    calibrated_noise,
    prepare_radiometry,
)
from landcover_cli.sar.noise import Denoise
from landcover_cli.sar.slc import Looks, SlcGrid, slc_grid
from landcover_cli.sar.types import Backscatter, S1Annotation, S1Channel

Float32Array = NDArray[np.float32]
COVARIANCE_PARTS = ("C11", "C22", "C12_real", "C12_imag")


@dataclass(frozen=True, slots=True, eq=False)
class SlcSource:
    """Power of one polarisation of an SLC on its multilooked grid.

    Attributes:
        grid: The grid.
        channels: The sub-swaths, near to far.
        radiometry: Tables of each.
    """

    grid: SlcGrid
    channels: tuple[S1Channel, ...]
    radiometry: tuple[Radiometry, ...]

    @property
    def shape_yx(self) -> tuple[int, int]:
        """Lines and pixels."""
        return self.grid.shape_yx

    def read(self, first_line: int, first_pixel: int, lines: int, pixels: int) -> Float32Array:
        """See `landcover_cli.io.s1_source.IntensitySource.read`.

        Raises:
            InputError: A measurement is missing or damaged.
        """
        looks = Looks(self.grid, first_line, first_pixel, (lines, pixels), 1)
        for k, (channel, tables) in enumerate(zip(self.channels, self.radiometry, strict=True)):
            where = looks.source(k)
            if where is None:
                continue
            dn = _read(channel, where)
            corner = {"first_line": where[0].start, "first_pixel": where[1].start}
            power = calibrate(dn, tables, **corner)
            signal = dn != 0
            if not signal.all():
                noise = calibrated_noise(tables, **corner, shape_yx=power.shape)
                power[~signal] = -noise[~signal]
            looks.add(k, power[None], signal)
        return looks.means()[0]


@dataclass(frozen=True, slots=True, eq=False)
class CovarianceReader:
    """C2 of two polarisations on the multilooked grid; the last window is remembered for its other parts.

    Attributes:
        co: Co-polar source.
        cross: Cross-polar source.
    """

    co: SlcSource
    cross: SlcSource
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)
    _last: dict[tuple[int, int, int, int], Float32Array] = field(default_factory=dict, repr=False)

    def read(self, first_line: int, first_pixel: int, lines: int, pixels: int) -> Float32Array:
        """[4, lines, pixels] C11, C22, real and imaginary part of C12, noise taken off the diagonal."""
        window = first_line, first_pixel, lines, pixels
        with self._lock:
            if window not in self._last:
                found = self._covariance(*window)
                self._last.clear()
                self._last[window] = found
            return self._last[window]

    def _covariance(self, first_line: int, first_pixel: int, lines: int, pixels: int) -> Float32Array:
        looks = Looks(self.co.grid, first_line, first_pixel, (lines, pixels), len(COVARIANCE_PARTS))
        for k in range(len(self.co.channels)):
            where = looks.source(k)
            if where is None:
                continue
            corner = {"first_line": where[0].start, "first_pixel": where[1].start}
            amplitude, power, signal = [], [], np.zeros((), dtype=np.bool_)
            for source in (self.co, self.cross):
                dn = _read(source.channels[k], where)
                value = calibrate_complex(dn, source.radiometry[k], **corner)
                noise = calibrated_noise(source.radiometry[k], **corner, shape_yx=value.shape)
                amplitude.append(value)
                power.append(value.real**2 + value.imag**2 - noise)
                signal = signal | (dn != 0)
            looks.add(k, np.stack([*power, *_cross(*amplitude)]).astype(np.float32), signal)
        return looks.means()


@dataclass(frozen=True, slots=True, eq=False)
class CovariancePart:
    """One real part of C2 as an image; an `IntensitySource` whose values may be negative.

    Attributes:
        reader: Where it comes from.
        index: Position in `COVARIANCE_PARTS`.
    """

    reader: CovarianceReader
    index: int

    @property
    def shape_yx(self) -> tuple[int, int]:
        """Lines and pixels."""
        return self.reader.co.shape_yx

    def read(self, first_line: int, first_pixel: int, lines: int, pixels: int) -> Float32Array:
        """[lines, pixels] of this part."""
        return self.reader.read(first_line, first_pixel, lines, pixels)[self.index]


@dataclass(frozen=True, slots=True, eq=False)
class SlcAssembly:
    """An SLC as one image.

    Attributes:
        annotation: Annotation of the multilooked image, for `radar_model`.
        sources: {polarisation: power}.
        swaths: Sub-swaths, near to far.
        looks: Lines and samples averaged.
    """

    annotation: S1Annotation
    sources: dict[str, SlcSource]
    swaths: tuple[str, ...]
    looks: tuple[int, int]

    def covariance(self) -> dict[str, CovariancePart]:
        """The four parts of C2, {name of `COVARIANCE_PARTS`: image}, ordered co-polar, cross-polar.

        Raises:
            InputError: There are not exactly a co-polar and a cross-polar channel.
        """
        co = [s for name, s in self.sources.items() if name[0] == name[1]]
        cross = [s for name, s in self.sources.items() if name[0] != name[1]]
        if len(co) != 1 or len(cross) != 1:
            raise InputError(
                f"{self.annotation.meta.product_id}: polarisations {', '.join(self.sources)}; a covariance matrix "
                "needs a co-polar and a cross-polar one",
                remedy="give a dual-polarisation SLC, with both polarisations",
            )
        reader = CovarianceReader(co[0], cross[0])
        return {name: CovariancePart(reader, k) for k, name in enumerate(COVARIANCE_PARTS)}


def open_slc(
    product: S1Product,
    polarisations: Sequence[str] | None = None,
    *,
    swaths: Sequence[str] | None = None,
    looks: tuple[int, int] = (1, 4),
    backscatter: Backscatter = "beta0",
    denoise: Denoise = "auto",
) -> SlcAssembly:
    """Open an SLC as one image.

    Args:
        product: An SLC of IW or EW.
        polarisations: Which to read; all that it holds if None.
        swaths: Which sub-swaths to merge; all that it holds if None.
        looks: Lines and samples to average.
        backscatter: What to calibrate to; terrain flattening starts from "beta0".
        denoise: See `landcover_cli.sar.noise.noise_state`.

    Returns:
        The image.

    Raises:
        InputError: It is no SLC of TOPS bursts, or a channel is missing or damaged.
        UsageError: The looks are out of range.
    """
    if product.meta.product_type != "SLC":
        raise InputError(
            f"{product.meta.product_id} is a {product.meta.product_type}, not an SLC", remedy="read it as it is"
        )
    names = tuple(polarisations) if polarisations is not None else product.polarisations
    wanted = tuple(swaths) if swaths is not None else product.swaths
    if not names or not wanted:
        raise InputError("no polarisation or no sub-swath was asked for", remedy="choose at least one of each")
    sources = {
        name: slc_source([product.channel(name, s) for s in wanted], looks, backscatter=backscatter, denoise=denoise)
        for name in names
    }
    first = sources[names[0]]
    return SlcAssembly(
        annotation=first.grid.annotation,
        sources=sources,
        swaths=tuple(c.annotation.swath for c in first.channels),
        looks=looks,
    )


def slc_source(
    channels: Sequence[S1Channel],
    looks: tuple[int, int] = (1, 4),
    *,
    backscatter: Backscatter = "beta0",
    denoise: Denoise = "auto",
) -> SlcSource:
    """Power of one polarisation from the channels of its sub-swaths; arguments and errors as in `open_slc`."""
    ordered = tuple(sorted(channels, key=lambda c: c.annotation.image.slant_range_time_s))
    return SlcSource(
        grid=slc_grid([c.annotation for c in ordered], looks),
        channels=ordered,
        radiometry=tuple(prepare_radiometry(c, backscatter=backscatter, denoise=denoise) for c in ordered),
    )


def _cross(co: NDArray[np.complex64], cross: NDArray[np.complex64]) -> tuple[Float32Array, Float32Array]:
    """Real and imaginary part of co · conj(cross), by real products.

    The complex product of numpy is fused or not by the place in memory: its last bit would depend on the window.
    """
    return co.real * cross.real + co.imag * cross.imag, co.imag * cross.real - co.real * cross.imag


def _read(channel: S1Channel, where: tuple[slice, slice]) -> NDArray[Any]:
    lines, samples = where
    with open_measurement(channel) as measurement:
        return measurement.read(lines.start, samples.start, lines.stop - lines.start, samples.stop - samples.start)

"""Thermal noise against a slow oracle that looks up one pixel at a time, over every product with noise vectors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from landcover_cli.errors import InputError, UsageError
from landcover_cli.io.safe_s1 import open_s1_product
from landcover_cli.sar.noise import noise_model, noise_power, noise_state
from landcover_cli.sar.types import NoiseAzimuthBlock, NoiseRangeVector, NoiseVectors, S1Annotation, S1Channel

GRD_331 = "pyrosar_grd_meta/S1A_IW_GRDH_1SDV_20210119T031653_20210119T031718_036201_043ED0_8255.zip"
GRD_270 = "pyrosar_grd_meta/S1A_IW_GRDH_1SDV_20150203T043109_20150203T043134_004454_00574F_6D00.zip"
GRD_236 = "pyrosar_grd_meta/S1A_IW_GRDH_1SDV_20150203T043109_20150203T043134_004454_00574F_FEC3.zip"
MOROCCO = "eo_tools_morocco/SAFE/S1A_IW_SLC__1SDV_20230904T063730_20230904T063757_050174_0609E3_DAA1.SAFE"
CHANNELS = [
    (GRD_331, "IW", "VV"),
    (GRD_331, "IW", "VH"),
    (GRD_270, "IW", "VV"),
    (GRD_270, "IW", "VH"),
    (GRD_236, "IW", "VV"),
    ("sarsen_rome/S1B_IW_GRDH_1SDV_20211223T051122_20211223T051147_030148_039993_5371.SAFE", "IW", "VV"),
    ("xarray_sentinel/S1B_IW_SLC__1SDV_20210401T052622_20210401T052650_026269_032297_EFA4.zip", "IW1", "VV"),
    ("xarray_sentinel/S1B_IW_SLC__1SDV_20210401T052622_20210401T052650_026269_032297_EFA4.zip", "IW2", "VH"),
    (MOROCCO, "IW1", "VH"),
]


@pytest.fixture
def channel(shared_data: Callable[[str], Path]) -> Callable[..., S1Channel]:
    def load(name: str, swath: str = "IW", polarisation: str = "VV") -> S1Channel:
        product = open_s1_product(shared_data(f"s1/{name}"))
        return product.channel(polarisation, swath, need_measurement=False)

    return load


def oracle(annotation: S1Annotation, noise: NoiseVectors, line: int, pixel: int) -> float:
    """Noise of one pixel, written from the definition: no table, no shared code but the line's time."""
    image, timing = annotation.image, annotation.swath_timing
    block = next(
        (b for b in noise.azimuth_blocks
         if b.first_line <= line <= b.last_line and b.first_pixel <= pixel <= b.last_pixel), None
    )  # fmt: skip
    vectors = list(noise.range_vectors)
    if timing.bursts:
        burst = timing.bursts[line // timing.lines_per_burst]
        vectors = [min(vectors, key=lambda v: abs(v.azimuth_time_s - burst.azimuth_time_s))]
        time_s = 0.0
    else:
        time_s = image.first_line_time_s + line * image.azimuth_time_interval_s
        if block is not None:
            vectors = [v for v in vectors if block.first_line <= v.line <= block.last_line]
    values = [float(np.interp(pixel, v.pixel, v.lut)) for v in vectors]
    value = float(np.interp(time_s, [v.azimuth_time_s for v in vectors], values)) if len(values) > 1 else values[0]
    return value * (float(np.interp(line, block.line, block.lut)) if block is not None else 1.0)


@pytest.mark.parametrize(("name", "swath", "polarisation"), CHANNELS)
def test_noise_equals_the_slow_oracle(
    name: str, swath: str, polarisation: str, channel: Callable[..., S1Channel]
) -> None:
    loaded = channel(name, swath, polarisation)
    lines, pixels = loaded.annotation.image.shape_yx
    model = noise_model(loaded.annotation, loaded.noise)
    rng = np.random.default_rng(5)
    y = np.concatenate([[0, lines - 1], rng.integers(0, lines, 20)])
    # Around the borders of the sub-swaths, where nodes and factors jump, and anywhere else.
    edges = [b.last_pixel for b in loaded.noise.azimuth_blocks] or [8594, 17409]
    x = np.unique(np.clip([0, pixels - 1, *(e + d for e in edges for d in (-1, 0, 1, 2)), *rng.integers(0, pixels, 9)],
                          0, pixels - 1))  # fmt: skip
    for line in y:
        got = noise_power(model, int(line), 0, (1, pixels))[0, x]
        expected = [oracle(loaded.annotation, loaded.noise, int(line), int(p)) for p in x]
        np.testing.assert_allclose(got, expected, rtol=1e-6)


def test_the_vectors_of_ipf_270_lie_on_nineteen_grids(channel: Callable[..., S1Channel]) -> None:
    assert len({v.pixel.tobytes() for v in channel(GRD_270).noise.range_vectors}) == 19


def test_any_window_gives_the_same_bits(channel: Callable[..., S1Channel]) -> None:
    for name, swath in ((GRD_331, "IW"), (MOROCCO, "IW1")):
        loaded = channel(name, swath)
        model = noise_model(loaded.annotation, loaded.noise)
        whole = noise_power(model, 1400, 8600, (200, 300))
        for y, x, shape in ((0, 0, (1, 300)), (77, 100, (50, 47)), (107, 142, (93, 1))):
            part = noise_power(model, 1400 + y, 8600 + x, shape)
            np.testing.assert_array_equal(part, whole[y : y + shape[0], x : x + shape[1]])


def test_every_burst_takes_the_vector_of_its_own_start(channel: Callable[..., S1Channel]) -> None:
    loaded = channel(MOROCCO, "IW1")
    flat = replace(loaded.noise, azimuth_blocks=())
    model = noise_model(loaded.annotation, flat)
    per_burst = loaded.annotation.swath_timing.lines_per_burst
    for number, vector in enumerate(loaded.noise.range_vectors[:9]):
        rows = noise_power(model, number * per_burst, 40, (per_burst, 1))
        np.testing.assert_array_equal(rows, vector.lut[1])


def made(channel: S1Channel, blocks: tuple[NoiseAzimuthBlock, ...], lines: tuple[int, ...] = (0, 1000)) -> NoiseVectors:
    """Two range vectors of 100 and 200 (at lines 0 and 1000 unless said otherwise) with given azimuth blocks."""
    interval = channel.annotation.image.azimuth_time_interval_s
    vectors = tuple(
        NoiseRangeVector(line * interval, line, np.array([0, 30000]), np.full(2, 100.0 * (i + 1)))
        for i, line in enumerate(lines)
    )
    return NoiseVectors(vectors, blocks)


def block(lines: tuple[int, int], pixels: tuple[int, int], *factors: float) -> NoiseAzimuthBlock:
    nodes = np.linspace(*lines, len(factors)).astype(np.int64)
    return NoiseAzimuthBlock("IW1", *lines, *pixels, nodes, np.array(factors))


def test_without_azimuth_vectors_the_factor_is_one(channel: Callable[..., S1Channel]) -> None:
    loaded = channel(GRD_331)
    model = noise_model(loaded.annotation, made(loaded, ()))
    np.testing.assert_allclose(noise_power(model, 0, 0, (1001, 1))[[0, 250, 1000], 0], [100, 125, 200])


def test_rectangles_multiply_inside_themselves_alone(channel: Callable[..., S1Channel]) -> None:
    loaded = channel(GRD_331)
    blocks = (
        block((0, 1000), (0, 99), 2.0, 4.0),
        block((0, 500), (100, 199), 3.0),
        block((501, 1000), (100, 199), 5.0),
    )
    model = noise_model(loaded.annotation, made(loaded, blocks))
    got = noise_power(model, 0, 0, (1001, 300))
    np.testing.assert_allclose(got[[0, 500, 1000], 50], [200, 450, 800])
    # Each of the two rectangles below one another holds one vector only, which then holds for all its lines.
    np.testing.assert_allclose(got[[0, 500, 501, 1000], 150], [300, 300, 1000, 1000])
    np.testing.assert_allclose(got[[0, 1000], 250], [100, 200])


def test_a_rectangle_without_a_vector_takes_the_nearest(channel: Callable[..., S1Channel]) -> None:
    loaded = channel(GRD_331)
    noise = made(loaded, (block((400, 450), (0, 99), 2.0), block((600, 700), (0, 99), 2.0)))
    got = noise_power(noise_model(loaded.annotation, noise), 400, 0, (301, 1))[:, 0]
    np.testing.assert_allclose(got[[0, 50]], 200)
    np.testing.assert_allclose(got[[200, 300]], 400)


def test_blocks_are_joined_where_they_overlap_by_the_later_one(channel: Callable[..., S1Channel]) -> None:
    loaded = channel(GRD_331)
    noise = made(loaded, (block((0, 1000), (0, 30000), 2.0), block((0, 1000), (10, 30000), 3.0)))
    got = noise_power(noise_model(loaded.annotation, noise), 0, 0, (1, 20))[0]
    np.testing.assert_allclose(got, [200.0] * 10 + [300.0] * 10)


def test_noise_is_not_removed_twice_unless_forced(channel: Callable[..., S1Channel]) -> None:
    loaded = channel(GRD_331)
    done = replace(loaded.annotation, thermal_noise_removed=True)
    assert noise_state(loaded.annotation, loaded.noise) == "removed"
    assert noise_state(done, loaded.noise) == "removed by the processor"
    assert noise_state(done, loaded.noise, "force") == "removed again"
    assert noise_state(loaded.annotation, loaded.noise, "off") == "kept"
    with pytest.raises(UsageError, match="'twice' is unknown"):
        noise_state(loaded.annotation, loaded.noise, "twice")  # type: ignore[arg-type]


def test_products_without_an_estimate_say_so(channel: Callable[..., S1Channel]) -> None:
    loaded = channel(GRD_236)
    assert noise_state(loaded.annotation, loaded.noise) == "no estimate in the product"
    empty = NoiseVectors((), ())
    with pytest.raises(InputError, match="no noise vector for IW VV"):
        noise_state(loaded.annotation, empty)
    with pytest.raises(InputError, match="no noise vector for IW VV"):
        noise_model(loaded.annotation, empty)

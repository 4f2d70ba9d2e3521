"""What every speckle filter must hold; a new filter is picked up by its file."""

from __future__ import annotations

import numpy as np
import pytest

from landcover_cli import registry
from landcover_cli.errors import ConfigError, InputError
from landcover_cli.sar.speckle import SceneReducer, SceneStatistics, SpeckleFilter, create, filter_image, haloed

LOOKS = 4.4
DATES = 4
# Bias on homogeneous speckle, as METHODS asks.
BIAS_DB = 0.05


def speckled(shape: tuple[int, ...], seed: int = 1, looks: float = LOOKS) -> np.ndarray:
    return np.random.default_rng(seed).gamma(looks, 0.02 / looks, shape).astype(np.float32)


def with_holes(image: np.ndarray, seed: int = 2) -> np.ndarray:
    rng = np.random.default_rng(seed)
    out = image.copy()
    out[rng.random(image.shape) < 0.03] = np.nan
    out[..., 5:20, 30:44] = np.nan
    return out


@pytest.mark.parametrize("name", registry.names("speckle"))
class TestSpeckleFilter:
    """The contract."""

    def make(self, name: str, image: np.ndarray) -> SpeckleFilter:
        plane = image if image.ndim == 2 else image[0]
        return create(name, looks=LOOKS).prepare(SceneStatistics(LOOKS, float(np.nanquantile(plane, 0.98))))

    def image(self, name: str, yx: tuple[int, int], seed: int = 1) -> np.ndarray:
        axes = registry.load("speckle", name).axes
        return speckled((DATES, *yx) if axes == "tyx" else yx, seed)

    def test_name_is_the_file_stem(self, name: str) -> None:
        assert registry.load("speckle", name).name == name

    def test_float32_in_and_out_and_the_interior_comes_back(self, name: str) -> None:
        image = self.image(name, (40, 33))
        out = self.make(name, image).apply(image)
        halo = self.make(name, image).halo_px
        assert out.dtype == np.float32
        assert out.shape == (*image.shape[:-2], 40 - 2 * halo, 33 - 2 * halo)

    def test_input_is_not_written_to(self, name: str) -> None:
        image = with_holes(self.image(name, (50, 60)))
        before = image.copy()
        filter_image(self.make(name, image), image)
        np.testing.assert_array_equal(image, before)

    def test_other_types_are_refused(self, name: str) -> None:
        image = self.image(name, (40, 40))
        with pytest.raises(InputError, match="float64"):
            self.make(name, image).apply(image.astype(np.float64))

    def test_block_smaller_than_its_halo_is_refused(self, name: str) -> None:
        image = self.image(name, (40, 40))
        made = self.make(name, image)
        with pytest.raises(InputError, match="halo"):
            made.apply(np.ascontiguousarray(image[..., : 2 * made.halo_px, :]))

    def test_nodata_stays_nodata_and_does_not_spread(self, name: str) -> None:
        image = with_holes(self.image(name, (64, 70)))
        out = filter_image(self.make(name, image), image)
        np.testing.assert_array_equal(np.isnan(out), np.isnan(image))

    def test_infinity_is_nodata(self, name: str) -> None:
        image = self.image(name, (30, 30))
        hole = image.copy()
        image[..., 9, 9], hole[..., 9, 9] = np.inf, np.nan
        made = self.make(name, hole)
        np.testing.assert_array_equal(filter_image(made, image), filter_image(made, hole))

    def test_all_nodata(self, name: str) -> None:
        image = np.full_like(self.image(name, (20, 20)), np.nan)
        made = create(name, looks=LOOKS).prepare(SceneStatistics(LOOKS, float("nan")))
        assert np.isnan(filter_image(made, image)).all()

    def test_one_pixel(self, name: str) -> None:
        image = self.image(name, (1, 1))[..., :1, :1] * 0 + np.float32(0.25)
        np.testing.assert_array_equal(filter_image(self.make(name, image), image), image)

    def test_constant_image_is_unchanged(self, name: str) -> None:
        image = np.full_like(self.image(name, (40, 40)), 0.0371)
        np.testing.assert_array_equal(filter_image(self.make(name, image), image), image)

    def test_zero_image_is_unchanged(self, name: str) -> None:
        image = np.zeros_like(self.image(name, (24, 24)))
        np.testing.assert_array_equal(filter_image(self.make(name, image), image), image)

    def test_negative_power_gives_finite_results(self, name: str) -> None:
        image = self.image(name, (60, 60)) - np.float32(0.018)
        assert np.isfinite(filter_image(self.make(name, image), image)).all()

    def test_unbiased_on_homogeneous_speckle(self, name: str) -> None:
        image = self.image(name, (900, 900))
        out = filter_image(self.make(name, image), image)[..., 8:-8, 8:-8].astype(np.float64)
        bias_db = 10 * np.log10(out.mean() / image[..., 8:-8, 8:-8].mean(dtype=np.float64))
        assert abs(bias_db) <= BIAS_DB

    def test_gain_of_looks_is_between_one_and_the_number_of_pixels(self, name: str) -> None:
        image = self.image(name, (400, 400))
        made = self.make(name, image)
        out = filter_image(made, image)[..., 8:-8, 8:-8].astype(np.float64)
        gain = (out.mean((-2, -1)) ** 2 / out.var((-2, -1))).mean() / LOOKS
        pixels = (2 * made.halo_px + 1) ** 2
        assert 3.0 < gain < 1.1 * pixels

    @pytest.mark.parametrize("block_px", [(17, 23), (64, 31), (7, 300), (1, 64)])
    def test_same_bits_for_any_blocks(self, name: str, block_px: tuple[int, int]) -> None:
        # Wider than a strip of the kernels, with holes, edges and bright targets.
        image = with_holes(self.image(name, (70, 300)))
        image[..., 30:34, 250:256] *= 40
        image[..., 40:, 100:] *= 5
        made = self.make(name, image)
        whole = filter_image(made, image, (1000, 1000))
        parts = filter_image(made, image, block_px)
        np.testing.assert_array_equal(parts.view(np.uint32), whole.view(np.uint32))

    def test_works_on_linear_power(self, name: str) -> None:
        # Scaling the power scales the result, to the bit for powers of two; decibels would shift instead.
        image = with_holes(self.image(name, (60, 60)))
        np.testing.assert_array_equal(
            filter_image(self.make(name, image * 8), image * 8), 8 * filter_image(self.make(name, image), image)
        )

    def test_mirrored_image_gives_mirrored_result_far_from_ties(self, name: str) -> None:
        image = self.image(name, (60, 60))
        made = self.make(name, image)
        flipped = filter_image(made, np.ascontiguousarray(image[..., ::-1, :]))[..., ::-1, :]
        np.testing.assert_allclose(flipped, filter_image(made, image), rtol=1e-6)

    def test_even_window_and_bad_looks_are_refused(self, name: str) -> None:
        with pytest.raises(ConfigError, match="window_px 6"):
            create(name, window_px=6)
        with pytest.raises(ConfigError, match="looks"):
            create(name, looks=0.0)

    def test_unknown_parameter_is_refused_with_the_known_ones(self, name: str) -> None:
        with pytest.raises(ConfigError, match="no parameter 'windw'") as caught:
            create(name, windw=7)
        assert "window_px" in caught.value.remedy

    def test_scene_statistics_bind_what_is_open(self, name: str) -> None:
        image = self.image(name, (64, 64))
        plane = image if image.ndim == 2 else image[0]
        halo = SceneReducer.halo_px
        scene = SceneReducer.empty().feed(haloed(plane, slice(0, 64), slice(0, 64), halo)).result()
        made = create(name, looks=None).prepare(scene)
        assert np.isfinite(filter_image(made, image)).all()


def test_decibels_are_refused_by_the_scene_statistics() -> None:
    power_db = 10 * np.log10(speckled((64, 64)))
    with pytest.raises(InputError, match="not linear power"):
        SceneReducer.empty().feed(power_db.astype(np.float32)).result()

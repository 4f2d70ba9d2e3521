"""What every mask plug-in must hold."""

from __future__ import annotations

import numpy as np
import pytest

from landcover_cli import registry
from landcover_cli.core.types import MASK_BAD, MASK_CLEAR, MASK_NODATA
from landcover_cli.optical.masking import ANGLES, Mask


@pytest.mark.parametrize("name", registry.names("mask"))
class TestMask:
    def test_it_is_a_mask_called_like_its_file(self, name):
        mask = registry.load("mask", name)
        assert isinstance(mask, Mask)
        assert mask.name == name
        assert mask.title
        assert mask.options({}) == dict(mask.defaults)
        assert mask.reach_m(mask.options({})) >= 0

    @pytest.mark.parametrize("gsd_m", [20.0, 60.0])
    def test_codes_of_a_window_do_not_depend_on_what_lies_beyond_its_reach(self, name, gsd_m):
        mask = registry.load("mask", name)
        if not mask.layers:
            pytest.skip("reads no layer")
        rng = np.random.default_rng(1)
        layers = {layer: rng.integers(0, 12, (80, 80)).astype("uint8") for layer in mask.layers}
        if mask.angles:
            layers |= {layer: np.full((5, 5), 30.0) for layer in ANGLES}
        options = mask.options({})
        whole = mask.compute(layers, gsd_m, options)
        assert whole.dtype == np.uint8
        assert set(np.unique(whole)) <= {MASK_NODATA, MASK_CLEAR, MASK_BAD}
        if mask.whole:
            assert whole.shape == (80, 80)
            np.testing.assert_array_equal(mask.compute(layers, gsd_m, options), whole)
            return
        reach = int(mask.reach_m(options) / gsd_m) + 1
        part = mask.compute({k: v[20 : 60 + reach, : 50 + reach] for k, v in layers.items()}, gsd_m, options)
        top = max(20 - reach, 0)
        wide = mask.compute({k: v[top : 60 + reach, : 50 + reach] for k, v in layers.items()}, gsd_m, options)
        np.testing.assert_array_equal(wide[20 - top : 60 - top, :50], whole[20:60, :50])
        assert part.shape == (40 + reach, 50 + reach)
        for layer in layers.values():
            assert layer.flags.writeable  # inputs are not kept or changed
        again = mask.compute(layers, gsd_m, options)
        np.testing.assert_array_equal(again, whole)

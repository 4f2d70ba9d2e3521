from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from landcover_cli.config.learning import PredictConfig
from landcover_cli.core.types import split_periods
from landcover_cli.core.unit import RunContext
from landcover_cli.core.windows import PixelBox
from landcover_cli.errors import ConfigError, InputError
from landcover_cli.io.cubestore import CubeWindow
from landcover_cli.learn.predict_inputs import StripReader, calendar_step, check_inputs
from landcover_cli.learn.predict_network import single_threaded
from landcover_cli.learn.predictor import Predictor, Strip
from models.spec import ModelSpec, Port

MONTHS = split_periods(date(2021, 1, 1), date(2021, 4, 1), "month")


@dataclass
class MemoryCube:
    """What a CubeSeries is to the predictor, from arrays in memory."""

    data_tbyx: np.ndarray
    valid_tyx: np.ndarray
    row0: int = 0
    col0: int = 0
    bands: tuple[str, ...] = ("a", "b", "c")
    gsd_m: float = 10.0
    kind: str = "series"
    units: str = "number"
    crs: str = "EPSG:32633"
    scale: float = 1.0
    offset: float = 0.0
    periods: tuple = MONTHS

    @property
    def dtype(self):
        return self.data_tbyx.dtype

    def read(self, bounds_m):
        box = PixelBox.from_bounds(bounds_m, self.gsd_m)
        mine = PixelBox(self.row0, self.col0, self.row0 + self.valid_tyx.shape[1], self.col0 + self.valid_tyx.shape[2])
        data = np.zeros((*self.data_tbyx.shape[:2], box.height, box.width), self.dtype)
        valid = np.zeros((len(data), box.height, box.width), bool)
        part = box.intersect(mine)
        if not part.empty:
            to, of = part.slices_in(box), part.slices_in(mine)
            valid[:, *to] = self.valid_tyx[:, *of]
            data[:, :, *to] = np.where(self.valid_tyx[:, None, *of], self.data_tbyx[:, :, *of], 0)
        return CubeWindow(data, valid, valid.astype(np.uint16) * 2, self.periods)


def spec_of(ports, classes: int, patch: int = 16, **more) -> ModelSpec:
    entries = tuple({"code": k * 10, "name": f"c{k}", "color": "#000000", "description": ""} for k in range(classes))
    return ModelSpec("test", {}, tuple(ports), entries, {"id": "l", "version": "1"}, 10.0, patch, 0, **more)


PORT = Port("s2", "series", ("a", "b", "c"), 10.0, "number")


class Identity(nn.Module):
    """Logits are the mean over valid dates, so that a one-hot input comes out as it went in."""

    def forward(self, inputs):
        item = next(iter(inputs.values()))
        seen = item.valid.unsqueeze(2).float()
        return 30 * (item.data * seen).sum(1) / seen.sum(1).clamp_min(1)


class Series(nn.Module):
    """A small network that looks around itself and down the dates, and sees its window's rim."""

    def __init__(self, ports, classes):
        super().__init__()
        torch.manual_seed(1)
        self.layers = nn.ModuleDict({port.name: nn.Conv2d(len(port.bands) + 1, 12, 5, padding=2) for port in ports})
        self.mix = nn.Linear(12, 12)
        self.head = nn.Conv2d(12, classes, 3, padding=1)

    def forward(self, inputs):
        total = 0.0
        for name, layer in self.layers.items():
            item = inputs[name]
            x = torch.cat([item.data * item.valid.unsqueeze(2), item.valid.unsqueeze(2).float()], 2)
            y = layer(x.flatten(0, 1)).relu().unflatten(0, x.shape[:2])
            y = (y * item.present[:, :, None, None, None]).mean(1)
            total = total + nn.functional.interpolate(y, size=(8, 8), mode="bilinear")
        return self.head(self.mix(total.movedim(1, -1)).movedim(-1, 1).relu()) * 9


def one_hot_cube(height: int, width: int, row0: int, col0: int, classes: int = 3, share: float = 0.6, seed: int = 0):
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, classes, (height, width))
    data = np.repeat((np.arange(classes)[:, None, None] == truth)[None], 3, axis=0).astype(np.float32)
    valid = rng.random((3, height, width)) < share
    bands = tuple("abcdefgh"[:classes])
    return MemoryCube(data, valid, row0, col0, bands), truth


def assemble(strips, box: PixelBox) -> dict[str, np.ndarray]:
    """Strips → whole arrays; every pixel must come exactly once."""
    found: dict[str, np.ndarray] = {}
    count = np.zeros((box.height, box.width), int)
    for strip in strips:
        assert isinstance(strip, Strip)
        cut = strip.box.slices_in(box)
        count[cut] += 1
        layers = {
            "class": strip.class_yx,
            "confidence": strip.confidence_yx,
            "validity": strip.validity_byx,
            "probabilities": strip.probabilities_byx,
        }
        for name, values in layers.items():
            if values is not None:
                whole = found.setdefault(name, np.zeros((*values.shape[:-2], box.height, box.width), values.dtype))
                whole[..., cut[0], cut[1]] = values
    assert (count == 1).all()
    return found


def same(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> bool:
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)


def predict(predictor: Predictor, box: PixelBox, inside=None, **context) -> dict[str, np.ndarray]:
    return assemble(predictor.strips(box, RunContext(**context), inside), box)


@given(
    st.integers(1, 50),
    st.integers(1, 50),
    st.tuples(st.integers(-60, 60), st.integers(-60, 60)),
    st.sampled_from([8, 15, 16]),
    st.data(),
    st.sampled_from(["linear", "hann", "trim"]),
)
def test_an_identity_model_returns_its_input(height, width, corner, patch, data, blend):
    cube, truth = one_hot_cube(height, width, *corner)
    stride = data.draw(st.integers(1, patch))
    spec = spec_of([PORT], 3, patch)
    config = PredictConfig(stride_px=stride, blend=blend, batch=data.draw(st.integers(1, 5)), probabilities=True)
    box = PixelBox(*corner, corner[0] + height, corner[1] + width)
    result = predict(Predictor(spec, Identity(), {"s2": cube}, config), box)
    observed = cube.valid_tyx.any(0)
    assert np.array_equal(result["class"], np.where(observed, truth, 255))
    assert np.array_equal(result["confidence"], np.where(observed, 250, 255))
    assert np.array_equal(result["validity"][0], 2 * cube.valid_tyx.sum(0))
    one = np.where(np.arange(3)[:, None, None] == truth, 250, 0)
    assert np.array_equal(result["probabilities"], np.where(observed, one, 255))


def test_a_model_that_codes_positions_shows_no_seam():
    """Inputs carry a slope over the whole area; the probability must be the sigmoid of it, window or no window."""
    height, width, corner = 70, 90, (-33, 41)
    slope = np.add.outer(np.linspace(-2, 0, height), np.linspace(0, 3, width)).astype(np.float32)
    data = np.repeat(np.stack([slope / 30, 0 * slope])[None], 3, axis=0)
    cube = MemoryCube(data, np.ones((3, height, width), bool), *corner, bands=("a", "b"))
    port = replace(PORT, bands=("a", "b"))
    box = PixelBox(*corner, corner[0] + height, corner[1] + width)
    expected = np.rint(250 / (1 + np.exp(-slope)))
    for blend in ("linear", "hann", "trim"):
        for stride in (5, 12, 16):
            config = PredictConfig(stride_px=stride, blend=blend, probabilities=True)
            result = predict(Predictor(spec_of([port], 2), Identity(), {"s2": cube}, config), box)
            assert np.abs(result["probabilities"][0] - expected).max() <= 1
            assert (result["probabilities"][0] != expected).mean() < 1e-3


SPEC = spec_of([PORT, Port("dem", "image", ("z",), 20.0, "m", optional=True)], 5)


def rich(seed: int = 0, **more):
    rng = np.random.default_rng(seed)
    data = rng.standard_normal((3, 3, 75, 83)).astype(np.float32)
    valid = rng.random((3, 75, 83)) < 0.5
    valid[:, 20:52, 30:70] = False
    dem = rng.standard_normal((1, 1, 44, 48)).astype(np.float32)
    cubes = {
        "s2": MemoryCube(data, valid, -32, 21),
        "dem": MemoryCube(dem, np.ones((1, 44, 48), bool), -18, 8, ("z",), 20.0, "image", "m", periods=()),
    }
    config = PredictConfig(**{"batch": 4, "probabilities": True, **more})
    return Predictor(SPEC, Series(SPEC.ports, 5).eval(), cubes, config)


BOX = PixelBox(-32, 21, 43, 104)


@pytest.mark.parametrize("blend", ["linear", "hann", "trim"])
def test_a_pixel_does_not_depend_on_the_box_the_threads_the_memory_or_the_batch_neighbours(blend):
    predictor = rich(blend=blend)
    whole = predict(predictor, BOX)
    assert len(np.unique(whole["class"])) > 3
    for threads, memory in ((2, 2**31), (3, 1), (1, 1)):
        assert same(predict(rich(blend=blend), BOX, threads=threads, memory_bytes=memory), whole)
    for part in (
        PixelBox(-32, 21, -31, 22),
        PixelBox(42, 103, 43, 104),
        PixelBox(-5, 50, 30, 77),
        PixelBox(3, 21, 4, 104),
    ):
        rows, cols = part.slices_in(BOX)
        cut = {name: values[..., rows, cols] for name, values in whole.items()}
        assert same(predict(rich(blend=blend), part), cut)


_WHOLE: dict[str, np.ndarray] = {}


@given(st.integers(-40, 50), st.integers(10, 110), st.integers(1, 40), st.integers(1, 40))
def test_any_cut_of_the_area_gives_the_same_pixels(row, col, height, width):
    predictor = rich()
    whole_box = PixelBox(-60, 0, 100, 160)
    if not _WHOLE:
        _WHOLE.update(predict(predictor, whole_box))
    part = PixelBox(row, col, row + height, col + width)
    rows, cols = part.slices_in(whole_box)
    assert same(predict(predictor, part), {name: values[..., rows, cols] for name, values in _WHOLE.items()})


def test_columns_are_cut_where_memory_is_short_and_change_nothing():
    rng = np.random.default_rng(0)
    data = rng.standard_normal((3, 3, 20, 1200)).astype(np.float32)
    cube = MemoryCube(data, np.ones((3, 20, 1200), bool))
    spec = spec_of([PORT], 4)
    predictor = Predictor(spec, Series(spec.ports, 4).eval(), {"s2": cube}, PredictConfig(batch=4))
    box = PixelBox(0, 0, 20, 1200)
    assert predictor.memory_plan(box, 1).column_px == 512
    assert predictor.memory_plan(box, 1).window_rows == 1
    assert predictor.memory_plan(box, 2**33).column_px == 1200
    assert same(predict(predictor, box, memory_bytes=1), predict(predictor, box))


def test_threads_of_several_predictions_at_once_give_the_same_bytes():
    from concurrent.futures import ThreadPoolExecutor

    torch.set_num_threads(2)
    serial = predict(rich(), BOX)
    predictors = [rich() for _ in range(4)]
    with ThreadPoolExecutor(3) as pool:
        results = list(
            pool.map(lambda item: predict(item[1], BOX, threads=item[0]), zip([1, 2, 1, 2], predictors, strict=True))
        )
    assert all(same(result, serial) for result in results)
    assert torch.get_num_threads() == 2


def test_the_thread_setting_comes_back_after_an_error():
    torch.set_num_threads(2)
    with pytest.raises(RuntimeError), single_threaded():
        assert torch.get_num_threads() == 1
        raise RuntimeError
    assert torch.get_num_threads() == 2


def test_ground_that_no_series_saw_is_nodata_though_the_terrain_is_known():
    result = predict(rich(), BOX)
    assert (result["class"][20:52, 30:70] == 255).all()
    assert (result["confidence"][20:52, 30:70] == 255).all()
    assert (result["probabilities"][:, 20:52, 30:70] == 255).all()
    assert (result["validity"][0, 20:52, 30:70] == 0).all()
    outside = predict(rich(), PixelBox(500, 500, 530, 540))
    assert (outside["class"] == 255).all()


def test_windows_without_anything_to_map_are_not_run():
    class Counting(Identity):
        seen = 0

        def forward(self, inputs):
            Counting.seen += 1
            return super().forward(inputs)

    cube, _ = one_hot_cube(64, 64, 0, 0)
    cube.valid_tyx[:, :, 20:] = False
    predictor = Predictor(spec_of([PORT], 3), Counting(), {"s2": cube}, PredictConfig(batch=1, stride_px=16))
    predict(predictor, PixelBox(0, 0, 64, 64))
    assert Counting.seen == 4 * 2
    Counting.seen = 0

    def inside(box: PixelBox) -> np.ndarray:
        mask = np.zeros((box.height, box.width), bool)
        rows, cols = PixelBox(0, 0, 1, 1).intersect(box).slices_in(box)
        mask[rows, cols] = True
        return mask

    result = predict(predictor, PixelBox(0, 0, 64, 64), inside)
    assert Counting.seen == 1
    assert (result["class"][1:] == 255).all()


def test_an_optional_input_that_is_missing_counts_as_not_observed():
    cubes = dict(rich().cubes)
    blind = MemoryCube(
        np.zeros((1, 1, 9, 9), np.float32), np.zeros((1, 9, 9), bool), 0, 0, ("z",), 20.0, "image", "m", periods=()
    )
    network = Series(SPEC.ports, 5).eval()
    config = PredictConfig(batch=4)
    without = predict(Predictor(SPEC, network, {"s2": cubes["s2"]}, config), BOX)
    assert same(without, predict(Predictor(SPEC, network, {"s2": cubes["s2"], "dem": blind}, config), BOX))


def test_values_without_a_logarithm_are_no_observation():
    cube, _ = one_hot_cube(20, 20, 0, 0, share=2)
    cube.data_tbyx = cube.data_tbyx + 1
    cube.data_tbyx[:, 1, 3, 4] = 0
    cube.data_tbyx[:, 2, 3, 5] = np.nan
    port = replace(PORT, transform="db")
    result = predict(Predictor(spec_of([port], 3), Identity(), {"s2": cube}, PredictConfig()), PixelBox(0, 0, 20, 20))
    assert np.argwhere(result["class"] == 255).tolist() == [[3, 4], [3, 5]]


def test_inputs_of_finer_and_coarser_pixels_are_counted_on_the_outputs_grid():
    fine = MemoryCube(np.ones((3, 3, 8, 8), np.float32), np.zeros((3, 8, 8), bool), gsd_m=5.0)
    fine.valid_tyx[1, 5, 2] = True
    coarse = MemoryCube(np.ones((3, 3, 2, 2), np.float32), np.zeros((3, 2, 2), bool), gsd_m=20.0)
    coarse.valid_tyx[:, 0, 1] = True
    ports = [replace(PORT, name="fine", gsd_m=5.0), replace(PORT, name="coarse", gsd_m=20.0)]
    strip = StripReader(spec_of(ports, 3), {"fine": fine, "coarse": coarse}).read(PixelBox(0, 0, 4, 4))
    assert np.argwhere(strip.n_clear_byx[0]).tolist() == [[2, 1]]
    assert strip.n_clear_byx[1].tolist() == [[0, 0, 6, 6], [0, 0, 6, 6], [0, 0, 0, 0], [0, 0, 0, 0]]
    assert np.argwhere(strip.observed_yx).tolist() == [[0, 2], [0, 3], [1, 2], [1, 3], [2, 1]]


def test_more_than_254_classes_are_written_as_uint16():
    cube = MemoryCube(np.zeros((1, 1, 9, 9), np.float32), np.ones((1, 9, 9), bool), bands=("a",), periods=MONTHS[:1])

    class Last(nn.Module):
        def forward(self, inputs):
            out = torch.zeros(len(inputs["s2"].data), 300, 8, 8)
            out[:, 299] = 40
            return out

    port = replace(PORT, bands=("a",))
    cube.valid_tyx[:, 0, 0] = False
    result = predict(Predictor(spec_of([port], 300), Last(), {"s2": cube}, PredictConfig()), PixelBox(0, 0, 9, 9))
    assert result["class"].dtype == np.uint16
    assert result["class"][0, 0] == 65535
    assert result["class"][1, 1] == 299


def test_equal_probabilities_give_the_first_class():
    cube, _ = one_hot_cube(20, 20, 0, 0, share=2)
    cube.data_tbyx[:] = 0.5
    result = predict(Predictor(spec_of([PORT], 3), Identity(), {"s2": cube}, PredictConfig()), PixelBox(0, 0, 20, 20))
    assert (result["class"] == 0).all()
    assert np.abs(result["confidence"].astype(int) - 83).max() <= 1


def test_temperature_divides_the_logits():
    cube, truth = one_hot_cube(20, 20, 0, 0, share=2)
    spec = spec_of([PORT], 3, temperature=30.0)
    result = predict(Predictor(spec, Identity(), {"s2": cube}, PredictConfig()), PixelBox(0, 0, 20, 20))
    assert (result["class"] == truth).all()
    assert (result["confidence"] == round(250 * np.e / (np.e + 2))).all()


def test_a_network_that_gives_no_number_is_an_error():
    class Broken(Identity):
        def forward(self, inputs):
            return super().forward(inputs) * float("nan")

    cube, _ = one_hot_cube(20, 20, 0, 0)
    with pytest.raises(InputError, match="NaN"):
        predict(Predictor(spec_of([PORT], 3), Broken(), {"s2": cube}, PredictConfig()), PixelBox(0, 0, 20, 20))


def test_a_network_whose_windows_see_each_other_goes_window_by_window(caplog):
    class Leaky(Identity):
        def forward(self, inputs):
            out = super().forward(inputs)
            return out + torch.arange(len(out))[:, None, None, None] * torch.tensor([1e-3, 0, 0])[:, None, None]

    predictor = Predictor(spec_of([PORT], 3), Leaky(), {"s2": one_hot_cube(40, 40, 0, 0)[0]}, PredictConfig())
    predict(predictor, PixelBox(0, 0, 40, 40))
    assert predictor.batch == 1
    assert "window by window" in caplog.text


def test_bfloat16_is_the_same_for_any_cut():
    whole = predict(rich(precision="bfloat16"), BOX)
    part = PixelBox(-5, 50, 30, 77)
    rows, cols = part.slices_in(BOX)
    cut = {name: values[..., rows, cols] for name, values in whole.items()}
    assert same(predict(rich(precision="bfloat16"), part, threads=2), cut)


def test_a_run_that_was_asked_to_stop_stops():
    with pytest.raises(KeyboardInterrupt):
        predict(rich(), BOX, cancelled=lambda: True)


def cube_like(**changes) -> MemoryCube:
    return replace(one_hot_cube(8, 8, 0, 0)[0], **changes)


@pytest.mark.parametrize(
    ("cubes", "message"),
    [
        (
            {"s2": cube_like(bands=("a", "b", "x"))},
            r"bands: the model has a, b, c, the cube has a, b, x \(missing: c\)",
        ),
        ({"s2": cube_like(gsd_m=20.0)}, "pixel size: the model has 10 m, the cube has 20 m"),
        ({"s2": cube_like(units="gamma0_db")}, "units: the model has number, the cube has gamma0_db"),
        ({"s2": cube_like(kind="image")}, "kind: the model has series, the cube has image"),
        (
            {"s2": cube_like(periods=split_periods(date(2021, 1, 1), date(2021, 1, 31), "10d"))},
            "month, the cube has steps of 10d",
        ),
        ({"s2": cube_like(), "s3": cube_like()}, "no input 's3'; its inputs are s2"),
        ({}, "no cube is given"),
    ],
)
def test_a_cube_that_does_not_fit_is_named_with_both_sides(cubes, message):
    with pytest.raises(InputError, match=message):
        check_inputs(spec_of([PORT], 3, calendar={"step": "month", "length": 3}), cubes)


def test_a_missing_input_a_fixed_length_and_two_crs_are_refused():
    two = [PORT, replace(PORT, name="s1")]
    with pytest.raises(InputError, match="the model needs input 's1'"):
        check_inputs(spec_of(two, 3), {"s2": cube_like()})
    with pytest.raises(InputError, match="number of dates: the model has 12, the cube has 3"):
        check_inputs(spec_of([replace(PORT, length=12)], 3), {"s2": cube_like()})
    with pytest.raises(InputError, match="different CRS"):
        check_inputs(spec_of(two, 3), {"s2": cube_like(), "s1": cube_like(crs="EPSG:32632")})
    with pytest.raises(InputError, match="nothing to map"):
        check_inputs(
            spec_of([replace(PORT, optional=True), Port("dem", "image", ("a", "b", "c"), 10.0, "number")], 3),
            {"dem": cube_like(kind="image", periods=())},
        )


def test_strides_and_patches_that_cut_input_pixels_are_refused():
    spec = spec_of([replace(PORT, gsd_m=20.0)], 3)
    with pytest.raises(ConfigError, match=r"stride of 5 px .* cuts input pixels"):
        Predictor(spec, Identity(), {"s2": cube_like(gsd_m=20.0)}, PredictConfig(stride_px=5))
    assert (
        Predictor(
            replace(spec, patch_px=18), Identity(), {"s2": cube_like(gsd_m=20.0)}, PredictConfig()
        ).lattice.stride_px
        == 12
    )
    with pytest.raises(InputError, match="patch of 15 px"):
        Predictor(replace(spec, patch_px=15), Identity(), {"s2": cube_like(gsd_m=20.0)}, PredictConfig())


def test_calendars_are_named_by_their_step():
    assert calendar_step(MONTHS) == "month"
    assert calendar_step(split_periods(date(2021, 1, 1), date(2021, 3, 1), "10d")) == "10d"
    assert calendar_step(()) == "none"

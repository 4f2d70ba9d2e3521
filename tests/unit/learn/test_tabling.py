"""A table of series trains a model without any raster; nothing of it is lost without being said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from typer.testing import CliRunner

from landcover_cli.cli.app import app
from landcover_cli.config.labels import TableConfig
from landcover_cli.errors import ConfigError, InputError, LcError
from landcover_cli.io.patchindex import read_index
from landcover_cli.io.patchstore import PatchStore
from landcover_cli.io.seriestable import read_series_table
from landcover_cli.learn.modelfolder import read_spec

LEGEND = {"id": "t", "classes": {10: "early", 20: "late"}}
DESCRIPTION: dict[str, Any] = {
    "path": "points.csv", "id": "point", "time": "day", "label": "crop", "group": "cell", "weight": "sure",
    "ignore": [99], "period": {"start": "2021-03", "end": "2021-08"},
    "sources": {
        "s2": {"bands": {"B04": "red", "B08": "nir"}, "scale": 1e-4, "nodata": [65535]},
        "s1": {"bands": {"VV": "vv"}, "exponent": 2, "units": "sigma0_linear", "optional": True},
        "dem": {"bands": {"elevation": "height"}, "kind": "image", "units": "m"},
    },
}  # fmt: skip


def frame(points: int = 60, seed: int = 0) -> pd.DataFrame:
    """Two rows a month; class 10 is bright in April, class 20 in July."""
    rng = np.random.default_rng(seed)
    rows = []
    for point in range(points):
        late = point % 2
        for half in range(12):
            peak = np.exp(-((half / 2 - (4 if late else 1)) ** 2))
            rows.append({
                "point": f"p{point:03}", "day": f"2021-{3 + half // 2:02}-{1 + 14 * (half % 2):02}",
                "lon": 20.0 + 0.01 * (point % 10), "lat": 50.0 + 0.01 * (point // 10), "crop": 20 if late else 10,
                "cell": f"c{point // 6}", "sure": 0.5 if point == 3 else 1.0,
                "red": 65535 if rng.random() < 0.1 else int(500 + 100 * rng.random()),
                "nir": int(2000 + 3000 * peak + 200 * rng.random()), "vv": 0.3 + 0.3 * peak, "height": 200.0 + point,
            })  # fmt: skip
    return pd.DataFrame(rows)


def write(folder: Path, table: pd.DataFrame, **changes: Any) -> Path:
    folder.mkdir(exist_ok=True)
    table.to_csv(folder / "points.csv", index=False)
    (folder / "points.yaml").write_text(yaml.safe_dump(DESCRIPTION | changes))
    (folder / "legend.yaml").write_text(yaml.safe_dump(LEGEND))
    return folder


def lc(*args: object) -> Any:
    found = CliRunner().invoke(app, ["-q", *map(str, args)], catch_exceptions=False)
    assert found.exit_code == 0, found.output
    return json.loads(found.stdout)


def tile(folder: Path, *args: object, out: str = "patches") -> Any:
    return lc("tile", "--table", folder / "points.yaml", "--legend", folder / "legend.yaml", "--out", folder / out,
              "--json", *args)  # fmt: skip


def test_rows_of_a_period_are_averaged_as_a_plain_table_says(tmp_path: Path) -> None:
    table = frame(8)
    write(tmp_path, table)
    found = read_series_table(TableConfig.model_validate(DESCRIPTION), tmp_path)
    assert found.ids == tuple(f"p{i:03}" for i in range(8))
    good = table[table.red != 65535].assign(month=table.day.str[5:7].astype(int) - 3)
    expected = good.groupby(["point", "month"])[["red", "nir"]].mean() * 1e-4
    for (point, month), row in expected.iterrows():
        np.testing.assert_allclose(found.series["s2"].data_ntb[int(point[1:]), month], row, rtol=1e-6)
    assert found.series["s2"].valid_nt.sum() == len(expected)
    vv = table.assign(month=table.day.str[5:7]).groupby(["point", "month"]).vv.apply(lambda v: (v**2).mean())
    np.testing.assert_allclose(found.series["s1"].data_ntb[..., 0].ravel(), vv, rtol=1e-6)
    np.testing.assert_allclose(found.series["dem"].data_ntb[:, 0, 0], 200.0 + np.arange(8))
    assert found.weights.tolist() == [1, 1, 1, 0.5, 1, 1, 1, 1]


def test_a_table_becomes_a_model_that_can_map(tmp_path: Path) -> None:
    folder = write(tmp_path / "t", frame())
    counts = tile(folder, "--split", "attribute")
    assert counts["train"] > 20
    index, store = read_index(folder / "patches"), PatchStore(folder / "patches")
    assert store.patch_px == 1
    cells: dict[str, set[str]] = {}
    labels = {record.box: record for record in index}
    assert len(labels) == len(index) == 60
    assert {float(np.max(store.read(i).weights_yx)) for i in range(60)} == {0.5, 1.0}  # type: ignore[arg-type]
    for record, point in zip(sorted(index, key=lambda r: (-r.box.row0, r.box.col0)), range(60), strict=True):
        cells.setdefault(f"c{point // 6}", set()).add(record.split)
        assert record.class_px == ((0, 1) if point % 2 else (1, 0))
    assert all(len(splits) == 1 for splits in cells.values())
    train = ["train", folder / "patches", "--epochs", 8, "--batch", 8, "--set", "threads=1", "--json"]
    tiny = ["--model", "pixel_ltae", "--set", "options.width=16", "--set", "options.heads=4"]
    metrics = lc(*train, *tiny, "--out", folder / "model")
    assert metrics["test"]["overall_accuracy"] > 0.9
    spec = read_spec(folder / "model")
    assert (spec.patch_px, spec.halo_px, spec.calendar) == (64, 0, {"step": "month", "length": 6})
    assert [(port.name, port.transform, port.optional) for port in spec.ports] == [
        ("dem", "none", False), ("s1", "db", True), ("s2", "none", False),
    ]  # fmt: skip
    with pytest.raises(ConfigError, match="'fusion_utae' looks at a pixel's neighbours") as error:
        lc(*train, "--out", folder / "other")
    assert "pixel_ltae" in error.value.remedy


def test_what_is_left_out_is_counted(tmp_path: Path) -> None:
    table = frame(40)
    table["crop"] = table.crop.astype(object)
    table.loc[table.point == "p000", "crop"] = None
    table.loc[table.point == "p001", "crop"] = 99
    table.loc[table.point == "p002", "red"] = 65535
    table.loc[table.point == "p002", "vv"] = np.nan
    table.loc[(table.point == "p004") & (table.day < "2021-04"), "day"] = "2020-01-01"
    folder = write(tmp_path / "t", table)
    tile(folder, "--split", "random")
    facts = json.loads((folder / "patches" / "patches.json").read_text())["points"]
    assert facts == {"unlabelled": 1, "ignored": 1, "unobserved": 1, "rows_outside_the_period": 2}
    assert len(read_index(folder / "patches")) == 37


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda t: t.drop(columns="nir"), "has no column 'nir'"),
        (lambda t: t.assign(day="soon"), "column 'day' holds what is no day"),
        (lambda t: t.assign(day=20210301), "column 'day' holds what is no day"),
        (lambda t: t.assign(nir=t.nir.astype(object).where(t.index != 5, "x")), "column 'nir' holds 'x', which is no"),
        (lambda t: t.assign(crop=t.index % 3), "rows of point 'p000' disagree about 'crop'"),
        (lambda t: t.assign(lat=95.0), "has no place in EPSG:4326"),
        (lambda t: t.assign(sure=-1), "column 'sure' holds what is no weight"),
        (lambda t: t.assign(crop=7), "label value 7 not in legend"),
        (lambda t: t.assign(day="2019-01-01"), "no row lies in the period"),
        (lambda t: t.iloc[:0], "holds no row"),
    ],
)  # fmt: skip
def test_bad_tables_are_refused(tmp_path: Path, change: Any, match: str) -> None:
    folder = write(tmp_path / "t", change(frame(6)))
    with pytest.raises(InputError, match=match):
        tile(folder, "--split", "random")
    assert not (folder / "patches").exists()


def test_bad_descriptions_are_refused(tmp_path: Path) -> None:
    folder = write(tmp_path / "t", frame(6), lable="crop")
    with pytest.raises(LcError, match=r"unknown key `table\.lable`"):
        tile(folder)
    write(folder, frame(6), group=None)
    with pytest.raises(InputError, match="has no `group`"):
        tile(folder, "--split", "attribute")
    with pytest.raises(LcError, match="--table goes without"):
        tile(folder, "--labels", "x.tif")
    with pytest.raises(LcError, match="which labels, and which cubes"):
        lc("tile", "--legend", folder / "legend.yaml", "--out", folder / "x")


def test_a_model_of_a_table_maps_a_cube(tmp_path: Path) -> None:
    """Values of some pixels of a cube, written as a table, train a model that knows the others."""
    import torch
    from synthetic_cubes import BOX, CRS, make_ground

    from landcover_cli.io.cubestore import CubeSeries
    from landcover_cli.learn.batch import collate, window_to_arrays
    from landcover_cli.learn.modelfolder import load_model
    from landcover_cli.learn.predict_inputs import check_inputs

    ground = make_ground(tmp_path / "ground")
    cube = CubeSeries.open(ground.cubes["s2"])
    window = cube.read(BOX.bounds_m(10.0))
    rng = np.random.default_rng(0)
    rows = [
        {"point": f"p{n}", "day": period.middle.isoformat(),
         "lon": 10 * (BOX.col0 + col) + 5, "lat": -10 * (BOX.row0 + row) - 5,
         "crop": 10 + 10 * int(ground.classes_yx[row, col] > 0), "cell": f"c{n % 9}", "sure": 1.0,
         "red": window.data_tbyx[t, 0, row, col], "nir": window.data_tbyx[t, 1, row, col]}
        for n, (row, col) in enumerate(rng.integers(0, 96, (160, 2)).tolist())
        for t, period in enumerate(window.periods) if window.valid_tyx[t, row, col]
    ]  # fmt: skip
    s2 = {"bands": {"B04": "red", "B08": "nir"}, "scale": 1e-4, "offset": -0.1}
    folder = write(tmp_path / "t", pd.DataFrame(rows), crs=CRS, sources={"s2": s2})
    tile(folder, "--split", "random")
    tiny = ["--model", "pixel_ltae", "--set", "options.width=16", "--set", "options.heads=4", "--set", "threads=1"]
    lc("train", folder / "patches", "--out", folder / "model", "--epochs", 12, "--batch", 16, "--json", *tiny)
    spec, network = load_model(folder / "model")
    check_inputs(spec, {"s2": cube})
    inputs = collate([{"s2": window_to_arrays(window, spec.ports[0], cube)}])
    with torch.inference_mode():
        found = network(inputs).argmax(1)[0].numpy()
    assert (found == (ground.classes_yx > 0)).mean() > 0.85

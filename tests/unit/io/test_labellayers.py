"""Several label sources: priority, weights, days of validity; nothing is lost without being said."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import rasterio
import shapely
from typer.testing import CliRunner

from landcover_cli.core.grid import geobox_from_bounds
from landcover_cli.core.types import Period
from landcover_cli.core.windows import PixelBox
from landcover_cli.errors import InputError, LcError
from landcover_cli.io.labellayers import LabelLayers, weights_path, write_layers_whole
from landcover_cli.io.labelmosaic import WeightMosaic
from landcover_cli.io.labelsource import LabelSource
from landcover_cli.labels.legend import Legend, LegendClass

X0, Y0 = 500_000.0, 5_000_000.0
GRID = geobox_from_bounds((X0, Y0, X0 + 80, Y0 + 80), 10.0, "EPSG:32631")
LEGEND = Legend("t", "1", tuple(LegendClass(code, f"c{code}", "#000000") for code in (1, 2, 3)))


def box(col: int, row: int, width: int, height: int) -> Any:
    return shapely.box(X0 + 10 * col, Y0 + 80 - 10 * (row + height), X0 + 10 * (col + width), Y0 + 80 - 10 * row)


def write(path: Path, shapes: list[Any], **columns: list[Any]) -> Path:
    geopandas.GeoDataFrame(columns, geometry=shapes, crs=32631).to_file(path)
    return path


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    first = write(tmp_path / "first.gpkg", [box(0, 0, 4, 4)], code=[1])
    second = write(tmp_path / "second.gpkg", [box(2, 0, 4, 4), box(0, 4, 2, 2)], code=[2, 1], sure=[0.5, None])
    return {"first": first, "second": second}


def layers(files: dict[str, Path], order: tuple[str, ...], **second: Any) -> LabelLayers:
    extra = {"second": second}
    return LabelLayers(
        tuple(LabelSource(files[name], LEGEND, attribute="code", **extra.get(name, {})) for name in order)
    )


def test_the_first_source_wins_and_what_was_overruled_is_counted(files: dict[str, Path]) -> None:
    both = layers(files, ("first", "second"))
    index, weight, facts = both.read_weighted(GRID)
    expected = np.full((8, 8), 255, np.uint8)
    expected[:4, 2:6] = 1
    expected[4:6, :2] = 0
    expected[:4, :4] = 0
    np.testing.assert_array_equal(index, expected)
    assert weight is None
    assert facts.class_px == (20, 8, 0)
    assert both.to_list() == [
        {"used_px": 16, "agreed_px": 0, "overruled_px": 0},
        {"used_px": 12, "agreed_px": 0, "overruled_px": 8},
    ]
    index, _, _ = layers(files, ("second", "first")).read_weighted(GRID)
    expected[:4, 2:6] = 1
    np.testing.assert_array_equal(index, expected)


def test_weights_of_a_source_and_of_its_features(files: dict[str, Path], tmp_path: Path) -> None:
    weighted = layers(files, ("first", "second"), weight=0.4, weight_attribute="sure")
    write_layers_whole(tmp_path / "l.tif", GRID, weighted)
    with rasterio.open(weights_path(tmp_path / "l.tif")) as file:
        weight = file.read(1)
    expected = np.full((8, 8), np.nan, np.float32)
    expected[:4, :4] = 1.0
    expected[:4, 4:6] = 0.4 * 0.5
    expected[4:6, :2] = 0.4
    np.testing.assert_allclose(weight, expected, rtol=1e-6)
    with WeightMosaic([tmp_path / "l.tif"]) as mosaic:
        assert mosaic.found
        row, col = -int((Y0 + 80) / 10), int(X0 / 10)
        found = mosaic.read(PixelBox(row, col + 3, row + 2, col + 9))
    np.testing.assert_allclose(found, [[1, 0.2, 0.2, 1, 1, 1]] * 2, rtol=1e-6)
    # Weights of an older run do not outlive it.
    write_layers_whole(tmp_path / "l.tif", GRID, layers(files, ("first", "second")))
    assert not weights_path(tmp_path / "l.tif").exists()


def test_of_points_in_a_pixel_the_heaviest_counts(tmp_path: Path) -> None:
    points = [shapely.Point(X0 + 5, Y0 + 5), shapely.Point(X0 + 6, Y0 + 6), shapely.Point(X0 + 15, Y0 + 5)]
    path = write(tmp_path / "p.gpkg", points, code=[1, 1, 2], w=[0.2, 0.7, 0.3])
    index, weight, _ = LabelSource(path, LEGEND, attribute="code", weight_attribute="w").read_weighted(GRID)
    assert weight is not None
    assert index[7, :2].tolist() == [0, 1]
    np.testing.assert_allclose(weight[7, :2], [0.7, 0.3])


def test_labels_hold_for_their_days(tmp_path: Path) -> None:
    path = write(
        tmp_path / "d.gpkg",
        [box(0, 0, 2, 2), box(2, 0, 2, 2), box(4, 0, 2, 2), box(6, 0, 2, 2)],
        code=[1, 2, 3, 1],
        begin=["2020-01-01", "2021-06-30", None, "2022-01-01"],
        end=["2020-12-31", None, "2021-01-01T10:00:00", None],
    )
    period = Period(date(2021, 1, 1), date(2022, 1, 1))
    source = LabelSource(path, LEGEND, attribute="code", valid_from="begin", valid_to="end", period=period)
    index, facts = source.read(GRID)
    assert index[0].tolist() == [255, 255, 1, 1, 2, 2, 255, 255]
    assert facts.out_of_date == 2
    assert facts.to_dict(LEGEND)["out_of_date_features"] == 2
    assert "2 label features do not hold for the period and were left out" in facts.warnings()
    without = LabelSource(path, LEGEND, attribute="code", valid_from="begin", valid_to="end")
    assert without.read(GRID)[1].out_of_date == 0


def test_bad_weights_and_days_are_named(tmp_path: Path) -> None:
    path = write(tmp_path / "b.gpkg", [box(0, 0, 2, 2)], code=[1], w=[-1.0], day=["soon"])
    with pytest.raises(InputError, match=r"'w' holds -1\.0, which is no weight"):
        LabelSource(path, LEGEND, attribute="code", weight_attribute="w").read(GRID)
    period = Period(date(2021, 1, 1), date(2022, 1, 1))
    with pytest.raises(InputError, match="'soon' is no day"):
        LabelSource(path, LEGEND, attribute="code", valid_from="day", period=period).read(GRID)
    with pytest.raises(InputError, match="no attribute 'nix'"):
        LabelSource(path, LEGEND, attribute="code", weight_attribute="nix").read(GRID)
    write_layers_whole(tmp_path / "r.tif", GRID, LabelLayers((LabelSource(path, LEGEND, attribute="code"),)))
    with pytest.raises(InputError, match="is a raster and has no attribute 'w'"):
        LabelSource(tmp_path / "r.tif", LEGEND, weight_attribute="w").read(GRID)


def test_the_command_takes_a_list_of_sources(files: dict[str, Path], tmp_path: Path) -> None:
    from landcover_cli.cli.app import app

    (tmp_path / "legend.json").write_text(json.dumps(LEGEND.to_dict()))
    (tmp_path / "others.yaml").write_text("- {source: second.gpkg, attribute: code, weight_attribute: sure}\n")
    args = [
        "-q", "labels", files["first"], "--legend", tmp_path / "legend.json", "--out", tmp_path / "o.tif",
        "--attribute", "code", "--others", tmp_path / "others.yaml", "--period", "2021-01-01:2022-01-01",
        "--crs", "EPSG:32631", "--res", "10", "--bounds", f"{X0},{Y0},{X0 + 80},{Y0 + 80}", "--json",
    ]  # fmt: skip
    found = CliRunner().invoke(app, list(map(str, args)), catch_exceptions=False)
    assert json.loads(found.stdout)["sources"][1] == {"used_px": 12, "agreed_px": 0, "overruled_px": 8}
    assert weights_path(tmp_path / "o.tif").is_file()
    (tmp_path / "others.yaml").write_text("- {source: second.gpkg, atribute: code}\n")
    with pytest.raises(LcError, match=r"unknown key `labels\.others\.0\.atribute`; did you mean `attribute`"):
        CliRunner().invoke(app, list(map(str, args)), catch_exceptions=False)
    (tmp_path / "others.yaml").write_text("[]")
    with pytest.raises(LcError, match="is not START:END"):
        CliRunner().invoke(app, [*map(str, args), "--period", "2021"], catch_exceptions=False)

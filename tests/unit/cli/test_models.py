"""`lc models`: folders found and shown, networks shown, and ONNX that computes what the network does."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from landcover_cli.cli.app import app
from landcover_cli.errors import LcError
from landcover_cli.learn import onnx_export
from landcover_cli.learn.modelfolder import build_model, model_digest, save_model
from models.fusion_utae import Model
from models.spec import ModelSpec, Port


def lc(*args: object) -> str:
    found = CliRunner().invoke(app, ["-q", *map(str, args)], catch_exceptions=False)
    assert found.exit_code == 0, found.output
    return found.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("models")
    ports = (Port("s2", "series", ("B04", "B08"), 10.0, "reflectance", mean=(0.1, 0.2), std=(0.3, 0.4)),)
    classes = tuple({"code": 10 * i, "name": f"class {i}", "color": "#000000", "description": ""} for i in (1, 2))
    options = {"widths": [8], "image_widths": [8], "heads": 4, "key_width": 4}
    spec = ModelSpec("fusion_utae", options, ports, classes, {"id": "test", "version": "1"}, 10.0, 8, 1, source="x")
    torch.manual_seed(0)
    save_model(root / "a" / "model", spec, build_model(spec).state_dict())
    (root / "a" / "model" / "metrics.json").write_text('{"test": {"overall_accuracy": 0.75, "macro_f1": null}}')
    (root / "b").mkdir()
    (root / "b" / "model.json").write_text('{"somebody": "else"}')
    return root


def test_list_and_show(folder: Path) -> None:
    (row,) = json.loads(lc("models", "list", folder, "--json"))
    assert row["digest"] == model_digest(folder / "a" / "model")
    assert row["figures"] == {"overall_accuracy": 0.75}
    assert "fusion_utae  s2  2 classes  10 m  overall_accuracy 0.750" in lc("models", "list", folder)
    text = lc("models", "show", folder / "a" / "model")
    assert "s2: series, B04 B08, 10 m, reflectance" in text
    assert "20 class 2" in text
    shown = json.loads(lc("models", "show", folder / "a" / "model", "--json"))
    assert shown["spec"]["ports"][0]["mean"] == [0.1, 0.2]
    assert "options.heads = 8" in lc("models", "show", "fusion_utae")
    assert json.loads(lc("models", "show", "fusion_utae", "--json"))["licence"] == Model.LICENCE
    for args in (["show", folder / "b"], ["show", folder / "none"], ["list", folder / "none"]):
        with pytest.raises(LcError) as error:
            lc("models", *args)
        assert error.value.exit_code == 3


def test_networks_with_their_figures() -> None:
    rows = {row["model"]: row for row in json.loads(lc("models", "networks", "--json"))}
    assert rows["utae"]["parameters"] == rows["utae"]["published"] == 1_087_260
    assert "fusion_utae" in rows
    text = lc("models", "show", "stsnet_temporal")
    assert "input s2: series, 31 dates × 10 bands, 30 px" in text
    assert "published 6,330,000, printed 6.33 M" in text
    assert "options.head = conv" in text
    assert json.loads(lc("models", "show", "tsvit", "--json"))["parameters"] == 1_657_476


@pytest.mark.slow  # the exporter alone takes seconds
def test_onnx_computes_what_the_network_does(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    onnx = pytest.importorskip("onnx", reason="needs the extra [export]")
    pytest.importorskip("onnxruntime", reason="needs the extra [export]")
    target = tmp_path / "model.onnx"
    found = json.loads(lc("models", "export", folder / "a" / "model", "--onnx", target, "--json"))
    assert found["difference"] < 1e-4
    assert found["inputs"] == [f"s2_{name}" for name in ("data", "valid", "doy", "day", "present")]
    graph = onnx.load(target)
    facts = {entry.key: entry.value for entry in graph.metadata_props}
    assert facts["lc.model"] == model_digest(folder / "a" / "model")
    assert json.loads(facts["lc.spec"])["ports"][0]["std"] == [0.3, 0.4]
    assert b".py" not in target.read_bytes()  # no path of the machine that wrote it
    monkeypatch.setattr(onnx_export, "_graph", lambda *args: target.read_bytes())
    monkeypatch.setattr(onnx_export, "_TOLERANCE", 0.0)
    with pytest.raises(LcError, match="gives logits that are off by"):
        lc("models", "export", folder / "a" / "model", "--onnx", tmp_path / "other.onnx")
    assert not (tmp_path / "other.onnx").exists()


def test_export_without_the_extra_says_what_to_install(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(LcError, match="needs the package") as error:
        lc("models", "export", folder / "a" / "model", "--onnx", tmp_path / "model.onnx")
    assert "landcover-cli[export]" in error.value.remedy

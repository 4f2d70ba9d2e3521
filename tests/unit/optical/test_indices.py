"""Spectral indices: the table's formulas on arrays, and what is refused."""

from __future__ import annotations

import ast

import numpy as np
import pytest

from landcover_cli.errors import ConfigError, LcError
from landcover_cli.optical import indices
from landcover_cli.optical.indices import resolve_indices

BANDS = ("B02", "B03", "B04", "B08", "B11")
ROLES = {"blue": 0, "green": 1, "red": 2, "nir": 3, "swir16": 4, "sr_b4": 2}
VALUES = np.array([0.03, 0.06, 0.05, 0.4, 0.2]).reshape(5, 1, 1) * np.array([[1.0, 1.5, 0.5]])


def one(name: str) -> np.ndarray:
    (index,) = resolve_indices([name], BANDS, ROLES)
    return index.of(VALUES)


def test_known_values():
    blue, green, red, nir, swir = VALUES
    expected = {
        "NDVI": (nir - red) / (nir + red),
        "EVI": 2.5 * (nir - red) / (nir + 6 * red - 7.5 * blue + 1),
        "NDWI": (green - nir) / (green + nir),
        "MNDWI": (green - swir) / (green + swir),
        "SAVI": 2.0 * (nir - red) / (nir + red + 1.0),
    }
    for name, value in expected.items():
        found = one(name)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, value.astype("float32"), rtol=1e-6, err_msg=name)


def test_a_formula_without_a_value_is_nan():
    (index,) = resolve_indices(["NDVI"], BANDS, ROLES)
    found = index.of(np.zeros((5, 1, 2)))
    assert np.isnan(found).all()


def test_radar_bands_go_by_their_own_names():
    (index,) = resolve_indices(["DpRVIVV"], ("VV", "VH"), {})
    vv, vh = 0.2, 0.05
    assert index.of(np.array([[[vv]], [[vh]]]))[0, 0] == pytest.approx(4 * vh / (vv + vh), rel=1e-6)


def test_what_is_unknown_or_missing_is_refused():
    with pytest.raises(ConfigError, match="unknown index 'NDVII'") as error:
        resolve_indices(["NDVII"], BANDS, ROLES)
    assert "NDVI" in error.value.remedy
    with pytest.raises(ConfigError, match="'NBR' needs swir22"):
        resolve_indices(["NBR"], BANDS, ROLES)
    with pytest.raises(ConfigError, match="given twice"):
        resolve_indices(["NDVI", "NDVI"], BANDS, ROLES)


def test_without_the_library_it_is_said_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "spyndex", None)
    with pytest.raises(LcError, match="spyndex") as error:
        resolve_indices(["NDVI"], BANDS, ROLES)
    assert "landcover-cli[indices]" in error.value.remedy


@pytest.mark.parametrize("formula", ["__import__('os')", "N.real", "[N]", "N if N else R", "unknown + 1", "'text'"])
def test_a_formula_is_arithmetic_only(formula):
    with pytest.raises(ConfigError):
        indices._evaluate(ast.parse(formula, mode="eval").body, {"N": 1.0, "R": 2.0})


def test_every_formula_of_the_table_can_be_walked():
    import spyndex

    for name, entry in spyndex.indices.items():
        known = dict.fromkeys(entry.bands, 0.5)
        with np.errstate(all="ignore"):
            try:
                indices._evaluate(ast.parse(str(entry.formula), mode="eval").body, known)
            except ZeroDivisionError:
                continue
            except ConfigError:
                assert "(" in str(entry.formula), name  # kernels are functions of functions

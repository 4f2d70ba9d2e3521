"""Small Sentinel-2 Level-2A products for tests: SAFE folders with metadata and lossless JPEG 2000 bands."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import rasterio
from affine import Affine
from pyproj import Transformer

GSD = {"B02": 10, "B03": 10, "B04": 10, "B08": 10}
SIXTY = ("B01", "B09", "B10")
LEFT, TOP, EPSG = 600000, 5000040, 32633


def bands(size: int, seed: int = 0, low: int = 300) -> dict[str, np.ndarray]:
    """Ten bands and SCL (vegetation) of a scene of `size` pixels at 10 m."""
    rng = np.random.default_rng(seed)
    names = ("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12")
    out = {}
    for name in names:
        n = size * 10 // GSD.get(name, 20)
        out[name] = rng.integers(low, low + 3000, (n, n)).astype("uint16")
    out["SCL"] = np.full((size // 2, size // 2), 4, "uint8")
    return out


def write_jp2(path: Path, values: np.ndarray, gsd: int, left=LEFT, top=TOP, epsg=EPSG) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    profile = {
        "driver": "JP2OpenJPEG",
        "height": values.shape[0],
        "width": values.shape[1],
        "count": 1,
        "dtype": values.dtype,
        "crs": f"EPSG:{epsg}",
        "transform": Affine(gsd, 0, left, 0, -gsd, top),
    }
    with rasterio.open(path, "w", QUALITY="100", REVERSIBLE="YES", YCBCR420="NO", **profile) as dataset:
        dataset.write(values, 1)


def write_safe(
    folder: Path,
    values: dict[str, np.ndarray],
    *,
    baseline: str = "05.09",
    offset: int | None = -1000,
    when: str = "2021-06-05T10:00:31",
    tile: str = "33TXX",
    left: int = LEFT,
    top: int = TOP,
    epsg: int = EPSG,
    skip: tuple[str, ...] = (),
    level: str = "Level-2A",
) -> Path:
    """Write a product; bands in `skip` are listed in the metadata but not written."""
    stamp = when.replace("-", "").replace(":", "")
    number = baseline.replace(".", "")
    name = f"S2A_MSIL2A_{stamp}_N{number}_R022_T{tile}_{stamp}.SAFE"
    root = folder / name
    granule = f"GRANULE/L2A_T{tile}_A000001_{stamp}"
    images = []
    for band, data in values.items():
        gsd = 60 if band in SIXTY else GSD.get(band, 20)
        stem = f"{granule}/IMG_DATA/R{gsd}m/T{tile}_{stamp}_{band}_{gsd}m"
        images.append(f"<IMAGE_FILE>{stem}</IMAGE_FILE>")
        if band not in skip:
            write_jp2(root / f"{stem}.jp2", data, gsd, left, top, epsg)
    n, gsd = values["SCL"].shape[0], 20
    to_degrees = Transformer.from_crs(epsg, 4326, always_xy=True)
    edge = n * gsd
    corners = [(left, top), (left, top - edge), (left + edge, top - edge), (left + edge, top), (left, top)]
    places = " ".join(f"{lat:.8f} {lon:.8f}" for lon, lat in (to_degrees.transform(*c) for c in corners))
    offsets = ""
    if offset is not None:
        items = "".join(f'<BOA_ADD_OFFSET band_id="{i}">{offset}</BOA_ADD_OFFSET>' for i in range(13))
        offsets = f"<BOA_ADD_OFFSET_VALUES_LIST>{items}</BOA_ADD_OFFSET_VALUES_LIST>"
    root.mkdir(parents=True, exist_ok=True)
    (root / "MTD_MSIL2A.xml").write_text(f"""<?xml version="1.0" encoding="UTF-8"?>
<n1:Level-2A_User_Product xmlns:n1="https://psd-14.sentinel2.eo.esa.int/PSD/User_Product_Level-2A.xsd">
<n1:General_Info><Product_Info>
<PRODUCT_START_TIME>{when}.024Z</PRODUCT_START_TIME><PRODUCT_URI>{name}</PRODUCT_URI>
<PROCESSING_LEVEL>{level}</PROCESSING_LEVEL><PROCESSING_BASELINE>{baseline}</PROCESSING_BASELINE>
<Datatake datatakeIdentifier="GS2A_{stamp}_N{baseline}"><SENSING_ORBIT_NUMBER>22</SENSING_ORBIT_NUMBER>
<SENSING_ORBIT_DIRECTION>DESCENDING</SENSING_ORBIT_DIRECTION></Datatake>
<Product_Organisation><Granule_List>
<Granule datastripIdentifier="S2A_DS_{stamp}" granuleIdentifier="S2A_OPER_MSI_L2A_TL_X_A000001_T{tile}_N{baseline}">
{"".join(images)}</Granule></Granule_List></Product_Organisation></Product_Info>
<Product_Image_Characteristics><QUANTIFICATION_VALUES_LIST>
<BOA_QUANTIFICATION_VALUE unit="none">10000</BOA_QUANTIFICATION_VALUE></QUANTIFICATION_VALUES_LIST>{offsets}
</Product_Image_Characteristics></n1:General_Info>
<n1:Geometric_Info><Product_Footprint><Product_Footprint><Global_Footprint>
<EXT_POS_LIST>{places}</EXT_POS_LIST></Global_Footprint></Product_Footprint></Product_Footprint></n1:Geometric_Info>
<n1:Quality_Indicators_Info><Cloud_Coverage_Assessment>12.5</Cloud_Coverage_Assessment></n1:Quality_Indicators_Info>
</n1:Level-2A_User_Product>""")
    (root / "manifest.safe").write_text("<xml/>")
    return root


def write_l1c(
    folder: Path,
    values: dict[str, np.ndarray],
    *,
    sun: tuple[float, float] = (40.0, 150.0),
    view: tuple[float, float] = (0.0, 100.0),
    offset: int | None = -1000,
    baseline: str = "05.09",
) -> Path:
    """Write a Level-1C product with even angles (zenith, azimuth)."""
    codes = np.zeros((values["B02"].shape[0] // 2,) * 2, "uint8")
    safe = write_safe(folder, {**values, "SCL": codes}, baseline=baseline, offset=offset, skip=("SCL",))
    root = folder / safe.name.replace("MSIL2A", "MSIL1C")
    safe.rename(root)
    text = (root / "MTD_MSIL2A.xml").read_text()
    (root / "MTD_MSIL2A.xml").unlink()
    text = text.replace("Level-2A", "Level-1C").replace("MSIL2A", "MSIL1C").replace("BOA_ADD", "RADIO_ADD")
    (root / "MTD_MSIL1C.xml").write_text(text.replace("BOA_QUANTIFICATION", "QUANTIFICATION"))
    granule = next((root / "GRANULE").iterdir())

    def grid(tag: str, angles: tuple[float, float], **attributes: str) -> str:
        parts = ""
        for name, value in zip(("Zenith", "Azimuth"), angles, strict=True):
            rows = f"<VALUES>{' '.join([str(value)] * 23)}</VALUES>" * 23
            parts += f"<{name}><Values_List>{rows}</Values_List></{name}>"
        given = "".join(f' {k}="{v}"' for k, v in attributes.items())
        return f"<{tag}{given}>{parts}</{tag}>"

    other = (60.0, 10.0)
    views = grid("Viewing_Incidence_Angles_Grids", other, bandId="7", detectorId="1")
    views += grid("Viewing_Incidence_Angles_Grids", view, bandId="8", detectorId="1")
    (granule / "MTD_TL.xml").write_text(f"<t><Tile_Angles>{grid('Sun_Angles_Grid', sun)}{views}</Tile_Angles></t>")
    return root


def zipped(safe: Path) -> Path:
    target = safe.with_suffix(".zip")
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(safe.rglob("*")):
            archive.write(path, f"{safe.name}/{path.relative_to(safe)}")
    return target

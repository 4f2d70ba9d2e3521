"""The pipeline file of the demo: every section that a newcomer may want to change, with a word on each."""

from __future__ import annotations

from landcover_cli.demo.region import EPSG, YEAR, Region

_TEMPLATE = """\
# Pipeline file of the demo region: from products to a map with `lc run pipeline.yaml`.
# Paths are relative to this file. `lc config schema` lists every key.
version: 1
workspace: work
aoi: region.geojson

# One grid for every result: square tiles whose edges lie on multiples of {tile_m} m.
grid:
  crs: EPSG:{epsg}
  resolution_m: 10
  tile_px: {tile_px}

# Twelve monthly composites.
period:
  start: {year}-01
  end: {year}-12
  step: month

sources:
  s2:
    type: sentinel2_l2a
    scenes: ["s2/*.SAFE"]
    mask: scl
    composite: mean
  s1:
    type: sentinel1_grd
    scenes: ["s1/*.SAFE"]
    dem: dem/dem.tif
    dem_height: ellipsoidal
    backscatter: gamma0_rtc
    speckle: lee
    composite: mean
  dem:
    type: static
    files: [dem/dem.tif]
    bands: [elevation]
    derive: [slope]

# Polygons cover half of the western fields; the eastern half has none.
labels:
  source: labels.gpkg
  attribute: class_code
  legend: legend.yaml

tile:
  patch_px: {patch_px}
  stride_px: {stride_px}
  split:
    method: spatial_blocks
    ratios: [0.7, 0.15, 0.15]
    block_px: {block_px}

train:
  model: fusion_utae
  epochs: {epochs}
  batch: {batch}

# The truth of the simulation in the eastern half, where nothing was labelled; no real project has such a reference.
assess:
  source: reference.tif

report:
  title: Demo region
"""

_TRAINING = {
    "standard": {"patch_px": 32, "stride_px": 32, "block_px": 32, "epochs": 30, "batch": 4},
    "tiny": {"patch_px": 16, "stride_px": 16, "block_px": 16, "epochs": 2, "batch": 4},
}


def pipeline_yaml(region: Region) -> str:
    """The text of ``pipeline.yaml``."""
    return _TEMPLATE.format(
        epsg=EPSG, year=YEAR, tile_px=region.tile_px, tile_m=10 * region.tile_px, **_TRAINING[region.size]
    )

"""The README of a demo region: what was simulated, how, and where the numbers come from."""

from __future__ import annotations

import numpy as np

from landcover_cli.demo.backscatter import INCIDENCE_DEG
from landcover_cli.demo.landscape import OVERSAMPLE
from landcover_cli.demo.region import CLASSES, EPSG, MGRS_TILE, PIXEL_M, RELATIVE_ORBIT_S1, YEAR
from landcover_cli.demo.simulation import Simulation, labelled_units
from landcover_cli.demo.weather import CLOUD_FRACTION, MAX_CLOUD

_TEXT = """\
# Demo region, seed {seed}

A simulated year ({year}) of Sentinel-2 and Sentinel-1 over {width:.2f} km × {height:.2f} km of farmland and
forest, written as products of the real formats. Nothing here was measured: no pixel shows a real place. The
grid is that of MGRS tile {tile} (EPSG:{epsg}) in Lower Bavaria, which decides the sun angles and the calendar,
nothing else.

| file | content |
|---|---|
| `pipeline.yaml` | the run: `lc run pipeline.yaml` |
| `region.geojson` | area of interest, 60 m inside the data |
| `s2/*.SAFE` | {n_s2} Sentinel-2 Level-2A products: B02 B03 B04 B08 at 10 m, B05 B06 B07 B8A B11 B12 and SCL at 20 m |
| `s1/*.SAFE` | {n_s1} Sentinel-1A IW GRD products, relative orbit {orbit}, ascending: VV, VH in radar geometry |
| `dem/dem.tif` | elevation at 1 arc second in EPSG:4326, metres above the ellipsoid |
| `labels.gpkg` | {n_labels} polygons with `class_code` and `class_name`: half of the western parcels, no eastern |
| `legend.yaml` | the classes |
| `truth.tif` | class code of every 10 m pixel: the class with the largest share |
| `reference.tif` | the same in the eastern half alone, where nothing is labelled: the assessment's reference |

## Classes

| code | class | share |
|---|---|---|
{shares}

Codes are not compact, on purpose.

## How

**Map.** Blocks between farm tracks are Voronoi cells, cut into parcels until each is below a size drawn from a
log-normal distribution; the median of {parcel} ha {parcel_note} the border between small (0.64-2.56 ha) and
medium (2.56-16 ha) fields of Lesiv et al. (2019). Forest grows in patches, villages around a centre; each half
holds a lake, and a river crosses both. Every pixel is the area-weighted mixture of its parcels, rendered at
{fine:g} m: {mixed:.1f} % of the pixels hold more than one class.

**Leaves.** Leaf area follows products of logistic curves (Zhang et al. 2003; Beck et al. 2006). Each parcel
draws its own sowing, leaf-out, ripening, harvest, tillage, catch crop and cutting dates; winter crops are
wheat, barley or rapeseed, summer crops maize or beet. The dates are our own, of the order that holds in
southern Germany.

**Optical.** Reflectance of a canopy over a background, ρ = ρ∞ + (ρ_b - ρ∞) exp(-K·LAI) (Baret and Guyot 1991).
Each parcel has its own leaf and soil colour, soils darken with rain. The end-member spectra are our own round
numbers, close to each other for crops, grass and broadleaf trees, so that one date does not tell the classes
apart.

**Sky.** Cloud cover per pass is drawn from a U-shaped beta distribution whose mean is the cloud fraction of
Landsat and Sentinel-2 scenes over Switzerland: {fractions} (table 1 in doi:10.1038/s41597-025-04961-6). As in
an archive search, scenes above {max_cloud:.0f} % are left out, and {n_s2} of the rest are kept. Cloud fields
have a spectrum of f^(-8/3); shadows lie opposite to the sun at a distance of cloud base × tan(zenith). A
quarter of the dates have cirrus; haze and calibration errors differ from date to date. Over the year,
{clear:.0f} % of the observations are truly clear. Relative orbit 122 ends inside the region: its products have
a wedge without data.

**SCL** is drawn from the true sky with errors: thin clouds and edges are missed, some bright roofs pass for
cloud, part of the shadows is not found (kinds of error: Zekoll et al. 2021).

**Metadata.** Two products in three keep the processing baseline of {year} (02.14, 03.00, 03.01) and no
radiometric offset; every third has been reprocessed (05.00) and carries BOA_ADD_OFFSET = -1000. Only the
metadata tells.

**Radar.** A water-cloud model (Attema and Ulaby 1978) over a soil that gets brighter with rain, at
{incidence:g}° incidence; shapes of the crop and forest curves after Veloso et al. (2017), Vreugdenhil et al.
(2018), Rüetschi et al. (2018) and Dubois et al. (2020), decibel levels our own. This is gamma0 of the ground;
the products hold what the satellite makes of it: facets of 5 m on the hills, seen from an orbit that repeats every
12 days, each put where its zero-Doppler time and slant range say, so that slopes shift and shade the image; thermal
noise; speckle of 4.4 equivalent looks, correlated between neighbours, as in IW GRD products of high resolution
(Sentinel-1 Product Definition). The run goes the way back with code of its own: noise subtracted, calibrated,
filtered, divided by the illuminated area and brought to the map.

## Simplifications

- A granule is as large as the region, not 109.8 km. TCI, AOT, WVP, 60 m bands and quality masks are absent, and
  the metadata does not list them.
- No snow, no change of land use within the year, no bidirectional effects, no geolocation error, a box for a
  point-spread function, one viewing angle per orbit, soil wetness that is the same everywhere.
- A Sentinel-1 image covers the region and a margin, not the 250 km of a swath; backscatter at the region's edge goes on
  beyond it. Quick-looks and the parts of the annotation that pixels do not need are absent. Heights are those above the
  ellipsoid, so that no geoid grid is needed.

## Sources

- Attema, E. and Ulaby, F. (1978). Vegetation modeled as a water cloud. doi:10.1029/RS013i002p00357
- Baret, F. and Guyot, G. (1991). Potentials and limits of vegetation indices. doi:10.1016/0034-4257(91)90009-U
- Beck, P. et al. (2006). Improved monitoring of vegetation dynamics at very high latitudes.
  doi:10.1016/j.rse.2005.10.021
- Dubois, C. et al. (2020). ISPRS Annals V-3-2020, 97. doi:10.5194/isprs-annals-V-3-2020-97-2020
- Lesiv, M. et al. (2019). Estimating the global distribution of field size. doi:10.1111/gcb.14492
- Rüetschi, M. et al. (2018). Sentinel-1 phenology of deciduous and coniferous forests. doi:10.3390/rs10010055
- Sentinel-1 Product Definition, S1-RS-MDA-52-7440
- Sentinel-2 Products Specification Document, S2-PDGS-TAS-DI-PSD
- Swiss snow cover series, Landsat and Sentinel-2, 1984-2021 (2025). doi:10.1038/s41597-025-04961-6
- Veloso, A. et al. (2017). Sentinel-1 and Sentinel-2 series of crops. doi:10.1016/j.rse.2017.07.015
- Vreugdenhil, M. et al. (2018). Sensitivity of Sentinel-1 backscatter to vegetation dynamics.
  doi:10.3390/rs10091396
- Zekoll, V. et al. (2021). Comparison of masking algorithms for Sentinel-2. doi:10.3390/rs13010137
- Zhang, X. et al. (2003). Monitoring vegetation phenology using MODIS. doi:10.1016/S0034-4257(02)00135-9
"""


def readme_text(simulation: Simulation, clear: float) -> str:
    """The text of ``README.md``.

    Args:
        simulation: What was drawn.
        clear: Mean share of truly clear pixels over all Sentinel-2 products.
    """
    region, landscape = simulation.region, simulation.landscape
    truth = landscape.truth_yx
    shares = "\n".join(
        f"| {entry.code} | {entry.name} | {100 * float((truth == index).mean()):.1f} % |"
        for index, entry in enumerate(CLASSES)
    )
    per_class = np.zeros((truth.size, len(CLASSES)), np.float32)
    np.add.at(per_class, (landscape.pixel, landscape.class_of_unit[landscape.unit]), landscape.weight)
    return _TEXT.format(
        seed=simulation.seed,
        year=YEAR,
        width=region.width_m / 1000,
        height=region.height_m / 1000,
        tile=MGRS_TILE,
        epsg=EPSG,
        n_s2=len(simulation.acquisitions),
        n_s1=len(simulation.radar_days),
        n_labels=len(labelled_units(landscape, simulation.seed)),
        shares=shares,
        parcel=region.parcel_ha,
        parcel_note="is" if region.size == "standard" else "is half of",
        fine=PIXEL_M / OVERSAMPLE,
        mixed=100 * float((per_class.max(axis=1) < 0.999).mean()),
        fractions=", ".join(f"{season} {100 * value:.1f} %" for season, value in CLOUD_FRACTION.items()),
        max_cloud=100 * MAX_CLOUD,
        clear=100 * clear,
        incidence=INCIDENCE_DEG,
        orbit=RELATIVE_ORBIT_S1,
    )

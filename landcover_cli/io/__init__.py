"""Reading and writing: the only package (with `demo`) that opens files."""

import warnings

# Said by GDAL of radar measurements, pictures and stripped files alike. Every reader here looks at the geotransform
# itself, and refuses by name where one is needed. Ignored once and for the whole process, see `quiet`: by its message,
# because its class would bring rasterio into every start of the command line.
warnings.filterwarnings("ignore", message="Dataset has no geotransform, gcps, or rpcs")

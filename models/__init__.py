"""Networks for land-cover mapping; one file each. Imports nothing of landcover_cli.

``LC_MODELS`` marks this package as the one that landcover_cli was built with; landcover_cli checks it and names
the other distribution where somebody else's ``models`` package shadows this one.
"""

LC_MODELS = "landcover-cli"

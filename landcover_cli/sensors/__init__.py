"""One file per sensor: bands with wavelength and GSD, scale and offset rules, mask rules."""

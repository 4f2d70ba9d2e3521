"""Sentinel-1 as pure functions: radiometry, geometry, speckle, polarimetry."""

"""Optical numerics: reflectance, masks, indices. Pure functions."""

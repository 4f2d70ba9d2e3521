"""Speckle filters, one plug-in per file; what they share is in the modules with a leading underscore."""

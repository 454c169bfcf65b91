"""Readers of the formats of data sets, one file per format."""

"""Tests of data sets and pipelines."""

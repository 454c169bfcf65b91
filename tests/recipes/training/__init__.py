"""Tests of one run of a recipe."""

"""Tests of the searches of the recipes."""

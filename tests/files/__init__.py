"""Tests of files that are written whole."""

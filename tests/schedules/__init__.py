"""Tests of what users pass."""

"""Tests of what a file holds."""

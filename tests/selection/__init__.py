"""Tests of which weights go."""

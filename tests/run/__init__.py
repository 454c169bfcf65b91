"""Tests of where a run stands."""

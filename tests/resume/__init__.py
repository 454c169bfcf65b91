"""Tests of what a checkpoint holds."""

"""Tests of what all rooms of the recipes use."""

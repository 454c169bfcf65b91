"""Helpers for all rooms of the recipes."""

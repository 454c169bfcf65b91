"""Tests of shrunk models."""

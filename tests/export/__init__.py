"""Tests of SavedModel and TFLite exports."""

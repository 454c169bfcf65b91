"""Tests of the engine for Keras 3 models."""

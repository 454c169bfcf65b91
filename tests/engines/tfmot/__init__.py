"""Tests of the engine for tf_keras."""

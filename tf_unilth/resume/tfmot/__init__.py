"""Resuming a `fit` of a tf_keras model."""

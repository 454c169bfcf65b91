"""Resuming a `fit` of a Keras 3 model, on any backend."""

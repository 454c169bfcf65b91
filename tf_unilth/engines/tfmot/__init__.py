"""Pruning of tf_keras models in tfmot's wrappers.

Wraps and strips layers, keeps their masks, hooks the train step, and stores the
state of a run in variables.
"""

"""tf_keras models in tfmot's pruning wrappers.

Wrapping, masks, the hooked train step, the state of a run in variables.
"""

"""Pruning of tf_keras models in tfmot's wrappers.

Wraps and strips layers, keeps their masks, hooks the train step, and stores the
state of a run in variables.
"""

# Before any module of this package: when it is imported, `import_hook.py`
# imports `saved_classes.py`, which needs the modules of this package whole.
import tensorflow_model_optimization as _tfmot  # noqa: F401

"""Pruning of tf_keras models in tfmot's wrappers.

Wraps and strips layers, keeps their masks, hooks the train step, and stores the
state of a run in variables.
"""

# Before any module of this package: when it is imported, `import_hook.py`
# imports `saved_classes.py`, which needs the modules of this package whole.
import tensorflow_model_optimization as _tfmot  # noqa: F401

from tf_unilth.engines import private_name_check as _private_name_check

# The last two have names of tf_keras for the models of this engine alone.
_private_name_check.check(
  *('engines/tfmot', 'engines', 'algorithms', 'compression', 'export'),
  of=('tensorflow', 'tf_keras', 'tensorflow_model_optimization'),
)

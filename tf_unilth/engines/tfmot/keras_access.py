"""The Keras that the library uses, and non-public names of Keras and tfmot.

tfmot uses `tf_keras` (Keras 2) regardless of import order, so this module does
too. `engines/private_names.py` lists all names that are not public, and the
rooms that use them.

`fit_introspection.py` reads the local variables of Keras's `fit`.
"""

from typing import Any

import tensorflow as tf
import tensorflow_model_optimization as tfmot
import tf_keras as keras
from tensorflow_model_optimization.python.core.keras import utils
from tensorflow_model_optimization.python.core.sparsity.keras import (
  pruning_impl,
  pruning_wrapper,
)

PruneLowMagnitude = pruning_wrapper.PruneLowMagnitude
Pruning = pruning_impl.Pruning
smart_cond = utils.smart_cond
PruningSchedule = tfmot.sparsity.keras.PruningSchedule
RandomGenerator = keras.src.backend.RandomGenerator
PythonState = tf.train.experimental.PythonState

register = keras.saving.register_keras_serializable(package='tf_unilth')
# Keras's list of layers for loading lacks it, so its files would not load.
keras.saving.get_custom_objects().setdefault(
  'SpectralNormalization', keras.layers.SpectralNormalization
)


def steps_per_execution(model: keras.Model) -> int:
  """Returns the number of steps that a model runs between two batch hooks."""
  steps = getattr(model, '_steps_per_execution', None)
  return 1 if steps is None else int(steps.numpy())


def compile_arguments(model: keras.Model) -> dict[str, Any]:
  """Returns the arguments that a model was compiled with, not copied."""
  return dict(model._compile_config.config)


def handle(variable: Any) -> tf.Tensor:
  """Returns a variable's handle; of a mirrored variable, its first copy's."""
  return getattr(variable, '_primary', variable).handle

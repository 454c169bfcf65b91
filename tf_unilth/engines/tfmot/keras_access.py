"""The one Keras that the library uses, and what it must borrow from its hosts.

tfmot builds on `tf_keras` (Keras 2) whatever is imported first, so everything
here does too. What else is not public is touched in `pruned_layers.py` and
`wrapper.py` (tfmot), `prunable.py` (the kernels of attention), `optimizers.py`
and `train_step.py` (one attribute each of Keras's), `random_state.py` (Keras's
generators) and `data_position.py` (Keras's data handler).
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
# Keras's own list of layers to load lacks it, so that no file of it loads.
keras.saving.get_custom_objects().setdefault(
  'SpectralNormalization', keras.layers.SpectralNormalization
)


def registered_config(thing: Any, config: dict[str, Any]) -> dict[str, Any]:
  """Returns tfmot's nested config under the *registered* class name.

  With the bare class name, as tfmot writes it, Keras reloads the schedule as
  a string, without an error.
  """
  name = keras.saving.get_registered_name(type(thing))
  return {'class_name': name, 'config': config}


def steps_per_execution(model: keras.Model) -> int:
  """Returns how many steps the model runs between two batch hooks."""
  steps = getattr(model, '_steps_per_execution', None)
  return 1 if steps is None else int(steps.numpy())


def compile_arguments(model: keras.Model) -> dict[str, Any]:
  """Returns what a model was compiled with, the objects themselves."""
  return dict(model._compile_config.config)


def handle(variable: Any) -> tf.Tensor:
  """Returns a variable's handle, of a mirrored one that of its first copy."""
  return getattr(variable, '_primary', variable).handle

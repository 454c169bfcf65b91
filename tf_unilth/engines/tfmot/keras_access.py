"""The Keras that the library uses, and non-public names of Keras and tfmot.

tfmot uses `tf_keras` (Keras 2) regardless of import order, so this module does
too. These other files access non-public attributes:

- of tfmot: `pruned_model.py` and `pruning_wrapper.py`;
- of Keras models and layers: `channel_graph.py`, `channel_operations.py`,
  `model_layers.py`, `model_wrapping.py`, `prunable_weights.py` (attention
  kernels), `sparsity_summary.py`, `unpruned_layers.py` and `train_hook.py`;
- of Keras optimizers: `optimizer_traits.py`;
- of Keras data handlers: `data_handler.py` and `optimizer_search.py`;
- of TensorFlow graphs: `traced_writes.py`;
- in `resume/`: `data_replay.py` and `data_description.py` (data handlers and
  datasets), `random_state.py` (random generators), `model_description.py` and
  `training_state.py` (models);
- in `export/`: `saved_model_archive.py` (variables).

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

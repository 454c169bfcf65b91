"""A small run of the library on a Keras 3 model: as `torture_run`."""

import pathlib
from typing import Any

import keras
import numpy as np

from tests.stress import torture_parts
from tests.testing import keras_3_toys

EPOCHS = 8
METHODS = (*torture_parts.TICKETS, 'dense')
OPTIMIZERS = torture_parts.OPTIMIZERS


def run(case: dict[str, Any], directory: pathlib.Path) -> dict[str, str]:
  """Trains a case from where it stands to the end.

  Args:
    case: `method`, `optimizer`, `every_steps`.
    directory: of the run.

  Returns:
    The hashes of all that it ended as.
  """
  return hashes(*train(case, directory / 'checkpoints'))


def hashes(
  model: keras.Model, history: dict[str, list[float]]
) -> dict[str, str]:
  """Returns the hashes of all that a run ended as."""
  digest = torture_parts.digest
  pruned = '_pruning_plan' in vars(model)
  return {
    'weights': digest(model.get_weights()),
    'masks': digest(keras_3_toys.masks(model) if pruned else []),
    'optimizer': digest(keras_3_toys.training_state(model) if pruned else []),
    'generators': digest([np.asarray(_value(v)) for v in model.variables]),
    'history': torture_parts.history_digest(history),
  }


def _value(variable: Any) -> np.ndarray:
  return keras.ops.convert_to_numpy(variable.value)


def train(
  case: dict[str, Any], checkpoints: pathlib.Path, *more: Any
) -> tuple[keras.Model, dict[str, list[float]]]:
  """Trains a case from where its checkpoints stand; returns its history too."""
  keras.utils.set_random_seed(1)
  model, ticket = torture_parts.pruned(
    torture_parts.network(keras), case['method'], rounds=3
  )
  # On TensorFlow, XLA takes longer than it saves.
  jit = 'auto' if keras.backend.backend() == 'jax' else False
  optimizer = torture_parts.optimizer(keras, case['optimizer'])
  keras_3_toys.compiled_for_labels(model, optimizer, jit_compile=jit)
  callbacks = torture_parts.callbacks(keras, case, checkpoints, EPOCHS)
  return model, torture_parts.fit(model, EPOCHS, [*ticket, *callbacks, *more])

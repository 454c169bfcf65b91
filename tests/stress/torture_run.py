"""A small run of the library: what `torture` starts again and again."""

import functools
import pathlib
from typing import Any

import tensorflow as tf
import tensorflow_model_optimization as tfmot
import tf_keras as keras

from tests.stress import torture_parts
from tests.testing import toys

EPOCHS = 10
# 'gmp' is by tfmot's own callback and schedule.
METHODS = (*torture_parts.TICKETS, 'gmp', 'dense')
OPTIMIZERS = torture_parts.OPTIMIZERS


def run(case: dict[str, Any], directory: pathlib.Path) -> dict[str, str]:
  """Trains a case from where it stands to the end.

  Args:
    case: `method`, `optimizer`, `every_steps`, `dataset`.
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
  return {
    'weights': digest(model.get_weights()),
    'masks': digest(toys.masks(model)),
    'optimizer': digest([v.numpy() for v in model.optimizer.variables()]),
    'history': torture_parts.history_digest(history),
  }


def train(
  case: dict[str, Any], checkpoints: pathlib.Path, *more: Any
) -> tuple[keras.Model, dict[str, list[float]]]:
  """Trains a case from where its checkpoints stand; returns its history too."""
  keras.utils.set_random_seed(1)
  model, ticket = _model(case)
  data = {}
  if case['dataset']:
    batches = tf.data.Dataset.from_tensor_slices(toys.data())
    data = {'x': batches.shuffle(64).batch(8)}
  callbacks = torture_parts.callbacks(keras, case, checkpoints, EPOCHS)
  return model, torture_parts.fit(
    model, EPOCHS, [*ticket, *callbacks, *more], **data
  )


def _model(case: dict[str, Any]) -> tuple[keras.Model, list[Any]]:
  if case['method'] == 'gmp':
    schedule = tfmot.sparsity.keras.PolynomialDecay(
      0, 0.9, begin_step=8, end_step=64, frequency=4
    )
    wrap = functools.partial(
      tfmot.sparsity.keras.prune_low_magnitude, pruning_schedule=schedule
    )
    model = torture_parts.network(keras, wrap)
    ticket = [tfmot.sparsity.keras.UpdatePruningStep()]
  else:
    model, ticket = torture_parts.pruned(
      torture_parts.network(keras), case['method'], rounds=4
    )
  optimizer = torture_parts.optimizer(keras, case['optimizer'])
  return toys.compiled_for_labels(model, optimizer), ticket

"""What the runs of `torture` share: of tf_keras and of Keras 3 models.

They train with everything that makes resuming hard: shuffling, dropout, noise,
augmentation, normalisation, a learning rate that moves, an EarlyStopping that
counts, SGD and Adam.
"""

import functools
import hashlib
import pathlib
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Any

import numpy as np

import tf_unilth
from tests.testing import toys

# What makes the ticket callback of a method.
TICKETS: dict[str, Callable[..., Any]] = {
  'lth': tf_unilth.LTH,
  'dlth': functools.partial(tf_unilth.DLTH, seed=3),
  'unilth': functools.partial(tf_unilth.UniLTH, patience=1),
  'unidlth': functools.partial(tf_unilth.UniDLTH, seed=3, patience=1),
}
OPTIMIZERS = ('sgd', 'adam')


def network(
  keras: ModuleType, wrap: Callable[[Any], Any] = lambda layer: layer
) -> Any:
  """Returns a small model in which much is drawn at random.

  Args:
    keras: the package of the model.
    wrap: is called with the layers that are to be pruned.
  """
  layers = keras.layers
  return keras.Sequential(
    [
      layers.Input((6, 6, 1)),
      layers.RandomFlip('horizontal'),
      wrap(layers.Conv2D(4, 3)),
      layers.BatchNormalization(),
      layers.ReLU(),
      layers.Flatten(),
      layers.Dropout(0.3),
      wrap(layers.Dense(16, activation='relu')),
      layers.GaussianNoise(0.1),
      layers.Dense(2),
    ]
  )


def pruned(model: Any, method: str, rounds: int) -> tuple[Any, list[Any]]:
  """Returns a model that a method of ours prunes, and its callback in a list.

  Args:
    model: the model.
    method: a key of `TICKETS`, or 'dense'.
    rounds: of pruning.
  """
  if method == 'dense':
    return model, []
  schedule = tf_unilth.IterativeSparsity(0.9, rounds=rounds)
  model = tf_unilth.prune_low_magnitude(model, schedule)
  return model, [TICKETS[method](verbose=0)]


def optimizer(keras: ModuleType, name: str) -> Any:
  """Returns an optimizer of `OPTIMIZERS` of a Keras, with a staged rate."""
  rate = tf_unilth.StagedLearningRate(0.05)
  if name == 'sgd':
    return keras.optimizers.SGD(rate, momentum=0.9)
  return keras.optimizers.Adam(rate)


def callbacks(
  keras: ModuleType,
  case: Mapping[str, Any],
  checkpoints: pathlib.Path,
  epochs: int,
) -> list[Any]:
  """Returns the callbacks of a run that come after its ticket callback.

  Args:
    keras: the package of the model.
    case: `method` and `every_steps`.
    checkpoints: the directory of the checkpoints.
    epochs: of the whole run.
  """
  resume = tf_unilth.CheckpointAndResume(
    checkpoints,
    config={'method': case['method']},
    every_steps=case['every_steps'],
    verbose=0,
  )
  return [resume, keras.callbacks.EarlyStopping('val_loss', patience=epochs)]


def fit(
  model: Any, epochs: int, callbacks: Sequence[Any], **data: Any
) -> dict[str, list[float]]:
  """Trains a model, and returns the history.

  Args:
    model: a compiled model.
    epochs: of the whole run.
    callbacks: of the run.
    **data: `x` in batches; the arrays of `toys.data()` by default.
  """
  x, y = toys.data()
  return model.fit(
    **(data or {'x': x, 'y': y, 'batch_size': 8}),
    epochs=epochs,
    validation_data=(x, y),
    callbacks=callbacks,
    verbose=0,
  ).history


def digest(arrays: Sequence[np.ndarray]) -> str:
  """Returns the SHA-256 of arrays."""
  found = hashlib.sha256()
  for array in arrays:
    found.update(f'{array.dtype}{array.shape}'.encode() + array.tobytes())
  return found.hexdigest()


def history_digest(history: Mapping[str, Sequence[float]]) -> str:
  """Returns the SHA-256 of a history."""
  return hashlib.sha256(repr(history).encode()).hexdigest()

"""A small run of the library: what `torture` starts again and again.

It trains with everything that makes resuming hard: shuffling, dropout, noise,
augmentation, normalisation, a learning rate that moves, an EarlyStopping that
counts, SGD and Adam.
"""

import functools
import hashlib
import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_model_optimization as tfmot
import tf_keras as keras

import tf_unilth
from tests.testing import toys

EPOCHS = 10
METHODS = {
  'lth': tf_unilth.LTH,
  'dlth': functools.partial(tf_unilth.DLTH, seed=3),
  'unilth': functools.partial(tf_unilth.UniLTH, patience=1),
  'unidlth': functools.partial(tf_unilth.UniDLTH, seed=3, patience=1),
  'gmp': None,  # tfmot's own callback and schedule.
  'dense': None,
}
OPTIMIZERS = ('sgd', 'adam')


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
  return {
    'weights': _hash(model.get_weights()),
    'masks': _hash(toys.masks(model)),
    'optimizer': _hash([v.numpy() for v in model.optimizer.variables()]),
    'history': hashlib.sha256(repr(history).encode()).hexdigest(),
  }


def train(
  case: dict[str, Any], checkpoints: pathlib.Path, *more: Any
) -> tuple[keras.Model, dict[str, list[float]]]:
  """Trains a case from where its checkpoints stand; returns its history too."""
  keras.utils.set_random_seed(1)
  model, ticket = _model(case)
  resume = tf_unilth.CheckpointAndResume(
    checkpoints,
    config={'method': case['method']},
    every_steps=case['every_steps'],
    verbose=0,
  )
  stop = keras.callbacks.EarlyStopping('val_loss', patience=EPOCHS)
  x, y = toys.data()
  arguments = {'x': x, 'y': y, 'batch_size': 8}
  if case['dataset']:
    batches = tf.data.Dataset.from_tensor_slices((x, y)).shuffle(64).batch(8)
    arguments = {'x': batches}
  history = model.fit(
    **arguments,
    epochs=EPOCHS,
    validation_data=(x, y),
    callbacks=[*ticket, resume, stop, *more],
    verbose=0,
  )
  return model, history.history


def _hash(arrays: list[np.ndarray]) -> str:
  digest = hashlib.sha256()
  for array in arrays:
    digest.update(f'{array.dtype}{array.shape}'.encode() + array.tobytes())
  return digest.hexdigest()


def _model(case: dict[str, Any]) -> tuple[keras.Model, list[Any]]:
  method, wrap, ticket = case['method'], _as_it_is, []
  if method == 'gmp':
    schedule = tfmot.sparsity.keras.PolynomialDecay(
      0, 0.9, begin_step=8, end_step=64, frequency=4
    )
    wrap = functools.partial(
      tfmot.sparsity.keras.prune_low_magnitude, pruning_schedule=schedule
    )
    ticket = [tfmot.sparsity.keras.UpdatePruningStep()]
  model = network(wrap)
  if METHODS[method] is not None:
    schedule = tf_unilth.IterativeSparsity(0.9, rounds=4)
    model = tf_unilth.prune_low_magnitude(model, schedule)
    ticket = [METHODS[method](verbose=0)]
  rate = tf_unilth.StagedLearningRate(0.05)
  optimizers = {
    'sgd': lambda: keras.optimizers.SGD(rate, momentum=0.9),
    'adam': lambda: keras.optimizers.Adam(rate),
  }
  optimizer = optimizers[case['optimizer']]()
  return toys.compiled_for_labels(model, optimizer), ticket


def _as_it_is(layer: keras.layers.Layer) -> keras.layers.Layer:
  return layer


def network(wrap: Callable[[Any], Any] = _as_it_is) -> keras.Model:
  """Returns a small model in which much is drawn at random."""
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

"""A small run of the library on a Keras 3 model: as `torture_run`."""

import hashlib
import pathlib
from typing import Any

import keras
import numpy as np

import tf_unilth
from tests.testing import keras_3_toys, toys

EPOCHS = 8
METHODS = {
  'lth': lambda: tf_unilth.LTH(verbose=0),
  'dlth': lambda: tf_unilth.DLTH(seed=3, verbose=0),
  'unilth': lambda: tf_unilth.UniLTH(patience=1, verbose=0),
  'unidlth': lambda: tf_unilth.UniDLTH(seed=3, patience=1, verbose=0),
  'dense': None,
}
OPTIMIZERS = ('sgd', 'adam')
layers = keras.layers


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
  pruned = '_pruning_plan' in vars(model)
  state = keras_3_toys.training_state(model) if pruned else []
  masks = keras_3_toys.masks(model) if pruned else []
  return {
    'weights': _hash(model.get_weights()),
    'masks': _hash(masks),
    'optimizer': _hash(state),
    'generators': _hash([np.asarray(v) for v in map(_value, model.variables)]),
    'history': hashlib.sha256(repr(history).encode()).hexdigest(),
  }


def _value(variable: Any) -> np.ndarray:
  return keras.ops.convert_to_numpy(variable.value)


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
  history = model.fit(
    x,
    y,
    batch_size=8,
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
  model, ticket = network(), []
  make = METHODS[case['method']]
  if make is not None:
    schedule = tf_unilth.IterativeSparsity(0.9, rounds=3)
    model, ticket = tf_unilth.prune_low_magnitude(model, schedule), [make()]
  rate = tf_unilth.StagedLearningRate(0.05)
  optimizers = {
    'sgd': lambda: keras.optimizers.SGD(rate, momentum=0.9),
    'adam': lambda: keras.optimizers.Adam(rate),
  }
  optimizer = optimizers[case['optimizer']]()
  # On TensorFlow, XLA takes longer than it saves.
  jit = 'auto' if keras.backend.backend() == 'jax' else False
  model = keras_3_toys.compiled_for_labels(model, optimizer, jit_compile=jit)
  return model, ticket


def network() -> keras.Model:
  """Returns a small model in which much is drawn at random."""
  return keras.Sequential(
    [
      layers.Input((6, 6, 1)),
      layers.RandomFlip('horizontal'),
      layers.Conv2D(4, 3),
      layers.BatchNormalization(),
      layers.ReLU(),
      layers.Flatten(),
      layers.Dropout(0.3),
      layers.Dense(16, activation='relu'),
      layers.GaussianNoise(0.1),
      layers.Dense(2),
    ]
  )

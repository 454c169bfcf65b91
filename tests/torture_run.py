"""A small run that can be killed: what `tests.torture` starts again and again.

It trains with everything that makes resuming hard: shuffling, dropout, noise,
augmentation, normalisation, a learning rate that moves, an EarlyStopping that
counts. At its end it writes the hashes of all that it ended as.
"""

import errno
import functools
import hashlib
import json
import os
import pathlib
import resource
import signal
import threading
import time
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_model_optimization as tfmot
import tf_keras as keras

import tf_unilth
from tests import toys
from tf_unilth import callbacks, checkpoint_directory, sealed_file
from tf_unilth.pruned_layers import PrunedLayers
from tf_unilth.pruner import Pruner

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
# Where a run can kill itself: what is called there. A rewind and a change of
# stage are the ticket callbacks' alone, as masks are.
POINTS = {
  'saving': (checkpoint_directory.CheckpointDirectory, 'write'),
  'flushing': (os, 'fsync'),
  'renaming': (os, 'replace'),
  'removing old': (pathlib.Path, 'unlink'),
  'making masks': (Pruner, 'write'),
  'rewinding': (callbacks.TicketCallback, '_rewind'),
  'a stage switch': (callbacks.TicketCallback, '_begin_rounds'),
  'resuming': (callbacks.TicketCallback, 'after_restore'),
  'holding masks': (PrunedLayers, 'assign_masks'),
}


def run(case: dict[str, Any], directory: pathlib.Path) -> None:
  """Trains a case in a directory, from where it stands, to the end.

  Args:
    case: `method`, `optimizer`, `every_steps`, `dataset`; and how it fails:
      `kill` (point, call, seconds after its begin), `full` (what fails, save).
    directory: for the checkpoints; `result.json` is written beside them.
  """
  _arm(case)
  model, history = train(case, directory / 'checkpoints')
  result = json.dumps(hashes(model, history), indent=2)
  (directory / 'result.json').write_text(result)


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


def hashes(model: keras.Model, history: dict[str, list[float]]) -> dict:
  """Returns the SHA-256 of all that a run ended as."""
  return {
    'weights': _hash(model.get_weights()),
    'masks': _hash(toys.masks(model)),
    'optimizer': _hash([v.numpy() for v in model.optimizer.variables()]),
    'history': hashlib.sha256(repr(history).encode()).hexdigest(),
  }


def _hash(arrays: list[np.ndarray]) -> str:
  digest = hashlib.sha256()
  for array in arrays:
    digest.update(f'{array.dtype}{array.shape}'.encode() + array.tobytes())
  return digest.hexdigest()


def _model(case: dict[str, Any]) -> tuple[keras.Model, list[Any]]:
  method, layers, wrap, ticket = case['method'], keras.layers, _as_it_is, []
  if method == 'gmp':
    schedule = tfmot.sparsity.keras.PolynomialDecay(
      0, 0.9, begin_step=8, end_step=64, frequency=4
    )
    wrap = functools.partial(
      tfmot.sparsity.keras.prune_low_magnitude, pruning_schedule=schedule
    )
    ticket = [tfmot.sparsity.keras.UpdatePruningStep()]
  model = keras.Sequential(
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


def _arm(case: dict[str, Any]) -> None:
  """Lets this process fail as its case says."""
  if case.get('kill'):
    point, call, seconds = case['kill']
    _at_call(*POINTS[point], call, lambda: _kill_after(seconds))
  if case.get('full'):
    what, save, size = case['full']
    owner = checkpoint_directory.CheckpointDirectory
    _at_call(owner, 'write', save, lambda: _fill(what, size))


def _at_call(owner: Any, name: str, call: int, act: Any) -> None:
  """Calls `act` as a function is called for the `call`-th time, from 0."""
  original, calls = getattr(owner, name), iter(range(1 << 30))

  def counted(*args: Any, **kwargs: Any) -> Any:
    if next(calls) == call:
      act()
    return original(*args, **kwargs)

  setattr(owner, name, counted)


def _kill_after(seconds: float) -> None:
  def kill() -> None:
    time.sleep(seconds)
    os.kill(os.getpid(), signal.SIGKILL)

  if seconds:
    threading.Thread(target=kill, daemon=True).start()
  else:
    kill()


def _fill(what: str, size: int) -> None:
  """Lets there be room for `size` more bytes in a file, or none to flush."""
  if what == 'write':
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
    return

  def no_room(*args: Any, **kwargs: Any) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

  setattr(
    sealed_file.os, {'flush': 'fsync', 'rename': 'replace'}[what], no_room
  )

"""Writes files in mid-run, which later versions of the library must load.

  python -m tests.testing.older_files tests/fixtures/0.2.0

What is committed there was written by the version that its name says and is
not made anew. Beside each file lies an .npz of what it holds: weights,
optimizer state and masks, and those that the run ended with.
"""

import contextlib
import pathlib
import shutil
import sys
import tempfile
from typing import Any

import numpy as np
import tf_keras as keras

import tf_unilth
from tests.testing import tiny_recipe, toys

EPOCHS = 12
# The plateau is seen at epoch 4 and rewound to the end of epoch 2.
VAL_LOSS = (3, 2, 2.5, 2.2)


def _adam() -> Any:
  return keras.optimizers.Adam(tf_unilth.StagedLearningRate(0.05))


def _sgd() -> Any:
  return keras.optimizers.SGD(0.05, momentum=0.9)


# The run, the epoch after which it is saved, and the kind of file.
CASES = {
  'unilth-3.keras': (lambda: tf_unilth.UniLTH(verbose=0), _adam, 3),
  'unilth-6.h5': (lambda: tf_unilth.UniLTH(verbose=0), _adam, 6),
  'unilth-sgd-6.keras': (lambda: tf_unilth.UniLTH(verbose=0), _sgd, 6),
  'unidlth-6.keras': (lambda: tf_unilth.UniDLTH(seed=3, verbose=0), _adam, 6),
  'dlth-3.h5': (lambda: tf_unilth.DLTH(seed=3, verbose=0), _adam, 3),
  'lth-6.keras': (lambda: tf_unilth.LTH(verbose=0), _adam, 6),
  'unilth-6.saved_model': (lambda: tf_unilth.UniLTH(verbose=0), _adam, 6),
}


def wrapped(make_optimizer: Any) -> keras.Model:
  """Returns the model of all cases, wrapped and compiled."""
  keras.utils.set_random_seed(1)
  schedule = tf_unilth.IterativeSparsity(0.9, rounds=5)
  model = tf_unilth.prune_low_magnitude(toys.conv(), schedule)
  return toys.compiled_for_labels(model, make_optimizer())


def train(
  model: keras.Model, callback: Any, *more: Any, **arguments: Any
) -> keras.callbacks.History:
  """Trains to the end of the run."""
  return toys.fit(
    model,
    toys.SetValLoss(*VAL_LOSS),
    callback,
    *more,
    epochs=EPOCHS,
    shuffle=False,
    **arguments,
  )


class SaveAfter(keras.callbacks.Callback):
  """Saves the model when some epochs are completed, and notes what it was."""

  def __init__(self, epochs: int, path: pathlib.Path):
    super().__init__()
    self._epochs, self._path = epochs, path
    self.saved: list[np.ndarray] = []

  def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
    if epoch + 1 == self._epochs:
      self.model.save(self._path)
      self.saved = state(self.model)


def state(model: keras.Model) -> list[np.ndarray]:
  """Returns weights, optimizer state and masks."""
  return [*toys.training_state(model), *toys.masks(model)]


def write(folder: pathlib.Path) -> None:
  """Writes all files."""
  folder.mkdir(parents=True, exist_ok=True)
  for name, (make, make_optimizer, epochs) in CASES.items():
    model = wrapped(make_optimizer)
    save = SaveAfter(epochs, folder / name)
    train(model, make(), save)
    _note(folder / name, save.saved, state(model))
  _write_checkpoints(folder / 'checkpoints')
  _write_ticket(folder / 'unilth.ticket')
  _write_packed(folder / 'packed.saved_model')
  _write_search(folder / 'search')
  _write_run(folder / 'run')


def _note(
  path: pathlib.Path, saved: list[np.ndarray], ended: list[np.ndarray]
) -> None:
  arrays = {f'saved_{i}': array for i, array in enumerate(saved)}
  arrays |= {f'ended_{i}': array for i, array in enumerate(ended)}
  np.savez_compressed(path.with_name(f'{path.name}.npz'), **arrays)


class _Stop(keras.callbacks.Callback):
  def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
    if epoch == 6:
      raise KeyboardInterrupt


def _write_checkpoints(folder: pathlib.Path) -> None:
  """Leaves the checkpoints of a run that was interrupted."""
  whole = wrapped(_adam)
  train(whole, tf_unilth.UniLTH(verbose=0))
  model = wrapped(_adam)
  resume = tf_unilth.CheckpointAndResume(folder)
  with contextlib.suppress(KeyboardInterrupt):
    train(model, tf_unilth.UniLTH(verbose=0), resume, _Stop())
  _note(folder, state(model), state(whole))


def _write_ticket(path: pathlib.Path) -> None:
  model = wrapped(_adam)
  callback = tf_unilth.UniLTH(verbose=0)
  train(model, callback)
  ticket = tf_unilth.Ticket.from_model(model, callback)
  ticket.save(path)
  arrays = {f'mask {name}': mask for name, mask in ticket.masks.items()}
  assert ticket.rewind_weights is not None
  arrays |= {f'rewind {n}': a for n, a in ticket.rewind_weights.items()}
  np.savez_compressed(path.with_name(f'{path.name}.npz'), **arrays)


def _write_packed(path: pathlib.Path) -> None:
  keras.utils.set_random_seed(1)
  model = keras.Sequential([keras.layers.Dense(200, input_shape=(100,))])
  kernel, bias = model.get_weights()
  kernel[np.random.default_rng(0).random(kernel.shape) < 0.97] = 0
  model.set_weights([kernel, bias])
  tf_unilth.export_saved_model(model, path)
  x = np.random.default_rng(1).normal(size=(4, 100)).astype(np.float32)
  arrays = {'kernel': kernel, 'x': x, 'y': model(x).numpy()}
  np.savez_compressed(path.with_name(f'{path.name}.npz'), **arrays)


def _write_search(folder: pathlib.Path) -> None:
  from tests.testing import tuned  # It needs keras-tuner.

  tuned.run(tuned.search(folder, max_trials=2))
  (folder / 'lock').unlink()


def _write_run(folder: pathlib.Path) -> None:
  """Writes the JSON and CSV files of a finished run of a recipe."""
  with tempfile.TemporaryDirectory() as name:
    directory = pathlib.Path(name)
    tiny_recipe.run(directory, plots=False, export=['ticket'])
    folder.mkdir()
    for path in [*directory.glob('*.json'), *directory.glob('*.csv')]:
      shutil.copy(path, folder)


if __name__ == '__main__':
  write(pathlib.Path(sys.argv[1]))

"""The kinds of file that the library promises, as they are written and read."""

import contextlib
import io
import os
import pathlib
import warnings
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import numpy as np
import tensorflow as tf
import tf_keras as keras
from matplotlib.figure import Figure
from PIL import Image

import tf_unilth
from recipes.training import history_writer, run_directory
from recipes.training.run_directory import RunDirectoryError
from tests.stress.file_kind import Kind, Promise
from tests.testing import tiny_recipe, toys
from tf_unilth import inspection
from tf_unilth.export.quiet import silenced
from tf_unilth.files import directory_swap
from tf_unilth.files.checkpoint_errors import CheckpointError
from tf_unilth.resume.checkpoint_store import CheckpointDirectory


class Tickets:
  """Ticket files, each replaced by the next."""

  name, last = 'ticket', 4
  each_alone = True
  read_errors = (tf_unilth.TicketFileError,)
  write_errors: tuple[type[Exception], ...] = (OSError,)

  def write(
    self, folder: pathlib.Path, promise: Promise, done: int = 0
  ) -> None:
    mask = np.arange(1200).reshape(30, 40) % 2 == 0
    for state in range(done + 1, self.last + 1):
      weights = {'dense': np.full(mask.shape, state, np.float32)}
      ticket = tf_unilth.Ticket({'dense': mask}, weights, seed=state)
      ticket.save(folder / 'new' / 'ticket', overwrite=True)
      promise(state)

  def read(self, folder: pathlib.Path) -> int:
    try:
      ticket = tf_unilth.Ticket.load(folder / 'new' / 'ticket')
    except FileNotFoundError:
      return 0
    assert ticket.rewind_weights is not None and ticket.seed is not None
    assert np.all(ticket.rewind_weights['dense'] == ticket.seed)
    return ticket.seed


class Checkpoints:
  """The checkpoints of a `fit`: a state is two of them in an epoch."""

  name, last = 'checkpoints', 4
  each_alone = False
  read_errors = (CheckpointError,)
  write_errors: tuple[type[Exception], ...] = (OSError,)

  def write(
    self, folder: pathlib.Path, promise: Promise, done: int = 0
  ) -> None:
    keras.utils.set_random_seed(0)
    model = toys.compiled_for_labels(toys.dense())
    resume = self._resume(folder)
    # Two steps an epoch, since a step takes longer than a checkpoint.
    x, y = (array[:16] for array in toys.data())
    with _after_checkpoints(lambda saved: promise(self._state(*saved))):
      model.fit(x, y, 8, self.last // 2, verbose=0, callbacks=[resume])

  def read(self, folder: pathlib.Path) -> int:
    resume = self._resume(folder)
    return self._state(resume.initial_epoch, resume.initial_step)

  def _resume(self, folder: pathlib.Path) -> tf_unilth.CheckpointAndResume:
    return tf_unilth.CheckpointAndResume(
      folder / 'checkpoints', every_steps=1, verbose=0
    )

  def _state(self, epoch: int, step: int) -> int:
    return 2 * epoch + step


class SavedModels:
  """SavedModels, each replaced by the next."""

  name, last = 'SavedModel', 2
  each_alone = True
  read_errors = (inspection.UnreadableError,)
  write_errors: tuple[type[Exception], ...] = (OSError, tf.errors.OpError)

  def write(
    self, folder: pathlib.Path, promise: Promise, done: int = 0
  ) -> None:
    for state in range(done + 1, self.last + 1):
      with silenced(), warnings.catch_warnings():
        warnings.simplefilter('ignore')  # That one was put back.
        tf_unilth.export_saved_model(
          _half_zeros(state), folder / 'new' / 'export', overwrite=True
        )
      promise(state)

  def read(self, folder: pathlib.Path) -> int:
    path = folder / 'new' / 'export'
    directory_swap.restore(path)  # As the next export does.
    if not path.exists():
      return 0
    inspection.read(path)
    loaded = tf.saved_model.load(str(path))
    return _state_of(loaded.serve(tf.ones((1, _WIDTH))).numpy())


class TFLiteFiles:
  """TFLite files, each replaced by the next."""

  name, last = 'TFLite file', 2
  each_alone = True
  read_errors = (inspection.UnreadableError,)
  write_errors: tuple[type[Exception], ...] = (OSError,)

  def write(
    self, folder: pathlib.Path, promise: Promise, done: int = 0
  ) -> None:
    for state in range(done + 1, self.last + 1):
      tf_unilth.export_tflite(
        _half_zeros(state), folder / 'new' / 'model.tflite', overwrite=True
      )
      promise(state)

  def read(self, folder: pathlib.Path) -> int:
    path = folder / 'new' / 'model.tflite'
    if not path.exists():
      return 0
    inspection.read(path)
    interpreter = tf.lite.Interpreter(model_path=str(path))
    interpreter.allocate_tensors()
    (given,), (made,) = (
      interpreter.get_input_details(),
      interpreter.get_output_details(),
    )
    interpreter.set_tensor(given['index'], np.ones((1, _WIDTH), np.float32))
    interpreter.invoke()
    return _state_of(interpreter.get_tensor(made['index']))


class RunDirectories:
  """The run directory of a recipe: its epochs, then all that it ends with."""

  name, last = 'run directory', 4
  each_alone = False
  read_errors = (RunDirectoryError, CheckpointError)
  write_errors: tuple[type[Exception], ...] = (
    *(OSError, RunDirectoryError, tf.errors.OpError),
  )
  # Files of the lock, whose content is for other processes.
  _passing = ('checkpoints/lock', 'checkpoints/lock-owner.json')

  def __init__(self) -> None:
    self._finished: list[dict[str, bytes]] = []  # Of whole runs.
    self._figures: dict[str, Any] = {}

  def write(
    self, folder: pathlib.Path, promise: Promise, done: int = 0
  ) -> None:
    directory = folder / 'new' / 'run'
    try:
      with (
        silenced(),
        mock.patch.object(Figure, 'savefig', self._savefig()),
        _after_checkpoints(lambda saved: promise(saved[0])),
      ):
        tiny_recipe.run(
          directory,
          epochs=self.last - 1,
          batch_size=512,
          method='dlth',
          target_sparsity=0.5,
          export=['saved_model', 'ticket'],
        )
    finally:  # The last call may fail with everything written.
      self._finished.append(self._files(directory))
    promise(self.last)

  def read(self, folder: pathlib.Path) -> int:
    directory = folder / 'new' / 'run'
    files = self._files(directory)
    if 'results.json' in files:
      results = run_directory.read_json(directory / run_directory.RESULTS)
      assert results['epochs'] == self.last - 1
      assert files in self._finished, f'other files: {sorted(files)}'
      inspection.read(directory / 'saved_model')
      tf_unilth.Ticket.load(directory / 'ticket')
      return self.last
    resume = tf_unilth.CheckpointAndResume(
      directory / run_directory.CHECKPOINTS, verbose=0
    )
    epochs = resume.initial_epoch
    writer = history_writer.HistoryWriter(directory, None, epochs)
    assert all(len(row) == epochs for row in writer.history.values())
    assert not epochs or run_directory.CONFIG in files, 'no configuration'
    return epochs

  def _savefig(self) -> Callable[..., None]:
    """Returns a `savefig` that draws each figure once: it takes seconds."""
    draw = Figure.savefig

    def savefig(figure: Figure, path: pathlib.Path, **settings: Any) -> None:
      if path.name not in self._figures:
        drawn = io.BytesIO()
        draw(figure, drawn)
        self._figures[path.name] = image = Image.open(drawn)
        image.load()
      self._figures[path.name].save(path, 'png')  # As matplotlib writes it.

    return savefig

  def _files(self, directory: pathlib.Path) -> dict[str, bytes]:
    # By a path that the shim does not watch: this is no call of the run.
    directory = pathlib.Path('/proc/self/root', *directory.parts[1:])
    found = {
      os.path.relpath(path, directory): path.read_bytes()
      for path in directory.rglob('*')
      if path.is_file()
    }
    return {n: v for n, v in found.items() if n not in self._passing}


KINDS: tuple[Callable[[], Kind], ...] = (
  *(Tickets, Checkpoints, SavedModels, TFLiteFiles, RunDirectories),
)
_WIDTH = 100


def _half_zeros(state: int) -> keras.Model:
  """Returns a model whose outputs for ones are the state, in eight units."""
  keras.utils.set_random_seed(0)
  model = keras.Sequential(
    [keras.layers.Dense(_WIDTH, use_bias=False, input_shape=(_WIDTH,))]
  )
  kernel = np.zeros((_WIDTH, _WIDTH), np.float32)
  kernel[0] = state
  model.set_weights([kernel])
  return model


def _state_of(outputs: np.ndarray) -> int:
  state = int(outputs.flat[0])
  assert np.all(outputs == state), 'wrong weights'
  return state


@contextlib.contextmanager
def _after_checkpoints(
  act: Callable[[tuple[int, int]], None],
) -> Iterator[None]:
  """Calls `act` with epoch and step after each checkpoint is written."""
  write = CheckpointDirectory.write

  def written(store: CheckpointDirectory, checkpoint: Any) -> None:
    write(store, checkpoint)
    act((checkpoint.epoch, checkpoint.step))

  with mock.patch.object(CheckpointDirectory, 'write', written):
    yield

"""The run directory: the files of a run, and how a run is resumed."""

import contextlib
import csv
import json
import pathlib
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import tf_unilth
from recipes.common import files
from recipes.common.wording import count

CONFIG, RESULTS, CHECKPOINTS = 'config.json', 'results.json', 'checkpoints'
# Of its JSON files. Those of 0.1.0 do not state it.
_VERSION, _VERSION_KEY = 1, 'format_version'
# Of `tf_unilth.DirectoryLock`.
_LOCK_FILES = ('lock', 'lock-owner.json')
# The files of a run. The configuration is deleted last: it marks the directory
# as that of a run.
_FILES = (
  RESULTS,
  *('report.md', 'epochs.png', 'layers.png', 'weights.png'),
  *('model.keras', 'model.tflite', 'ticket', 'history.csv', 'progress.json'),
  'tensorboard/*/events.*',
  f'{CHECKPOINTS}/epoch-*',
  *(f'{CHECKPOINTS}/{name}' for name in _LOCK_FILES),
  CONFIG,
)
# Its folders, deleted if they are empty.
_FOLDERS = ('tensorboard/*', 'tensorboard', CHECKPOINTS)
# Keys of the configuration of every run.
_OF_A_RUN = {'recipe', 'method', 'target_sparsity', 'seed'}


class RunDirectoryError(Exception):
  """A run directory that cannot be used; the message is for the user."""


def read_json(path: pathlib.Path, keys: Iterable[str] = ()) -> dict[str, Any]:
  """Returns the content of a JSON file of a run directory.

  Args:
    path: of the file.
    keys: keys that it must contain.

  Raises:
    RunDirectoryError: it is damaged, or of a newer version.
  """
  try:
    _check_regular(path)
    content = json.loads(path.read_text())
  except (ValueError, RecursionError) as error:
    raise RunDirectoryError(f'{str(path)!r} is damaged: {error}.') from error
  if not isinstance(content, dict):
    raise RunDirectoryError(f'{str(path)!r} is damaged: it is no object.')
  version = content.pop(_VERSION_KEY, _VERSION)
  if type(version) is not int or version != _VERSION:
    raise RunDirectoryError(
      f'{str(path)!r} cannot be read: it has format version {version!r:.40}, '
      f'but this tf_unilth reads version {_VERSION}.'
    )
  if not content.keys() >= set(keys):
    raise RunDirectoryError(f'{str(path)!r} is damaged: a key is missing.')
  return content


def _check_regular(path: pathlib.Path) -> None:
  """Raises if a path is a pipe or a device, which may have no end."""
  if path.exists() and not path.is_file():
    raise RunDirectoryError(f'{str(path)!r} is damaged: it is no file.')


def write_json(path: pathlib.Path, content: Mapping[str, Any]) -> None:
  """Writes a JSON file of a run directory, with its version, atomically.

  Args:
    path: of the file.
    content: what `read_json` shall return.

  Raises:
    OSError: it cannot be written; the message names the file.
  """
  files.write_json(path, {_VERSION_KEY: _VERSION, **content})


def finished(
  directory: pathlib.Path,
  config: Mapping[str, Any],
  can_overwrite: bool = False,
) -> dict[str, Any] | None:
  """Returns the results of a finished run, `None` if it is not finished.

  Args:
    directory: of the run.
    config: of the run.
    can_overwrite: whether the program has the flag `overwrite`.

  Raises:
    RunDirectoryError: it cannot be read, or has another configuration.
    OSError: the path of the directory is a file.
  """
  files.check_folder('output_dir', directory)
  with _readable(directory, 'read'):
    known = directory / CONFIG
    if not known.exists():
      return None
    results = directory / RESULTS
    found = read_json(results) if results.exists() else None
    differences = _differences(read_json(known), json.loads(json.dumps(config)))
    if differences:
      raise RunDirectoryError(
        _other_run(directory, differences, found, can_overwrite)
      )
    return found


def make(directory: pathlib.Path) -> None:
  """Creates a run directory, if there is none.

  Raises:
    RunDirectoryError: it cannot be written.
  """
  with _readable(directory, 'written'):
    files.make_folder(directory)


def begin(directory: pathlib.Path, config: Mapping[str, Any]) -> None:
  """Writes the configuration; other configurations are rejected afterwards.

  Raises:
    RunDirectoryError: it cannot be written.
  """
  with _readable(directory, 'written'):
    write_json(directory / CONFIG, config)


@contextlib.contextmanager
def _readable(directory: pathlib.Path, verb: str) -> Iterator[None]:
  try:
    yield
  except OSError as error:
    raise RunDirectoryError(
      f'output_dir={str(directory)!r} cannot be {verb}: {error.strerror}.'
    ) from error


def _differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
  return [
    f'  {name}: {old.get(name)!r} there, {new.get(name)!r} now'
    for name in sorted({*old, *new})
    if old.get(name) != new.get(name)
  ]


def _other_run(
  directory: pathlib.Path,
  differences: Sequence[str],
  results: Mapping[str, Any] | None,
  can_overwrite: bool,
) -> str:
  """Returns why the run in a directory is not resumed, and what to do."""
  kind, why = 'run', 'Give its flags again to resume it, or '
  if results is not None:
    epochs = results.get('epochs')
    of = f' of {count(epochs, "epoch")}' if isinstance(epochs, int) else ''
    kind = f'finished run{of}'
    why = (
      'A finished run is not trained further: its learning rate and rounds '
      'were planned for its own epochs. Give '
    )
  ways = ['another --output_dir']
  if can_overwrite:
    ways.append('--overwrite to delete it and start again')
  return '\n'.join(
    [
      f'output_dir={str(directory)!r} holds a {kind} of another configuration:',
      *differences,
      f'{why}{", or ".join(ways)}.',
    ]
  )


def check_clears(directory: pathlib.Path) -> None:
  """Raises if `clear` would raise.

  Raises:
    RunDirectoryError: it contains files but no run; it cannot be read.
    OSError: the path of the directory is a file.
  """
  files.check_folder('output_dir', directory)
  with _readable(directory, 'read'):
    if not directory.exists():
      return
    there = sorted(directory.iterdir())
    config = directory / CONFIG
    if config.exists() and read_json(config).keys() >= _OF_A_RUN:
      return
    # A run that was rejected at its start leaves the lock file.
    checkpoints = directory / CHECKPOINTS
    left = {checkpoints / name for name in ('', *_LOCK_FILES)}
    if left.issuperset(directory.rglob('*')):
      return
  shown = ', '.join(repr(path.name) for path in there[:3])
  raise RunDirectoryError(
    f'output_dir={str(directory)!r} holds no run of a recipe, but {shown}: '
    '--overwrite deletes nothing there. Give another --output_dir.'
  )


def clear(directory: pathlib.Path) -> None:
  """Deletes the files of a run; other files stay.

  Raises:
    RunDirectoryError: it contains files but no run; it cannot be written.
    DirectoryInUseError: a run is using it.
  """
  check_clears(directory)
  with _readable(directory, 'written'), _locked(directory / CHECKPOINTS):
    if (directory / 'saved_model' / 'saved_model.pb').is_file():
      shutil.rmtree(directory / 'saved_model')
    for pattern in _FILES:
      for path in directory.glob(pattern):
        if not path.is_dir():
          path.unlink()
    for pattern in _FOLDERS:
      for path in directory.glob(pattern):
        with contextlib.suppress(OSError):  # It is not empty.
          path.rmdir()


@contextlib.contextmanager
def _locked(directory: pathlib.Path) -> Iterator[None]:
  if not directory.is_dir():
    yield
    return
  lock = tf_unilth.DirectoryLock(directory)
  lock.acquire()
  try:
    yield
  finally:
    lock.release()


def write_history(path: pathlib.Path, history: Mapping[str, list[Any]]) -> None:
  """Writes the epoch logs as CSV, one row per epoch."""
  columns = ['epoch', *history]
  values = enumerate(zip(*history.values()), 1)
  rows = [dict(zip(columns, (epoch, *row))) for epoch, row in values]
  files.write_text(path, files.csv_text(columns, rows))


def read_history(path: pathlib.Path) -> dict[str, list[float]]:
  """Returns the epoch logs that `write_history` wrote.

  Raises:
    RunDirectoryError: it is damaged.
  """
  _check_regular(path)
  try:
    with path.open(newline='') as file:
      rows = list(csv.DictReader(file))
    names = [name for name in rows[0] if name != 'epoch']
    return {name: [float(row[name]) for row in rows] for name in names}
  except (IndexError, KeyError, TypeError, ValueError, csv.Error) as error:
    raise RunDirectoryError(f'{str(path)!r} is damaged.') from error

"""The run directory: what a run of a recipe writes, and how it goes on."""

import contextlib
import csv
import importlib.metadata
import json
import os
import pathlib
import platform
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from tf_unilth import arguments

_PACKAGES = ('tensorflow', 'tf-keras', 'tensorflow-model-optimization', 'numpy')


class RunDirectoryError(Exception):
  """A run directory that cannot be used; the message is for the user."""


def versions() -> dict[str, str]:
  """Returns the versions that a result depends on."""
  found = {name: importlib.metadata.version(name) for name in _PACKAGES}
  return {'python': platform.python_version(), **found}


def write_text(path: pathlib.Path, text: str) -> None:
  """Writes a file beside its name and renames it: whole or not at all.

  Raises:
    OSError: it cannot be written; it names the file.
  """
  beside = path.with_name(path.name + '.tmp')
  try:
    beside.write_text(text)
    os.replace(beside, path)
  except OSError as error:  # A full disk is told without a name.
    raise OSError(
      error.errno, error.strerror or str(error), str(path)
    ) from None
  finally:
    beside.unlink(missing_ok=True)


def write_json(path: pathlib.Path, content: Mapping[str, Any]) -> None:
  """Writes a JSON file, whole or not at all."""
  write_text(path, json.dumps(content, indent=2) + '\n')


def read_json(path: pathlib.Path, keys: Iterable[str] = ()) -> dict[str, Any]:
  """Returns what a JSON file of a run directory holds.

  Args:
    path: of the file.
    keys: what must be in it.

  Raises:
    RunDirectoryError: it is damaged.
  """
  try:
    content = json.loads(path.read_text())
  except ValueError as error:
    raise RunDirectoryError(f'{str(path)!r} is damaged: {error}.') from error
  if not isinstance(content, dict) or not content.keys() >= set(keys):
    raise RunDirectoryError(f'{str(path)!r} is damaged: it lacks what it had.')
  return content


def finished(
  directory: pathlib.Path, config: Mapping[str, Any]
) -> dict[str, Any] | None:
  """Returns the results, if the same run is finished there, else `None`.

  Raises:
    RunDirectoryError: it cannot be read, or holds another configuration.
    OSError: a file is in its way.
  """
  arguments.folder('output_dir', directory)
  with _readable(directory, 'read'):
    known = directory / 'config.json'
    if not known.exists():
      return None
    _check_same(directory, read_json(known), json.loads(json.dumps(config)))
    results = directory / 'results.json'
    return read_json(results) if results.exists() else None


def make(directory: pathlib.Path) -> None:
  """Makes a run directory, if it is not there.

  Raises:
    RunDirectoryError: it cannot be written.
  """
  with _readable(directory, 'written'):
    directory.mkdir(parents=True, exist_ok=True)


def begin(directory: pathlib.Path, config: Mapping[str, Any]) -> None:
  """Says whose run it is: another configuration is refused from here on.

  Raises:
    RunDirectoryError: it cannot be written.
  """
  with _readable(directory, 'written'):
    write_json(directory / 'config.json', config)


@contextlib.contextmanager
def _readable(directory: pathlib.Path, verb: str) -> Iterator[None]:
  try:
    yield
  except OSError as error:
    raise RunDirectoryError(
      f'output_dir={str(directory)!r} cannot be {verb}: {error.strerror}.'
    ) from error


def _check_same(
  directory: pathlib.Path, old: Mapping[str, Any], new: Mapping[str, Any]
) -> None:
  differences = [
    f'  {name}: {old.get(name)!r} there, {new.get(name)!r} now'
    for name in sorted({*old, *new})
    if old.get(name) != new.get(name)
  ]
  if differences:
    raise RunDirectoryError(
      f'output_dir={str(directory)!r} holds a run of another configuration:\n'
      + '\n'.join(differences)
      + '\nGive its flags again to go on with it, or another --output_dir.'
    )


def write_history(path: pathlib.Path, history: Mapping[str, list[Any]]) -> None:
  """Writes the epoch logs as CSV, a line per epoch."""
  lines = [','.join(['epoch', *history])]
  rows = zip(*history.values())
  lines += [
    ','.join(map(str, [epoch, *row])) for epoch, row in enumerate(rows, 1)
  ]
  write_text(path, '\n'.join(lines) + '\n')


def read_history(path: pathlib.Path) -> dict[str, list[float]]:
  """Returns the epoch logs that `write_history` wrote.

  Raises:
    RunDirectoryError: it is damaged.
  """
  with path.open(newline='') as file:
    rows = list(csv.DictReader(file))
  try:
    names = [name for name in rows[0] if name != 'epoch']
    return {name: [float(row[name]) for row in rows] for name in names}
  except (IndexError, KeyError, TypeError, ValueError) as error:
    raise RunDirectoryError(f'{str(path)!r} is damaged.') from error

"""The run directory: what a run writes, and the table that it ends with."""

import csv
import importlib.metadata
import json
import os
import pathlib
import platform
from collections.abc import Mapping
from typing import Any

_PACKAGES = ('tensorflow', 'tf-keras', 'tensorflow-model-optimization', 'numpy')


class RunDirectoryError(Exception):
  """A run directory that cannot be used; the message is for the user."""


def versions() -> dict[str, str]:
  """Returns the versions that a result depends on."""
  found = {name: importlib.metadata.version(name) for name in _PACKAGES}
  return {'python': platform.python_version(), **found}


def write_json(path: pathlib.Path, content: Mapping[str, Any]) -> None:
  """Writes a JSON file beside its name and renames it: whole or not at all."""
  beside = path.with_name(path.name + '.tmp')
  beside.write_text(json.dumps(content, indent=2) + '\n')
  os.replace(beside, path)


def open_run(
  directory: pathlib.Path, config: Mapping[str, Any]
) -> dict[str, Any] | None:
  """Makes or finds a run directory.

  Returns:
    The results, if the same run is finished there, else `None`.

  Raises:
    RunDirectoryError: it cannot be written, or holds another configuration.
  """
  try:
    directory.mkdir(parents=True, exist_ok=True)
    known = directory / 'config.json'
    if known.exists():
      _check_same(directory, json.loads(known.read_text()), config)
    write_json(known, config)
  except OSError as error:
    raise RunDirectoryError(
      f'output_dir={str(directory)!r} cannot be written: {error.strerror}.'
    ) from error
  results = directory / 'results.json'
  return json.loads(results.read_text()) if results.exists() else None


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
    )


def write_history(path: pathlib.Path, history: Mapping[str, list[Any]]) -> None:
  """Writes the epoch logs as CSV, a line per epoch."""
  names = list(history)
  with path.open('w', newline='') as file:
    writer = csv.writer(file)
    writer.writerow(['epoch', *names])
    rows = zip(*(history[name] for name in names))
    writer.writerows([epoch, *row] for epoch, row in enumerate(rows, 1))


def table(results: Mapping[str, Any]) -> str:
  """Returns the results as a table for people."""
  weights = (
    f'{results["nonzero_weights"]:,} of {results["total_weights"]:,} '
    'weights are not zero'
  )
  plateau = 'no plateau'
  if results['plateau_epoch'] is not None:
    plateau = f'plateau at epoch {results["plateau_epoch"]}'
  if results['rewound_to_epoch'] is not None:
    plateau += f', rewound to the end of epoch {results["rewound_to_epoch"]}'
  rows = {
    'method': f'{results["method"]} on {results["dataset"]}',
    'model': results['model'],
    'sparsity': f'{100 * results["sparsity"]:.3f}% ({weights})',
    'test accuracy': f'{100 * results["test_accuracy"]:.2f}%',
    'validation accuracy': f'{100 * results["validation_accuracy"]:.2f}%',
    'stage 1': plateau,
    'rounds': results['rounds'],
    'epochs, steps': f'{results["epochs"]}, {results["steps"]:,}',
    'time': f'{results["seconds"]:.1f} s',
    'SavedModel': f'{results["export_bytes"]:,} bytes, outputs differ by '
    f'{results["export_difference"]:.2g} at most',
  }
  width = max(map(len, rows))
  return '\n'.join(f'{k.ljust(width)}  {v}' for k, v in rows.items())

"""Measures accuracy against latency: the networks of finished comparisons.

  python -m recipes.compare --recipe=cifar10_small --data_dir=... \\
    --structure=channels --of=flops --export=saved_model,tflite \\
    --output_dir=runs/channels
  python -m recipes.compare --recipe=cifar10_small --data_dir=... \\
    --methods=unilth --export=saved_model,tflite --output_dir=runs/weights
  python -m recipes.costs.accuracy_latency --recipe=cifar10_small \\
    --data_dir=... --comparisons=runs/channels,runs/weights --output=found.json

Takes the TFLite files of the runs that are compared, and writes the dense
networks in int8 too, calibrated on training images. The accuracy is what a file
reaches on the test images. All files are called in turn, with one thread; the
time of a file is beside that of the dense network of the same seed. A table and
a plot are written beside the JSON file.
"""

import csv
import dataclasses
import itertools
import json
import pathlib
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from absl import app, flags, logging

import tf_unilth
from recipes.common import files
from recipes.comparison.trials import directory_name
from recipes.costs import (
  accuracy_latency_report,
  file_calls,
  file_times,
  result_file,
)
from recipes.costs.latency_files import TimedFile
from recipes.data.dataset import Dataset
from recipes.training import catalogue, command_line, optimization
from recipes.training.recipe import Recipe
from recipes.training.run_config import RunConfig

FLAGS = flags.FLAGS
_GROUP = 'Accuracy and latency'
_CALIBRATION = 256
# A file may have an image or two otherwise than its run, in some hundred.
_ROUNDING = 0.005

_COMPARISONS = flags.DEFINE_list(
  'comparisons',
  None,
  'Output directories of recipes.compare, of runs with '
  '--export=saved_model,tflite.',
  module_name=_GROUP,
)
_THREADS = 1
_BATCHES = 1, 32
_CALLS = 100  # Of each file, in each setting.


@dataclasses.dataclass(frozen=True)
class Network:
  """A trained network.

  Args:
    method: that made it.
    structure: what was pruned: `'channels'`, or `''` for single weights.
    of: what `target` is a share of: `'weights'` or `'flops'`.
    target: the share that was removed, in [0, 1).
    seed: of its run.
    test_accuracy: that its run has found.
    directory: of its run.
  """

  method: str
  structure: str
  of: str
  target: float
  seed: int
  test_accuracy: float
  directory: pathlib.Path

  @property
  def is_dense(self) -> bool:
    """Whether nothing was removed."""
    return not self.target

  @property
  def file(self) -> pathlib.Path:
    """Its TFLite file."""
    return self.directory / 'model.tflite'


def networks(comparison: pathlib.Path, recipe: str) -> list[Network]:
  """Returns the networks that are compared, not those of the search.

  Args:
    comparison: output directory of `recipes.compare`.
    recipe: the name of the recipe that its runs must be of.

  Raises:
    OSError: it is no such directory.
    ValueError: it is of another recipe, or a run has no TFLite file.
  """
  with (comparison / 'comparison.csv').open(newline='') as file:
    rows = [row for row in csv.DictReader(file) if row['chosen'] == '1']
  for row in rows:
    if row['recipe'] != recipe:
      raise ValueError(
        f'--comparisons={comparison} is of --recipe={row["recipe"]}, not of '
        f'--recipe={recipe}.'
      )
  found = [_network(comparison, row) for row in rows]
  for network in found:
    if not network.file.exists():
      raise ValueError(
        f'{network.directory} has no model.tflite: recipes.compare needs '
        '--export=saved_model,tflite and another --output_dir.'
      )
  return found


def _network(comparison: pathlib.Path, row: Mapping[str, str]) -> Network:
  method, words = row['method'], row['knobs']
  target, seed = float(row['target_sparsity']), int(row['seed'])
  name = directory_name(method, words, target, seed)
  directory = comparison / 'runs' / name
  config = json.loads((directory / 'config.json').read_text())
  return Network(
    method,
    # That of the comparison, which does not prune its dense networks.
    row.get('structure', '') if target else '',
    config.get('of') or 'weights',
    target,
    seed,
    float(row['test_accuracy']),
    directory,
  )


def measure(
  recipe: Recipe,
  config: RunConfig,
  found: Sequence[Network],
) -> list[dict[str, Any]]:
  """Returns a row per file: what it is, its accuracy, its times in seconds.

  Args:
    recipe: of the runs.
    config: for the data and the dense networks.
    found: the networks, a dense one of each seed among them.

  Raises:
    ValueError: a seed has no dense network, a network is there twice, or a
      file is not as good as its run was.
  """
  _check(found)
  recipe = recipe.configured(config.recipe_flags)
  data = recipe.load(config.data_options)
  with tempfile.TemporaryDirectory() as folder:
    written = [(network, 'float32', network.file) for network in found]
    for network in found:
      if network.is_dense:
        path = pathlib.Path(folder, f'{network.seed}.tflite')
        _write_int8(recipe, config, data, network, path)
        written.append((network, 'int8', path))
    rows = [
      _row(network, weights, path, data, config.batch_size)
      for network, weights, path in written
    ]
    paths = [str(path) for _, _, path in written]
    timed = [TimedFile('', p, paths[0], p, 0) for p in paths]
    times = file_times.measure(timed, [_THREADS], _BATCHES, _CALLS)
  return [
    {**row, 'seconds': of_file['seconds']}
    for row, of_file in zip(rows, times, strict=True)
  ]


def _row(
  network: Network,
  weights: str,
  path: pathlib.Path,
  data: Dataset,
  batch_size: int,
) -> dict[str, Any]:
  """Returns what a file is, and what it reaches on the test images."""
  accuracy = _accuracy(path, data, batch_size)
  if weights == 'float32' and abs(accuracy - network.test_accuracy) > _ROUNDING:
    raise ValueError(
      f'{path} has a test accuracy of {accuracy:.2%}, its run of '
      f'{network.test_accuracy:.2%}: give the --data_dir and the flags of the '
      'recipe that the comparison had.'
    )
  of_network = dataclasses.asdict(network)
  del of_network['directory']
  return {
    **of_network,
    'weights': weights,
    'bytes': path.stat().st_size,
    'test_accuracy': accuracy,
  }


def _check(found: Sequence[Network]) -> None:
  names = [(n.method, n.structure, n.of, n.target, n.seed) for n in found]
  twice = {name for name in names if names.count(name) > 1}
  if twice:
    method, _, _, target, seed = min(twice)
    raise ValueError(
      f'--comparisons have {method} at {100 * target:g}%, seed {seed}, twice.'
    )
  seeds = {n.seed for n in found} - {n.seed for n in found if n.is_dense}
  if seeds:
    raise ValueError(
      f'--comparisons have no dense network of seed {min(seeds)}, which the '
      'others are measured against: compare the method dense too.'
    )


def _write_int8(
  recipe: Recipe,
  config: RunConfig,
  data: Dataset,
  network: Network,
  path: pathlib.Path,
) -> None:
  """Writes a dense network in full int8."""
  trained = dataclasses.replace(config, initial_weights=str(network.directory))
  model = optimization.build(recipe, trained, data.image_shape, data.classes)
  batches = (images for images, _ in data.train.epochs(32, 0, 0, 1))
  samples = np.concatenate(
    [np.asarray(b) for b in itertools.islice(batches, _CALIBRATION // 32)]
  )
  tf_unilth.export_tflite(model, path, 'int8', representative_data=samples)


def _accuracy(path: pathlib.Path, data: Dataset, batch_size: int) -> float:
  """Returns the share of the test images that a TFLite file has right."""
  outputs = file_calls.tflite_function(str(path))
  right = [
    np.argmax(outputs(np.asarray(images)), axis=-1) == np.asarray(labels)
    for images, labels in data.test.batches(batch_size)
  ]
  return float(np.mean(np.concatenate(right)))


def _parse(arguments: Sequence[str]) -> list[str]:
  recipe = catalogue.chosen(arguments)
  command_line.set_flag_defaults(recipe)
  own = [command_line.RECIPE_FLAGS] if recipe.flags else []
  return command_line.parse(arguments, [catalogue.GROUP, _GROUP, *own])


def _main(arguments: Sequence[str]) -> str | None:
  """Returns an error's one line, `None` if all went well."""
  logging.set_verbosity(logging.WARNING)
  try:
    command_line.reject_positional_arguments(arguments)
    if not _COMPARISONS.value:
      raise ValueError('--comparisons must name at least one directory.')
    recipe = catalogue.load(FLAGS.recipe)
    paths = map(pathlib.Path, _COMPARISONS.value)
    found = [n for path in paths for n in networks(path, recipe.name)]
    config = command_line.run_config(recipe)
    rows = measure(recipe, config, found)
  except command_line.expected_errors() as error:
    return command_line.error_line(error)
  except subprocess.CalledProcessError:
    return 'error: the files were not timed.'  # It has said why.
  table = accuracy_latency_report.table(rows)
  print(table)
  if result_file.OUTPUT.value:
    result_file.write(result_file.OUTPUT.value, recipe=recipe.name, files=rows)
    path = pathlib.Path(result_file.OUTPUT.value)
    files.write_text(path.with_suffix('.md'), table + '\n')
    accuracy_latency_report.plot(path.with_suffix('.png'), recipe.name, rows)
  return None


if __name__ == '__main__':
  app.run(lambda argv: sys.exit(_main(argv)), flags_parser=_parse)

"""Shrinks random models, of which random units or weights are zeros.

  python -m tests.stress.shrink_fuzz --count=200 --seed=0 --output=graphs.csv
  python -m tests.stress.shrink_fuzz --networks --output=networks.csv

Each case is a random model of `random_models.py` or `random_networks.py` with
random statistics and biases. A shrunk model must have the same outputs, and the
sizes that the report says; any error is a failure. A case is a pure function of
(seed, index). With `--networks`, the models are known networks, whole ones,
which become smaller, or the report says why not. What is in --output already is
not run again.
"""

import collections
import contextlib
import csv
import dataclasses
import functools
import gc
import pathlib
import re
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras as keras
from absl import app, flags

import tf_unilth
from recipes.common import files, provenance
from recipes.networks import registry
from tests.testing import random_models, random_networks, shrinkable
from tests.testing.draw import Draw
from tf_unilth.compression import output_check
from tf_unilth.engines.tfmot import model_layers
from tf_unilth.wording import count

FLAGS = flags.FLAGS

SMALLER, SAME, FAILED = 'smaller', 'same', 'failed'
# Drawn models that Keras cannot build, or that are subclassed, do not count.
_ATTEMPTS = 50
_TOLERANCE = 1e-5
_PIXELS, _CLASSES = 64, 5
# A layer in a reason, as in 'read by reshape_2 (Reshape): ...'.
_NAMED = re.compile(r'[\w/]+ \(([A-Z]\w+)\)')


def _network(build: registry.Build) -> Callable[[], keras.Model]:
  return lambda: build(keras, (_PIXELS, _PIXELS, 3), _CLASSES)


def _application(name: str) -> Callable[[], keras.Model]:
  return _network(functools.partial(registry.application, name))


NETWORKS: dict[str, Callable[[], keras.Model]] = {
  'VGG-16': _network(registry.MODELS['vgg16']),
  'ResNet-18': _network(registry.MODELS['resnet18']),
  'ResNet-20': _network(registry.MODELS['resnet20']),
  'ResNet-50': _application('ResNet50'),
  'MobileNetV2': _application('MobileNetV2'),
  'DenseNet121': _application('DenseNet121'),
  'EfficientNetB0': _application('EfficientNetB0'),
  'Transformer encoder': lambda: shrinkable.encoder(64),
}
# What is zeroed of half of the units that are free; see `shrinkable`.
ROLES = {'whole units': shrinkable.ALL, 'kernels': shrinkable.KERNELS}


@dataclasses.dataclass
class Row:
  """What became of a case.

  Args:
    seed: what it is drawn from.
    index: its number.
    model: the name of a network; empty for a random model.
    zeros: what was zeroed.
    outcome: `SMALLER`, `SAME` (nothing was removed) or `FAILED`.
    weights: the number of weights, with biases and statistics.
    weights_kept: that of the shrunk model.
    flops: of one sample; `None` if an input size is unknown.
    flops_kept: those of the shrunk model.
    difference: the largest one of the outputs, relative to the largest output.
    pinned: why units of a network cannot go, each reason once.
    text: the error.
    seconds: how long it took.
    layers: a random model, in words; not in the file.
  """

  seed: int
  index: int
  model: str = ''
  zeros: str = ''
  outcome: str = FAILED
  weights: int | None = None
  weights_kept: int | None = None
  flops: int | None = None
  flops_kept: int | None = None
  difference: float | None = None
  pinned: str = ''
  text: str = ''
  seconds: float = 0.0
  layers: str = ''

  def __str__(self) -> str:
    said = f'{self.index:5} {self.outcome:8}{self.seconds:6.1f} s  '
    said += f'{self.zeros}: {self.model or self.layers}\n      '
    if self.outcome == FAILED:
      return said + self.text
    said += f'weights {self.weights} -> {self.weights_kept}, FLOPs '
    said += f'{self.flops} -> {self.flops_kept}, differs by {self.difference}'
    return f'{said}\n      pinned: {self.pinned}' if self.pinned else said


COLUMNS = [field.name for field in dataclasses.fields(Row)][:-1]


def run(seed: int, index: int) -> Row:
  """Runs the case of a seed and an index."""
  row = Row(seed, index)
  with _timed(row), warnings.catch_warnings():
    warnings.simplefilter('ignore')
    d, model = _draw(seed, index)
    row.layers = ' '.join(
      random_models.random_layers.describe(layer) for layer in model.layers
    )
    model, row.zeros = _zero(d, model)
    with _judged(row):
      _check(model, row, d.one([1, 1, 1, 4]))
  return row


def run_network(seed: int, index: int) -> Row:
  """Runs one of `NETWORKS`, with half of its units zeroed."""
  name = list(NETWORKS)[index // len(ROLES)]
  zeros = list(ROLES)[index % len(ROLES)]
  row = Row(seed, index, name, zeros)
  with _timed(row):
    model = NETWORKS[name]()
    shrinkable.randomize(model, seed)
    shrinkable.zero_units(model, 0.5, ROLES[zeros], seed)
    with _judged(row):
      report = _check(model, row)
      row.pinned = _reasons(report)
      if row.weights == row.weights_kept and not row.pinned:
        raise AssertionError('nothing went, and no reason is given')
  return row


@contextlib.contextmanager
def _timed(row: Row) -> Iterator[None]:
  """Notes how long a case takes, and frees what it leaves."""
  begin = time.perf_counter()
  yield
  keras.backend.clear_session()
  gc.collect()
  row.seconds = round(time.perf_counter() - begin, 1)


@contextlib.contextmanager
def _judged(row: Row) -> Iterator[None]:
  """Notes the outcome; any error is a failure."""
  try:
    yield
    assert row.weights is not None and row.weights_kept is not None
    row.outcome = SMALLER if row.weights_kept < row.weights else SAME
  except Exception as error:
    text = f'{type(error).__name__}: {str(error)[:600]}'
    row.text = ' '.join(text.split())


def _reasons(report: tf_unilth.ShrinkReport) -> str:
  """Returns why units are pinned, each reason with its number of layers."""
  counts = collections.Counter(
    reason
    for row in report.layers
    # By the types of layers, not their names.
    for reason in {_NAMED.sub(r'\1', reason) for reason in row.reasons}
  )
  return '; '.join(f'{why} ({count(n, "layer")})' for why, n in counts.items())


def _draw(seed: int, index: int) -> tuple[Draw, keras.Model]:
  """Returns a model that Keras can build and run, drawn from a seed."""
  for attempt in range(_ATTEMPTS):
    d = Draw(seed, index, attempt)
    try:
      if d.chance(0.6):
        model = random_networks.network(d)
      else:
        model = random_models.make(d, lambda layer: layer).model
      if not model_layers.runs_its_graph(model):
        continue
      model(output_check.made_up_inputs(model, 0), training=False)
      return d, model
    except (ValueError, TypeError, tf.errors.OpError):
      keras.backend.clear_session()
  raise RuntimeError('no model could be drawn.')


def _zero(d: Draw, model: keras.Model) -> tuple[keras.Model, str]:
  """Zeros units or weights; returns the model, and what was zeroed."""
  shrinkable.randomize(model, d.whole(0, 10**6))
  kind = d.one(['units', 'kernels', 'kernels', 'weights', 'weights'])
  share = d.one([0.3, 0.5, 0.8, 0.95, 1.0])
  if kind == 'weights':
    shrinkable.zero_weights(model, share, d.whole(0, 10**6))
  else:
    roles = shrinkable.ALL if kind == 'units' else shrinkable.KERNELS
    shrinkable.zero_units(model, share, roles, d.whole(0, 10**6))
  if d.chance(0.2):
    model = tf_unilth.prune_low_magnitude(model, tf_unilth.FixedMask())
    kind += ', wrapped'
  return model, f'{share} of {kind}'


def _check(
  model: keras.Model, row: Row, multiple_of: int = 1
) -> tf_unilth.ShrinkReport:
  """Shrinks a model, checks the result and notes it; returns the report."""
  report = tf_unilth.shrink_report(model)
  row.weights, row.flops = report.weights, report.flops
  before = [weight.numpy() for weight in model.weights]
  smaller = tf_unilth.shrink(model, multiple_of)
  for one, weight in zip(before, model.weights, strict=True):
    np.testing.assert_array_equal(one, weight.numpy())
  row.difference = _difference(model, smaller)
  if not row.difference <= _TOLERANCE:
    raise AssertionError(f'outputs differ by {row.difference:.2g}')
  row.weights_kept = after = smaller.count_params()
  if multiple_of == 1 and report.weights_kept != after:
    raise AssertionError(f'the report says {report.weights_kept}, not {after}')
  again = tf_unilth.shrink_report(smaller)
  row.flops_kept = again.flops
  if multiple_of == 1 and again.weights_kept > after:
    raise AssertionError('it grows when it is shrunk again')
  if multiple_of == 1 and again.flops != report.flops_kept:
    raise AssertionError(f'it has {again.flops} FLOPs, not {report.flops_kept}')
  _check_config(model, smaller)
  return report


def _check_config(model: keras.Model, smaller: keras.Model) -> None:
  """Raises if Keras cannot make a smaller model anew, but its origin."""
  try:
    type(model).from_config(model.get_config())
  except (ValueError, TypeError):
    return
  type(smaller).from_config(smaller.get_config())


def _difference(one: keras.Model, other: keras.Model) -> float:
  """Returns the largest difference of outputs, relative to the largest one."""
  found = []
  for seed in (2, 3):
    inputs = output_check.made_up_inputs(one, seed)
    outputs = [
      tf.nest.flatten(model(inputs, training=False)) for model in (one, other)
    ]
    for expected, changed in zip(*outputs, strict=True):
      expected, changed = np.asarray(expected), np.asarray(changed)
      scale = np.abs(expected[np.isfinite(expected)]).max(initial=1e-30)
      # Infinities are equal to each other, and so may be what is not a number.
      is_same = (expected == changed) | (np.isnan(expected) & np.isnan(changed))
      found.append(np.abs(expected - changed)[~is_same].max(initial=0) / scale)
  return float(f'{np.max(found):.2g}')


def known(path: pathlib.Path, seed: int) -> list[dict[str, Any]]:
  """Returns the rows of a seed that a file has."""
  if not path.exists():
    return []
  with path.open(newline='') as file:
    return [row for row in csv.DictReader(file) if row['seed'] == str(seed)]


def write(path: pathlib.Path, rows: Sequence[dict[str, Any]]) -> None:
  """Writes rows, in the order of their indices."""
  ordered = sorted(rows, key=lambda row: int(row['index']))
  files.write_text(path, files.csv_text([*COLUMNS, 'versions'], ordered))


def main(argv: list[str]) -> None:
  """Runs the cases and sums up."""
  del argv
  path = pathlib.Path(FLAGS.output) if FLAGS.output else None
  case, indices = run, range(FLAGS.start, FLAGS.start + FLAGS.count)
  if FLAGS.networks:
    case, indices = run_network, range(len(NETWORKS) * len(ROLES))
  rows = known(path, FLAGS.seed) if path else []
  done = {int(row['index']) for row in rows}
  versions = provenance.version_words(provenance.versions())
  for index in [index for index in indices if index not in done]:
    row = case(FLAGS.seed, index)
    print(row, flush=True)
    rows.append({**dataclasses.asdict(row), 'versions': versions})
    del rows[-1]['layers']
    if path:
      write(path, rows)
  counts = collections.Counter(row['outcome'] for row in rows)
  print('\n'.join(f'{counts[o]:6} {o}' for o in (SMALLER, SAME, FAILED)))
  sys.exit(bool(counts[FAILED]))


if __name__ == '__main__':
  flags.DEFINE_integer('count', 200, 'How many cases.', lower_bound=1)
  flags.DEFINE_integer('seed', 0, 'What all is drawn from.')
  flags.DEFINE_integer('start', 0, 'The index of the first case.')
  flags.DEFINE_bool('networks', False, 'Whether known networks are shrunk.')
  flags.DEFINE_string('output', None, 'A CSV file that is continued.')
  app.run(main)

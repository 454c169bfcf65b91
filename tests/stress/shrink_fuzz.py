"""Shrinks random models, of which random units or weights are zeros.

  python -m tests.stress.shrink_fuzz --count=200 --seed=0
  python -m tests.stress.shrink_fuzz --networks

Each case is a random model of `random_models.py` or `random_networks.py` with
random statistics and biases. A shrunk model must have the same outputs, and the
sizes that the report says; any error is a failure. A case is a pure function of
(seed, index). With `--networks`, the models are networks of Keras, whole ones.
"""

import collections
import dataclasses
import functools
import gc
import sys
import time
import warnings
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras as keras
from absl import app, flags

import tf_unilth
from tests.testing import random_models, random_networks, shrinkable
from tests.testing.draw import Draw
from tf_unilth.compression import output_check
from tf_unilth.engines.tfmot import model_layers

FLAGS = flags.FLAGS

SMALLER, SAME, FAILED = 'smaller', 'same', 'failed'
# Drawn models that Keras cannot build, or that are subclassed, do not count.
_ATTEMPTS = 50
_TOLERANCE = 1e-5
_NETWORKS = ('MobileNetV2', 'ResNet50', 'DenseNet121', 'EfficientNetB0')


@dataclasses.dataclass
class Row:
  """What became of a case.

  Args:
    seed: what it is drawn from.
    index: its number.
    layers: the model, in words.
    zeros: what was zeroed.
    outcome: `SMALLER`, `SAME` (nothing was removed) or `FAILED`.
    text: the error, or the change of the number of weights.
    seconds: how long it took.
  """

  seed: int
  index: int
  layers: str = ''
  zeros: str = ''
  outcome: str = FAILED
  text: str = ''
  seconds: float = 0.0


def run(seed: int, index: int) -> Row:
  """Runs the case of a seed and an index."""
  begin, row = time.perf_counter(), Row(seed, index)
  with warnings.catch_warnings():
    warnings.simplefilter('ignore')
    d, model = _draw(seed, index)
    row.layers = ' '.join(
      random_models.random_layers.describe(layer) for layer in model.layers
    )
    model, row.zeros = _zero(d, model)
    try:
      row.text = _check(d, model)
      before, after = row.text.split(' -> ')
      row.outcome = SMALLER if int(after) < int(before) else SAME
    except Exception as error:
      row.text = f'{type(error).__name__}: {str(error)[:600]}'
  keras.backend.clear_session()
  gc.collect()
  row.seconds = round(time.perf_counter() - begin, 1)
  return row


def run_network(index: int) -> Row:
  """Runs one of Keras's networks, with half of its units zeroed."""
  begin = time.perf_counter()
  name = _NETWORKS[index // 2]
  roles = shrinkable.KERNELS if index % 2 else shrinkable.ALL
  row = Row(0, index, name, f'0.5 of {roles}')
  model = getattr(keras.applications, name)(
    input_shape=(64, 64, 3), weights=None, classes=5
  )
  shrinkable.randomize(model)
  shrinkable.zero_units(model, 0.5, roles)
  try:
    row.text, row.outcome = _check(Draw(index), model), SMALLER
  except Exception as error:
    row.text = f'{type(error).__name__}: {str(error)[:600]}'
  keras.backend.clear_session()
  row.seconds = round(time.perf_counter() - begin, 1)
  return row


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


def _check(d: Draw, model: keras.Model) -> str:
  """Shrinks a model and checks the result; returns the numbers of weights."""
  report = tf_unilth.shrink_report(model)
  multiple_of = d.one([1, 1, 1, 4])
  before = [weight.numpy() for weight in model.weights]
  smaller = tf_unilth.shrink(model, multiple_of)
  for one, weight in zip(before, model.weights, strict=True):
    np.testing.assert_array_equal(one, weight.numpy())
  for seed in (2, 3):
    _compare(model, smaller, output_check.made_up_inputs(model, seed))
  after = smaller.count_params()
  if multiple_of == 1 and report.weights_kept != after:
    raise AssertionError(f'the report says {report.weights_kept}, not {after}')
  again = tf_unilth.shrink_report(smaller)
  if multiple_of == 1 and again.weights_kept > after:
    raise AssertionError('it grows when it is shrunk again')
  _check_config(model, smaller)
  return f'{report.weights} -> {after}'


def _check_config(model: keras.Model, smaller: keras.Model) -> None:
  """Raises if Keras cannot make a smaller model anew, but its origin."""
  try:
    type(model).from_config(model.get_config())
  except (ValueError, TypeError):
    return
  type(smaller).from_config(smaller.get_config())


def _compare(one: keras.Model, other: keras.Model, inputs: Any) -> None:
  outputs = [
    tf.nest.flatten(model(inputs, training=False)) for model in (one, other)
  ]
  for expected, found in zip(*outputs, strict=True):
    scale = max(float(np.abs(expected).max()), 1e-30)
    difference = float(np.abs(expected - found).max()) / scale
    if difference > _TOLERANCE:
      raise AssertionError(f'outputs differ by {difference:.2g}')


def main(argv: list[str]) -> None:
  """Runs the cases and sums up."""
  del argv
  rows = []
  case = functools.partial(run, FLAGS.seed)
  indices = range(FLAGS.start, FLAGS.start + FLAGS.count)
  if FLAGS.networks:
    case, indices = run_network, range(2 * len(_NETWORKS))
  for index in indices:
    row = case(index)
    print(
      f'{row.index:5} {row.outcome:8}{row.seconds:6.1f} s  {row.zeros}: '
      f'{row.layers}\n      {row.text}',
      flush=True,
    )
    rows.append(row)
  counts = collections.Counter(row.outcome for row in rows)
  print('\n'.join(f'{counts[o]:6} {o}' for o in (SMALLER, SAME, FAILED)))
  sys.exit(bool(counts[FAILED]))


if __name__ == '__main__':
  flags.DEFINE_integer('count', 200, 'How many cases.', lower_bound=1)
  flags.DEFINE_integer('seed', 0, 'What all is drawn from.')
  flags.DEFINE_integer('start', 0, 'The index of the first case.')
  flags.DEFINE_bool('networks', False, 'Whether networks of Keras are shrunk.')
  app.run(main)

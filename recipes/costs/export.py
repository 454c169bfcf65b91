"""Measures packed SavedModels beside dense ones: bytes, loading, calls.

  python -m recipes.costs.export
  python -m recipes.costs.export --networks=mlp --output=cost.json

The weights of the networks are random, and so are their zeros. The dense and
the packed SavedModel of a network are loaded in turn, then called in turn, in
one process; the first of each is not counted. The ratio is that of the medians;
in parentheses are the quartiles of the ratios of pairs.
"""

import functools
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras as keras
from absl import app, flags, logging

import tf_unilth
from recipes.common import tables
from recipes.costs import result_file
from recipes.networks import resnet

layers = keras.layers


def _mlp() -> keras.Model:
  sizes = (1024, 1024, 1024)
  hidden = [layers.Dense(size, activation='relu') for size in sizes]
  return keras.Sequential([layers.Input((784,)), *hidden, layers.Dense(10)])


NETWORKS: dict[str, Callable[[], keras.Model]] = {
  'mlp': _mlp,
  'resnet20': lambda: resnet.resnet20(keras, (32, 32, 3), 10),
  'resnet50': lambda: keras.applications.ResNet50(weights=None),
}

_NETWORKS = flags.DEFINE_list(
  'networks', list(NETWORKS), f'Networks, of {", ".join(NETWORKS)}.'
)
_SPARSITY = flags.DEFINE_float(
  'sparsity', 0.95, 'Sparsity of every kernel.', 0, 1
)
_LOADS = flags.DEFINE_integer(
  'loads', 9, 'Number of timed loads of each SavedModel.', 2
)
_CALLS = flags.DEFINE_integer(
  'calls', 100, 'Number of timed calls of each SavedModel.', 2
)
_BATCH = flags.DEFINE_integer('batch', 1, 'Batch size of a call.', 1)


@flags.validator('networks', f'must be of {", ".join(NETWORKS)}')
def _are_networks(value: list[str]) -> bool:
  return set(value) <= set(NETWORKS)


def _make_sparse(model: keras.Model, sparsity: float) -> None:
  """Sets random weights of all kernels to zero."""
  rng = np.random.default_rng(0)
  for weight in model.trainable_weights:
    if weight.shape.rank > 1:
      dense = weight.numpy()
      kept = rng.random(dense.shape, np.float32) >= sparsity
      weight.assign(np.where(kept, dense, np.zeros_like(dense)))


def _call(serve: Callable[[tf.Tensor], tf.Tensor], batch: tf.Tensor) -> None:
  serve(batch).numpy()


def _seconds(run: Callable[[], Any]) -> float:
  begin = time.perf_counter()
  run()
  return time.perf_counter() - begin


def _in_turn(
  runs: Mapping[str, Callable[[], Any]], repeats: int
) -> dict[str, list[float]]:
  seconds: dict[str, list[float]] = {name: [] for name in runs}
  for repeat in range(repeats + 1):
    for name, run in runs.items():
      taken = _seconds(run)
      if repeat:
        seconds[name].append(taken)
  return seconds


def measure(
  name: str, sparsity: float, loads: int, calls: int, batch_size: int
) -> dict[str, Any]:
  """Returns the bytes and seconds of one network's two SavedModels.

  Args:
    name: of `NETWORKS`.
    sparsity: of every kernel, in [0, 1].
    loads: how many loads of each are timed.
    calls: how many calls of each are timed.
    batch_size: inputs of a call.
  """
  model = NETWORKS[name]()
  _make_sparse(model, sparsity)
  shape = (batch_size, *model.input_shape[1:])
  x = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
  with tempfile.TemporaryDirectory() as folder:
    paths = {kind: f'{folder}/{kind}' for kind in ('dense', 'packed')}
    exported = {
      kind: tf_unilth.export_saved_model(
        model, path, x, packed=kind == 'packed'
      )
      for kind, path in paths.items()
    }
    load = {
      kind: functools.partial(tf.saved_model.load, path)
      for kind, path in paths.items()
    }
    loaded = {kind: tf.saved_model.load(path) for kind, path in paths.items()}
    load_seconds = _in_turn(load, loads)
  batch = tf.constant(x)
  call = {
    kind: functools.partial(_call, serving.serve, batch)
    for kind, serving in loaded.items()
  }
  return {
    'parameters': model.count_params(),
    'bytes': {kind: export.total_bytes for kind, export in exported.items()},
    'load': load_seconds,
    'call': _in_turn(call, calls),
  }


def table(name: str, result: Mapping[str, Any]) -> str:
  """Returns what was measured of a network as a table.

  Args:
    name: of `NETWORKS`.
    result: what `measure` returned.
  """
  sizes = result['bytes']
  rows = [
    (
      'bytes',
      f'{sizes["dense"]:,}',
      f'{sizes["packed"]:,}',
      f'{sizes["packed"] / sizes["dense"]:.3f}',
    )
  ]
  for what in ('load', 'call'):
    dense, packed = result[what]['dense'], result[what]['packed']
    ratios = [b / a for a, b in zip(dense, packed, strict=True)]
    low, _, high = statistics.quantiles(ratios, n=4)
    middle = statistics.median(packed) / statistics.median(dense)
    ratio = f'{middle:.3f} ({low:.3f} to {high:.3f})'
    rows.append((what, _spread(dense), _spread(packed), ratio))
  return tables.plain(rows, (name, 'dense', 'packed', 'packed / dense'))


def _spread(seconds: list[float]) -> str:
  low, middle, high = (
    f'{float(f"{1000 * quartile:.3g}"):,g}'  # Three digits, no exponent.
    for quartile in statistics.quantiles(seconds, n=4)
  )
  return f'{middle} ms ({low} to {high})'


def _main(_: Sequence[str]) -> None:
  logging.set_verbosity(logging.WARNING)
  results = {}
  for name in _NETWORKS.value:
    results[name] = measure(
      name, _SPARSITY.value, _LOADS.value, _CALLS.value, _BATCH.value
    )
    print(f'{table(name, results[name])}\n', flush=True)
  result_file.write(
    result_file.OUTPUT.value, sparsity=_SPARSITY.value, results=results
  )


if __name__ == '__main__':
  app.run(_main)

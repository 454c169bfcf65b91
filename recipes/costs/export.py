"""What a packed SavedModel costs: bytes, loading, calls; beside a dense one.

  python -m recipes.costs.export
  python -m recipes.costs.export --models=mlp --sparsity=0.9 --output=cost.json

Weights are random, and so are the zeros. The two SavedModels of a model are
loaded in turn, then called in turn, all in one process; the first of each is
not counted. `ratio` is of medians; beside it the quartiles of each pair's.
"""

import functools
import json
import pathlib
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras as keras
from absl import app, flags

import tf_unilth
from recipes.common import provenance

layers = keras.layers

_SPARSITY = flags.DEFINE_float('sparsity', 0.95, 'Of every kernel.', 0, 1)
_LOADS = flags.DEFINE_integer('loads', 9, 'How often each is loaded.', 1)
_CALLS = flags.DEFINE_integer('calls', 100, 'How often each is called.', 1)
_BATCH = flags.DEFINE_integer('batch', 1, 'How many inputs are in a call.', 1)
_OUTPUT = flags.DEFINE_string('output', None, 'A JSON file to write.')


def _mlp() -> keras.Model:
  sizes = (1024, 1024, 1024)
  hidden = [layers.Dense(size, activation='relu') for size in sizes]
  return keras.Sequential([layers.Input((784,)), *hidden, layers.Dense(10)])


def _resnet20() -> keras.Model:
  inputs = layers.Input((32, 32, 3))
  x = _convolution(inputs, 16, 1)
  for filters in (16, 32, 64):
    for block in range(3):
      stride = 2 if filters > 16 and not block else 1
      y = layers.ReLU()(_convolution(x, filters, stride))
      y = _convolution(y, filters, 1)
      if not block:
        x = layers.Conv2D(filters, 1, stride)(x)
      x = layers.ReLU()(x + y)
  x = layers.GlobalAveragePooling2D()(x)
  return keras.Model(inputs, layers.Dense(10)(x))


def _convolution(x: Any, filters: int, stride: int) -> Any:
  x = layers.Conv2D(filters, 3, stride, padding='same', use_bias=False)(x)
  return layers.BatchNormalization()(x)


def _resnet50() -> keras.Model:
  return keras.applications.ResNet50(weights=None)


_BUILD: dict[str, Callable[[], keras.Model]] = {
  'mlp': _mlp,
  'resnet20': _resnet20,
  'resnet50': _resnet50,
}
_MODELS = flags.DEFINE_list('models', list(_BUILD), 'Which models.')


def _make_sparse(model: keras.Model, sparsity: float) -> None:
  """Gives all kernels random zeros."""
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


def measure(name: str, folder: pathlib.Path) -> dict[str, Any]:
  """Returns the bytes and seconds of one model's two SavedModels."""
  model = _BUILD[name]()
  _make_sparse(model, _SPARSITY.value)
  shape = (_BATCH.value, *model.input_shape[1:])
  x = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
  paths = {kind: str(folder / f'{name}_{kind}') for kind in ('dense', 'packed')}
  exported = {
    kind: tf_unilth.export_saved_model(model, path, x, packed=kind == 'packed')
    for kind, path in paths.items()
  }
  print(f'\n{name}\n{exported["packed"]}')
  loads = {
    kind: functools.partial(tf.saved_model.load, path)
    for kind, path in paths.items()
  }
  batch = tf.constant(x)
  loaded = {kind: tf.saved_model.load(path) for kind, path in paths.items()}
  calls = {
    kind: functools.partial(_call, serving.serve, batch)
    for kind, serving in loaded.items()
  }
  return {
    'bytes': {kind: export.total_bytes for kind, export in exported.items()},
    'load': _in_turn(loads, _LOADS.value),
    'call': _in_turn(calls, _CALLS.value),
  }


def _print(result: dict[str, Any]) -> None:
  sizes = result['bytes']
  print(
    f'  files: {sizes["dense"]:,} bytes dense, {sizes["packed"]:,} packed, '
    f'{sizes["dense"] / sizes["packed"]:.1f} times smaller'
  )
  for what in ('load', 'call'):
    dense, packed = result[what]['dense'], result[what]['packed']
    ratios = [b / a for a, b in zip(dense, packed, strict=True)]
    low, _, high = statistics.quantiles(ratios, n=4)
    middle = statistics.median(packed) / statistics.median(dense)
    print(
      f'  {what}: {_spread(dense)} dense, {_spread(packed)} packed, '
      f'ratio {middle:.3f} (of pairs {low:.3f} to {high:.3f})'
    )


def _spread(seconds: list[float]) -> str:
  low, middle, high = (1000 * s for s in statistics.quantiles(seconds, n=4))
  return f'{middle:.3g} ms ({low:.3g} to {high:.3g})'


def _main(_: list[str]) -> None:
  results = {}
  with tempfile.TemporaryDirectory() as folder:
    for name in _MODELS.value:
      results[name] = measure(name, pathlib.Path(folder))
      _print(results[name])
  if _OUTPUT.value:
    content = {'versions': provenance.versions(), 'results': results}
    pathlib.Path(_OUTPUT.value).write_text(json.dumps(content, indent=2))


if __name__ == '__main__':
  app.run(_main)

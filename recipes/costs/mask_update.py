"""Compares our mask update with that of tfmot.

  python -m recipes.costs.mask_update
  python -m recipes.costs.mask_update --weights=25000000 --output=cost.json

All are timed in turns in one process. tfmot sorts each layer; ours selects in
linear time, over all layers together (`global`) or in each layer (`layer`).
Rows with `update`, as tfmot's, include reading the weights and writing masks
and weights; rows with `select` do not.
"""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import tensorflow as tf
import tensorflow_model_optimization as tfmot
import tf_keras as keras
from absl import app, flags

from recipes.common import tables
from recipes.costs import result_file
from tf_unilth.engines.tfmot.pruned_model import PrunedLayers
from tf_unilth.selection import mask_selection

_WEIGHTS = flags.DEFINE_integer(
  'weights', 25_000_000, 'Number of weights in all layers together.', 1000
)
_LAYERS = flags.DEFINE_integer('layers', 10, 'Number of layers.', 1)
_UPDATES = flags.DEFINE_integer(
  'updates', 5, 'Number of timed updates, after one that is not counted.', 1
)

_SPARSITY = 0.9


def _model(weights: int, layers: int) -> keras.Model:
  """Returns a wrapped model of parallel dense layers."""
  side = round((weights / layers) ** 0.5)
  inputs = keras.layers.Input((side,))
  outputs = [keras.layers.Dense(side)(inputs) for _ in range(layers)]
  schedule = tfmot.sparsity.keras.ConstantSparsity(_SPARSITY, 0)
  return tfmot.sparsity.keras.prune_low_magnitude(
    keras.Model(inputs, outputs), schedule
  )


def _tfmot_update(model: keras.Model) -> Callable[[], None]:
  """Returns tfmot's own mask update of all layers."""
  objects = [
    layer.pruning_obj
    for layer in model.layers
    if getattr(layer, 'pruning_vars', None)
  ]

  @tf.function
  def update() -> None:
    for pruning in objects:
      pruning.conditional_mask_update()
      pruning.weight_mask_op()

  for layer in model.layers:
    if hasattr(layer, 'pruning_step'):
      layer.pruning_step.assign(100)  # ConstantSparsity's default frequency.
  return update


class _Ours:
  """Our mask update of all layers, and the selection in it alone."""

  def __init__(self, model: keras.Model, scope: str):
    self._layers = PrunedLayers(model)
    self._scope = scope
    self._dense = [np.ones(k.weight.shape, bool) for k in self._layers.kernels]

  def prepare(self) -> None:
    """Reads the scores that `select` uses."""
    self._scores = self._layers.read_weights()

  def select(self) -> None:
    """Selects masks from the scores."""
    self._masks = mask_selection.select(
      self._scores, self._dense, _SPARSITY, self._scope
    )

  def update(self) -> None:
    """Reads the weights, makes masks, and writes both."""
    self.prepare()
    self.select()
    self._layers.assign_masks(self._masks)


def measure(weights: int, layers: int, repeats: int) -> dict[str, list[float]]:
  """Returns the seconds of each mask update, in turn.

  Args:
    weights: how many weights, about.
    layers: over how many layers they are spread.
    repeats: how often each is timed.
  """
  model = _model(weights, layers)
  random = [np.random.default_rng(i) for i in range(layers)]
  kernels = PrunedLayers(model).kernels
  ours = {scope: _Ours(model, scope) for scope in ('global', 'layer')}
  workloads = {
    'tfmot, update': _tfmot_update(model),
    'global, select': ours['global'].select,
    'layer, select': ours['layer'].select,
    'global, update': ours['global'].update,
    'layer, update': ours['layer'].update,
  }
  seconds: dict[str, list[float]] = {name: [] for name in workloads}
  for repeat in range(repeats + 1):
    for name, update in workloads.items():
      for kernel, rng in zip(kernels, random):
        kernel.weight.assign(rng.standard_normal(kernel.weight.shape, 'f4'))
      for scope in ours.values():
        scope.prepare()
      begin = time.perf_counter()
      update()
      if repeat:
        seconds[name].append(time.perf_counter() - begin)
  return seconds


def table(seconds: Mapping[str, Sequence[float]]) -> str:
  """Returns the times as a table.

  Args:
    seconds: of each update, by its name; `tfmot, update` is compared with.

  >>> print(table({'tfmot, update': [2.0, 2.0], 'layer, update': [1.0, 0.5]}))
                  median  fastest  slowest  times as fast as tfmot
  tfmot, update  2.000 s  2.000 s  2.000 s  1.0 (1.0 to 1.0)
  layer, update  0.750 s  0.500 s  1.000 s  3.0 (2.0 to 4.0)
  """
  rows = []
  for name, times in seconds.items():
    ratios = sorted(a / b for a, b in zip(seconds['tfmot, update'], times))
    rows.append(
      (
        name,
        *(f'{f(times):.3f} s' for f in (statistics.median, min, max)),
        f'{statistics.median(ratios):.1f} '
        f'({ratios[0]:.1f} to {ratios[-1]:.1f})',
      )
    )
  headers = ('', 'median', 'fastest', 'slowest', 'times as fast as tfmot')
  return tables.plain(rows, headers, right=[1, 2, 3])


def _main(_: list[str]) -> None:
  seconds = measure(_WEIGHTS.value, _LAYERS.value, _UPDATES.value)
  print(f'mask update over {_WEIGHTS.value:,} weights, TF {tf.__version__}')
  print(table(seconds))
  result_file.write(result_file.OUTPUT.value, seconds=seconds)


if __name__ == '__main__':
  app.run(_main)

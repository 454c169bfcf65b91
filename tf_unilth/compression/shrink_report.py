"""shrink_report: what shrink would remove, layer by layer."""

import dataclasses
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from tf_unilth.engines import which_keras

if TYPE_CHECKING:
  from tf_unilth.compression.analysis import Analysis


@dataclasses.dataclass(frozen=True)
class LayerShrinkage:
  """What `shrink` would do to one layer.

  Args:
    name: the name of the layer.
    channels: the number of its output channels; `None` if it is not traced.
    channels_kept: how many of them would stay.
    weights: the number of all its weights, also biases and statistics.
    weights_kept: how many it would have; a layer may get a bias.
    flops: floating-point operations for one sample, two for each
      multiply-accumulate of a kernel; `None` if an input size is unknown.
    flops_kept: how many of them would stay.
    pinned: how many of its channels cannot be removed.
    reasons: why, each reason once.
  """

  name: str
  channels: int | None
  channels_kept: int | None
  weights: int
  weights_kept: int
  flops: int | None
  flops_kept: int | None
  pinned: int
  reasons: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class ShrinkReport:
  """What `shrink` would do to a model; prints as a table.

  Args:
    layers: one row for each layer that has weights, in the order of the calls.

  >>> model = keras.Sequential([keras.layers.Dense(2, input_shape=(3,))])
  >>> report = shrink_report(model)
  >>> report.weights, report.weights_kept, report.flops
  (8, 8, 12)
  """

  layers: tuple[LayerShrinkage, ...]

  @property
  def weights(self) -> int:
    """The number of weights, also biases and statistics."""
    return sum(row.weights for row in self.layers)

  @property
  def weights_kept(self) -> int:
    """How many of them would stay."""
    return sum(row.weights_kept for row in self.layers)

  @property
  def flops(self) -> int | None:
    """Floating-point operations for one sample; `None` if unknown."""
    return _total([row.flops for row in self.layers])

  @property
  def flops_kept(self) -> int | None:
    """How many of them would stay."""
    return _total([row.flops_kept for row in self.layers])

  def __str__(self) -> str:
    cells = [('layer', 'channels', 'weights', 'FLOPs', 'pinned')]
    cells += [
      (
        row.name,
        _change(row.channels, row.channels_kept),
        _change(row.weights, row.weights_kept),
        _change(row.flops, row.flops_kept),
        _pinned(row),
      )
      for row in self.layers
    ]
    weights = _change(self.weights, self.weights_kept)
    flops = _change(self.flops, self.flops_kept)
    cells.append(('total', '', weights, flops, ''))
    widths = [max(len(cell) for cell in column) for column in zip(*cells)]
    lines = [_line(row, widths) for row in cells]
    rule = '-' * sum(widths[:-1], 2 * (len(widths) - 2))
    return '\n'.join([lines[0], rule, *lines[1:-1], rule, lines[-1]])


def shrink_report(model: Any) -> ShrinkReport:
  """Says what `shrink` would remove, and what it cannot and why.

  Args:
    model: a built Sequential or functional tf_keras model, also with models
      inside, wrapped or stripped. It is not changed.

  Returns:
    A `ShrinkReport`, which prints as a table.

  Raises:
    TypeError: `model` is not a tf_keras model.
    ValueError: `model` is subclassed or not built.

  >>> layers = [
  ...   keras.layers.Dense(8, input_shape=(3,), name='hidden'),
  ...   keras.layers.Dense(2, kernel_initializer='zeros', name='head')]
  >>> print(shrink_report(keras.Sequential(layers)))
  layer   channels  weights     FLOPs  pinned
  -----------------------------------
  hidden    8 -> 1  32 -> 4   48 -> 6
  head           2  18 -> 4   32 -> 4  output of the model
  -----------------------------------
  total             50 -> 8  80 -> 10
  """
  which_keras.check_tf_keras(model, 'model', 'Model')
  # Here, since it imports TensorFlow, which Keras 3 models may do without.
  from tf_unilth.compression.analysis import Analysis

  analysis = Analysis(model)
  return _Rows(analysis, analysis.kept()).report()


class _Rows:
  """Makes the rows of a report.

  Args:
    analysis: the units of the model.
    kept: for each unit, whether it stays.
  """

  def __init__(self, analysis: 'Analysis', kept: np.ndarray):
    self._analysis = analysis
    self._groups = analysis.groups
    everything = self._groups.all_kept()
    self._masks = everything, kept
    self._sizes = [self._groups.weight_sizes(mask) for mask in self._masks]

  def report(self) -> ShrinkReport:
    from tf_unilth.engines.tfmot import model_layers

    return ShrinkReport(
      tuple(
        self._row(layer)
        for layer in self._groups.layers
        if layer.weights and not model_layers.runs_its_graph(layer)
      )
    )

  def _row(self, layer: Any) -> LayerShrinkage:
    weights = sum(math.prod(weight.shape) for weight in layer.weights)
    before, after = (
      sum(size for (owner, _), size in sizes.items() if owner is layer)
      for sizes in self._sizes
    )
    units = self._units(layer)
    if not getattr(layer, 'use_bias', True) and units is not None:
      has_new_bias = self._analysis.bias_shift(layer) is not None
      after += int(self._masks[1][units].sum()) * has_new_bias
    flops = [self._flops(layer, mask) for mask in self._masks]
    pinned, reasons = self._pinned(layer, units)
    return LayerShrinkage(
      name=layer.name,
      channels=None if units is None else units.size,
      channels_kept=None if units is None else int(self._masks[1][units].sum()),
      weights=weights,
      weights_kept=weights - before + after,
      flops=flops[0],
      flops_kept=flops[1],
      pinned=pinned,
      reasons=reasons,
    )

  def _units(self, layer: Any) -> np.ndarray | None:
    """Returns the units of a layer's outputs; `None` if it is not traced."""
    axes = self._groups.layer_axes(layer)
    for role in ('creates', 'owns'):
      found = [axis.units for axis in axes if axis.role == role]
      if found:
        return max(found, key=len)
    return None

  def _flops(self, layer: Any, kept: np.ndarray) -> int | None:
    products = [p for p in self._groups.products if p.layer is layer]
    if any(product.factor is None for product in products):
      return None
    return sum(2 * product.macs(kept) for product in products)

  def _pinned(
    self, layer: Any, units: np.ndarray | None
  ) -> tuple[int, tuple[str, ...]]:
    """Returns how many channels of a layer are pinned, and why."""
    if units is None:
      reason = self._analysis.opaque_reasons.get(id(layer))
      return 0, (reason,) if reason else ()
    pins = self._analysis.pins
    reasons = [pins[unit] for unit in units.tolist() if unit in pins]
    return len(reasons), tuple(dict.fromkeys(reasons))


def _total(numbers: list[int | None]) -> int | None:
  known = [number for number in numbers if number is not None]
  return sum(known) if len(known) == len(numbers) else None


def _change(before: int | None, after: int | None) -> str:
  if before is None or after is None:
    return '?'
  return f'{before:,}' if before == after else f'{before:,} -> {after:,}'


def _pinned(row: LayerShrinkage) -> str:
  text = '; '.join(row.reasons)
  if row.channels is not None and 0 < row.pinned < row.channels:
    text = f'{row.pinned} of {row.channels}: {text}'
  return text


def _line(cells: tuple[str, ...], widths: list[int]) -> str:
  name, *numbers, text = cells
  right = [n.rjust(w) for n, w in zip(numbers, widths[1:-1], strict=True)]
  return '  '.join([name.ljust(widths[0]), *right, text]).rstrip()

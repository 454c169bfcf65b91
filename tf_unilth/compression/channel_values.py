"""Which channels of a network have the same value for any input.

A pruned channel often is no zero: after its bias, its batch normalization and
its activation a constant remains. Values are found from the inputs on, step by
step. A channel is constant if it has one value in all samples and positions.
"""

import functools
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from tf_unilth.compression.weight_values import WeightValues
from tf_unilth.engines.tfmot.channel_trace import ChannelTrace, Step

Values = dict[int, np.ndarray]


def kernel_matrices(
  step: Step, weights: WeightValues
) -> tuple[np.ndarray, np.ndarray]:
  """Returns the kernel of a `'create'` step as matrices.

  Args:
    step: a step that reads channels.
    weights: the weights of the model.

  Returns:
    Two matrices (inputs, outputs): the sums over the kernel's window, and
    whether any element of the window is not zero.
  """
  kernel = weights.of(step.layer, step.kernel)
  assert kernel is not None and step.in_axis is not None
  kernel = np.moveaxis(kernel, (step.in_axis, step.out_axis), (-2, -1))
  kernel = kernel.reshape(-1, *kernel.shape[-2:])
  # No copy of a Dense layer's kernel, which may be large.
  sums = kernel[0] if len(kernel) == 1 else kernel.sum(0, dtype=np.float64)
  return sums, (kernel != 0).any(0)


def usable(step: Step, values: np.ndarray) -> np.ndarray:
  """Returns which constants of a step's input contribute a constant.

  Args:
    step: the step.
    values: the constants of its input channels; NaN if not constant.
  """
  return (values == 0) if step.pads else np.isfinite(values)


def constant_values(trace: ChannelTrace, weights: WeightValues) -> Values:
  """Returns the constants of all tensors.

  Args:
    trace: the traced model.
    weights: its weights.

  Returns:
    For the number of each tensor with channels the value of each channel, in
    float64; NaN if it is not constant.
  """
  values = {
    tensor: np.full(len(ids), np.nan)
    for tensor, ids in enumerate(trace.tensors)
    if ids is not None
  }
  for step in trace.steps:
    if step.output in values and step.kind != 'opaque':
      inputs = [values.get(tensor, np.zeros(0)) for tensor in step.inputs]
      with np.errstate(all='ignore'):
        values[step.output] = _STEPS[step.kind](step, inputs, weights)
  return values


def _bias(step: Step, weights: WeightValues) -> np.ndarray | float:
  bias = weights.of(step.layer, step.bias) if step.bias else None
  return 0.0 if bias is None else bias.astype(np.float64)


def _create(
  step: Step, inputs: list[np.ndarray], weights: WeightValues
) -> np.ndarray:
  if step.in_axis is None:
    table = weights.of(step.layer, step.kernel)
    assert table is not None
    same = (table == table[:1]).all(0)
    return np.where(same, table[0].astype(np.float64), np.nan)
  sums, is_nonzero = kernel_matrices(step, weights)
  known = usable(step, inputs[0])
  rows = np.flatnonzero(known & (inputs[0] != 0))
  constant = inputs[0][rows] @ sums[rows] + _bias(step, weights)
  return np.where(is_nonzero[~known].any(0), np.nan, constant)


def _depthwise(
  step: Step, inputs: list[np.ndarray], weights: WeightValues
) -> np.ndarray:
  kernel = weights.of(step.layer, step.kernel)
  assert kernel is not None
  kernel = kernel.reshape(-1, inputs[0].size, kernel.shape[-1])
  value = inputs[0][:, np.newaxis]
  constant = np.where(usable(step, value), value, np.nan) * kernel.sum(
    0, dtype=np.float64
  )
  is_zero = ~(kernel != 0).any(0)
  return np.where(is_zero, 0.0, constant).reshape(-1) + _bias(step, weights)


def _scale(
  step: Step, inputs: list[np.ndarray], weights: WeightValues
) -> np.ndarray:
  def read(name: str, default: float) -> np.ndarray | float:
    value = weights.of(step.layer, name)
    return default if value is None else value.astype(np.float64)

  mean, variance = read('moving_mean', 0.0), read('moving_variance', 1.0)
  gamma, beta = read('gamma', 1.0), read('beta', 0.0)
  scaled = (inputs[0] - mean) / np.sqrt(variance + step.layer.epsilon) * gamma
  return np.where(np.equal(gamma, 0), 0.0, scaled) + beta


def _prelu(
  step: Step, inputs: list[np.ndarray], weights: WeightValues
) -> np.ndarray:
  alpha = weights.of(step.layer, 'alpha')
  assert alpha is not None
  alpha = alpha.reshape(-1, alpha.shape[-1])
  slope = np.where((alpha == alpha[:1]).all(0), alpha[0], np.nan)
  return np.where(inputs[0] >= 0, inputs[0], slope * inputs[0])


def _map(
  step: Step, inputs: list[np.ndarray], weights: WeightValues
) -> np.ndarray:
  del weights
  known = usable(step, inputs[0])
  values = np.where(known, inputs[0], 0.0)
  if step.function is not None:
    mapped = step.function(tf.constant(values, tf.float32))
    values = np.asarray(mapped, np.float64)
  return np.where(known, values, np.nan)


def _multiply(one: np.ndarray, other: np.ndarray) -> np.ndarray:
  return np.where((one == 0) | (other == 0), 0.0, one * other)


def _merge(
  function: Callable[[np.ndarray, np.ndarray], np.ndarray],
) -> Callable[[Step, list[np.ndarray], WeightValues], np.ndarray]:
  def merge(
    step: Step, inputs: list[np.ndarray], weights: WeightValues
  ) -> np.ndarray:
    del weights
    total = functools.reduce(function, inputs)
    return total / len(inputs) if step.kind == 'average' else total

  return merge


def _equal(one: np.ndarray, other: np.ndarray) -> np.ndarray:
  return np.where(one == other, one, np.nan)


_STEPS: dict[
  str, Callable[[Step, list[np.ndarray], WeightValues], np.ndarray]
] = {
  'create': _create,
  'depthwise': _depthwise,
  'scale': _scale,
  'prelu': _prelu,
  'map': _map,
  'add': _merge(np.add),
  'subtract': _merge(np.subtract),
  'multiply': _merge(_multiply),
  'average': _merge(np.add),
  'maximum': _merge(np.maximum),
  'minimum': _merge(np.minimum),
  'join': _merge(_equal),
  'concatenate': lambda step, inputs, weights: np.concatenate(inputs),
  'tile': lambda step, inputs, weights: np.tile(inputs[0], step.times),
}

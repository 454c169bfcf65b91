"""The small dense network that `small_dense` trains from scratch."""

import fractions
import math
from collections.abc import Collection
from typing import Any

import numpy as np

import tf_unilth


def narrower(
  keras: Any, model: Any, target: float, skip: Collection[str] = ()
) -> Any:
  """Returns a network with fewer units in each layer, freshly initialized.

  Its layers keep the same share of their units, rounded up, but those that
  cannot change their width: the last one, and those that `shrink` must leave.
  It is the widest such network with at most 1 - `target` of the FLOPs. So it
  has the shape that `scope='layer'` leaves, and none of the weights: they are
  drawn for their new widths.

  Args:
    keras: the module of tf_keras.
    model: the network of full width, plain and built; its weights are changed.
    target: the least share of its FLOPs that is removed, in [0, 1).
    skip: names of layers that keep their width.

  Raises:
    ValueError: the FLOPs are not known, or layers with a unit each have more.

  >>> import tf_keras as keras
  >>> wide = keras.Sequential(
  ...   [keras.layers.Dense(16, input_shape=(6,)), keras.layers.Dense(2)])
  >>> small = narrower(keras, wide, target=0.7)
  >>> [layer.units for layer in small.layers], small.count_params()
  ([4, 2], 38)
  """
  report = tf_unilth.shrink_report(model)
  if report.flops is None:
    raise ValueError('small_dense needs a network whose FLOPs are known.')
  weights = [_without_zeros(value) for value in model.get_weights()]
  shares = _shares({row.channels for row in report.layers if row.channels})
  lowest, highest = 0, len(shares)
  while lowest < highest:  # The first that has too many FLOPs.
    middle = (lowest + highest) // 2
    model.set_weights(weights)
    _cut(model, shares[middle], skip)
    left = tf_unilth.shrink_report(model).flops_kept
    assert left is not None
    if left <= (1 - target) * report.flops * (1 + 1e-12):
      lowest = middle + 1
    else:
      highest = middle
  if not lowest:
    raise ValueError(
      f'target_sparsity={target} of the FLOPs cannot be removed by '
      'small_dense: layers of one unit each have more.'
    )
  model.set_weights(weights)
  _cut(model, shares[lowest - 1], skip)
  return keras.models.clone_model(tf_unilth.shrink(model))


def _without_zeros(value: np.ndarray) -> np.ndarray:
  """Returns a weight of a live layer: some gammas are 0 at first."""
  return value if value.any() else np.ones_like(value)


def _shares(widths: Collection[int]) -> list[fractions.Fraction]:
  """Returns the shares at which one of the widths changes, in rising order."""
  each = (fractions.Fraction(k, n) for n in widths for k in range(1, n + 1))
  return sorted(set(each))


def _cut(model: Any, share: fractions.Fraction, skip: Collection[str]) -> None:
  """Makes zeros of the last units of each layer, in all that makes them.

  Layers whose outputs are added lose the same units, which have the same
  positions in them.
  """
  for layer in model.layers:
    for variable in () if layer.name in skip else layer.trainable_weights:
      if 'depthwise' in variable.name:  # Its units are those of its inputs.
        continue
      value = variable.numpy()
      value[..., math.ceil(share * value.shape[-1]) :] = 0
      variable.assign(value)

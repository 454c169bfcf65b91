"""The gradients of a ticket: none for what is pruned, a penalty's for what is
about to be.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import tensorflow as tf

from tf_unilth import prunable
from tf_unilth.pruned_layers import PrunedLayers

Pairs = list[tuple[Any, Any]]


class TicketGradients:
  """Changes gradients on their way to the optimizer.

  Args:
    layers: the wrapped layers, whose masks count.
    candidates: a variable per kernel, 1 where the penalty is, else 0.
  """

  def __init__(self, layers: PrunedLayers, candidates: Sequence[Any]):
    self._kernels = layers.kernels
    self._candidates = candidates
    self._indices = {k.weight.ref(): i for i, k in enumerate(self._kernels)}

  def masked(self, pairs: Iterable[tuple[Any, Any]]) -> tuple[Pairs, set[int]]:
    """Returns pairs of gradient and variable without those of pruned weights.

    Returns:
      The pairs, and which of the kernels are among them.
    """
    result, found = [], set()
    for gradient, variable in pairs:
      index = self._index(variable)
      if index is not None:
        found.add(index)
        gradient = _masked(gradient, self._kernels[index].mask)
      result.append((gradient, variable))
    return result, found

  def penalised(self, pairs: Pairs, coefficient: tf.Tensor) -> Pairs:
    """Adds coefficient * w for the candidates, the gradient of their L2 loss.

    Args:
      pairs: of gradient and variable.
      coefficient: a scalar, at least 0.
    """
    return [
      (
        g if self._index(v) is None else self._with_penalty(g, v, coefficient),
        v,
      )
      for g, v in pairs
    ]

  def _index(self, variable: Any) -> int | None:
    return self._indices.get(prunable.uncast(variable).ref())

  def _with_penalty(
    self, gradient: Any, variable: Any, coefficient: tf.Tensor
  ) -> tf.Tensor:
    index = self._index(variable)
    assert index is not None
    weight = tf.convert_to_tensor(self._kernels[index].weight)
    coefficient = tf.cast(coefficient, weight.dtype)
    chosen = tf.cast(self._candidates[index], weight.dtype)
    # In this order: the first product is a new tensor, the second is in place.
    penalty = coefficient * chosen * weight
    if gradient is None:  # The loss does not depend on it, but the penalty.
      return penalty
    return tf.convert_to_tensor(gradient) + penalty


def _masked(gradient: Any, mask: Any) -> Any:
  if gradient is None:
    return None
  mask = tf.cast(mask, gradient.dtype)
  if isinstance(gradient, tf.IndexedSlices):
    return tf.IndexedSlices(
      gradient.values * tf.gather(mask, gradient.indices),
      gradient.indices,
      gradient.dense_shape,
    )
  return gradient * mask

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
      coefficient: a scalar, at least 0; nothing is computed while it is 0.
    """
    places = [i for i, (_, v) in enumerate(pairs) if self._index(v) is not None]
    if not places:
      return pairs
    before = [_dense(*pairs[i]) for i in places]

    def added() -> list[tf.Tensor]:
      return [
        gradient + self._penalty(variable, gradient.dtype, coefficient)
        for gradient, (_, variable) in zip(
          before, [pairs[i] for i in places], strict=True
        )
      ]

    after = tf.cond(coefficient > 0, added, lambda: before)
    result = list(pairs)
    for place, gradient in zip(places, after, strict=True):
      result[place] = (gradient, pairs[place][1])
    return result

  def _index(self, variable: Any) -> int | None:
    return self._indices.get(prunable.uncast(variable).ref())

  def _penalty(self, variable: Any, dtype: Any, coefficient: Any) -> tf.Tensor:
    index = self._index(variable)
    assert index is not None
    weight = tf.cast(self._kernels[index].weight, dtype)
    chosen = tf.cast(self._candidates[index], dtype)
    return tf.cast(coefficient, dtype) * chosen * weight


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


def _dense(gradient: Any, variable: Any) -> tf.Tensor:
  # The penalty's is dense, and there even where the loss has none.
  if gradient is None:
    return tf.zeros_like(prunable.uncast(variable))
  return tf.convert_to_tensor(gradient)

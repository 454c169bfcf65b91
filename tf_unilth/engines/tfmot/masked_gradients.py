"""The gradients of a ticket: none for what is pruned, a penalty's for what is
about to be.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import tensorflow as tf

from tf_unilth.engines.tfmot import prunable_weights
from tf_unilth.engines.tfmot.pruned_model import PrunedKernel, PrunedLayers

Pairs = list[tuple[Any, Any]]


class TicketGradients:
  """Changes gradients on their way to the optimizer.

  Each change is a pass over all weights. An optimizer that negates what it is
  given gets the negation of what is computed negative, with the same bits:
  TensorFlow drops the two negations when it optimizes the graph, and the
  product with the mask takes the place of a pass that there was before.

  Args:
    layers: the wrapped layers, whose masks count.
    candidates: a variable per kernel, True where the penalty is.
    negated: whether the optimizer begins by negating its gradients.
  """

  def __init__(
    self, layers: PrunedLayers, candidates: Sequence[Any], negated: bool
  ):
    self._kernels = layers.kernels
    self._candidates = candidates
    self._negated = negated
    self._indices = {k.weight.ref(): i for i, k in enumerate(self._kernels)}

  def transform(
    self,
    pairs: Iterable[tuple[Any, Any]],
    coefficient: tf.Tensor | None,
    masks: bool = True,
  ) -> tuple[Pairs, set[int]]:
    """Returns pairs of gradient and variable as the optimizer is to get them.

    Args:
      pairs: of gradient and variable.
      coefficient: of the gradient of the candidates' L2 loss, a scalar; `None`
        for no penalty.
      masks: whether anything may be pruned.

    Returns:
      The pairs, and which of the kernels are among them.
    """
    result: Pairs = []
    found: set[int] = set()
    before: list[tf.Tensor] = []
    # Backpropagation begins with the last. A penalty waits for the gradient
    # before its own: those of all layers, made when a step begins, would be one
    # more copy of the weights.
    for gradient, variable in reversed(list(pairs)):
      index = self._indices.get(
        prunable_weights.unwrap_autocast(variable).ref()
      )
      new = gradient
      if index is not None:
        found.add(index)
        with tf.control_dependencies(before):
          new = self._changed(index, gradient, coefficient, masks)
        values = getattr(gradient, 'values', gradient)
        if coefficient is not None and tf.is_tensor(values):
          before = [values]
      result.append((new, variable))
    return result[::-1], found

  def _changed(
    self,
    index: int,
    gradient: Any,
    coefficient: tf.Tensor | None,
    masks: bool,
  ) -> Any:
    """Returns gradient * mask + coefficient * candidates * weight."""
    kernel = self._kernels[index]
    if coefficient is None and not masks:
      return gradient
    if isinstance(gradient, tf.IndexedSlices):
      if coefficient is None:
        return _masked_slices(gradient, kernel.mask)
      gradient = tf.convert_to_tensor(gradient)
    terms = []
    if gradient is not None:  # Else the loss does not depend on the weight.
      if masks:
        terms.append(self._product(gradient, kernel.mask))
      else:
        terms.append(-gradient if self._negated else gradient)
    if coefficient is not None:
      terms.append(self._penalty(kernel, self._candidates[index], coefficient))
    if not terms:
      return None
    total = terms[0] if len(terms) == 1 else terms[0] + terms[1]
    return -total if self._negated else total

  def _penalty(
    self, kernel: PrunedKernel, chosen: Any, coefficient: tf.Tensor
  ) -> tf.Tensor:
    weight = tf.convert_to_tensor(kernel.weight)
    # In this order: the first product is a new tensor, the second is in place.
    return tf.cast(coefficient, weight.dtype) * self._product(weight, chosen)

  def _product(self, tensor: tf.Tensor, chosen: Any) -> tf.Tensor:
    """Returns the product with what is 1 or 0, or its negation, in one pass."""
    chosen = tf.cast(chosen, tensor.dtype)
    if self._negated:  # -chosen^2 * tensor, by a kernel that every device has.
      return tf.raw_ops.ReciprocalGrad(y=chosen, dy=tensor)
    return tensor * chosen


def _masked_slices(gradient: tf.IndexedSlices, mask: Any) -> tf.IndexedSlices:
  mask = tf.cast(mask, gradient.dtype)
  return tf.IndexedSlices(
    gradient.values * tf.gather(mask, gradient.indices),
    gradient.indices,
    gradient.dense_shape,
  )

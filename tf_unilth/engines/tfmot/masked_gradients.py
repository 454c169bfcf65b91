"""Masks the gradients of pruned weights and adds the penalty's gradient."""

from collections.abc import Iterable, Sequence
from typing import Any

import tensorflow as tf

from tf_unilth.engines.tfmot import prunable_weights
from tf_unilth.engines.tfmot.pruned_model import PrunedKernel, PrunedLayers

Pairs = list[tuple[Any, Any]]


class TicketGradients:
  """Transforms gradients on their way to the optimizer.

  Each operation is a pass over all weights. For an optimizer that negates its
  gradients, the negative of each result is computed and then negated, with the
  same bits. TensorFlow removes the two successive negations when it optimizes
  the graph, so the product with the mask replaces the optimizer's negation and
  adds no pass.

  Args:
    layers: the wrapped layers, which have the masks.
    candidates: one boolean variable per kernel, in its shape; True where the
      penalty applies.
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
    """Returns the pairs of gradient and variable for the optimizer.

    Args:
      pairs: pairs of gradient and variable.
      coefficient: the scalar coefficient lambda of the candidates' L2 penalty;
        `None` for no penalty.
      masks: whether any weight may be pruned.

    Returns:
      The transformed pairs, and the indices of the kernels among them.
    """
    result: Pairs = []
    found: set[int] = set()
    before: list[tf.Tensor] = []
    # Backpropagation begins with the last layer. Each penalty waits for the
    # preceding gradient: the penalties of all layers at once, at the start of
    # the step, would take as much memory as another copy of the weights.
    for gradient, variable in reversed(list(pairs)):
      index = self._indices.get(
        prunable_weights.unwrap_autocast(variable).ref()
      )
      new = gradient
      if index is not None:
        found.add(index)
        with tf.control_dependencies(before):
          new = self._transform_one(index, gradient, coefficient, masks)
        values = getattr(gradient, 'values', gradient)
        if coefficient is not None and tf.is_tensor(values):
          before = [values]
      result.append((new, variable))
    return result[::-1], found

  def _transform_one(
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
    if gradient is not None:  # `None` if the loss is independent of the weight.
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
    # This order creates one new tensor; the second product is in place.
    return tf.cast(coefficient, weight.dtype) * self._product(weight, chosen)

  def _product(self, tensor: tf.Tensor, chosen: Any) -> tf.Tensor:
    """Returns the product with 0 or 1, negated if set, in one pass."""
    chosen = tf.cast(chosen, tensor.dtype)
    if self._negated:
      # Computes -chosen^2 * tensor; all devices have a kernel for this op.
      return tf.raw_ops.ReciprocalGrad(y=chosen, dy=tensor)
    return tensor * chosen


def _masked_slices(gradient: tf.IndexedSlices, mask: Any) -> tf.IndexedSlices:
  mask = tf.cast(mask, gradient.dtype)
  return tf.IndexedSlices(
    gradient.values * tf.gather(mask, gradient.indices),
    gradient.indices,
    gradient.dense_shape,
  )

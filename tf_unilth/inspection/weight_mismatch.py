"""Compares the weights of a file with those of a model, by name and shape."""

from collections.abc import Sequence
from typing import Any

from tf_unilth.tickets import model_matching


def weight_mismatch(
  file: Sequence[tuple[str, Any]], model: Sequence[tuple[str, Any]]
) -> str:
  """Describes the first difference between the weights of a file and a model.

  Names are compared without the layer and without a trailing number.

  Args:
    file: names and arrays, in the order of the model's weights.
    model: names and arrays (or variables) of the model.

  Returns:
    A sentence, empty if all shapes, dtypes and names agree.

  >>> weights = [('dense/kernel', np.zeros((2, 3))), ('bias', np.zeros(3))]
  >>> weight_mismatch(weights, weights)
  ''
  >>> weight_mismatch(weights[:1], [('dense_1/kernel', np.zeros((3, 3)))])
  "its weight 1 is 'dense/kernel' of shape (2, 3) and dtype float64, \
the network's 'dense_1/kernel' of shape (3, 3) and dtype float64."
  """
  mine, theirs = ([_spec(*pair) for pair in pairs] for pairs in (file, model))
  return model_matching.difference(
    'weight', mine, theirs, 'the file', 'the network'
  )


def _spec(name: str, value: Any) -> model_matching.WeightSpec:
  dtype = getattr(value.dtype, 'name', str(value.dtype))
  name = name.split(':')[0]
  return model_matching.of_weight(name, tuple(value.shape), dtype)

"""Draws random inputs for a model: dense, ragged and sparse."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

_UNKNOWN_SIZE = 32  # A power of two, since networks halve images.
_MAX_ROW_LENGTH = 5  # Of ragged tensors.
_MAX_ENTRIES = 8  # Of a sample in a sparse tensor.


def draw_input(
  spec: Any,
  rng: np.random.Generator,
  count: int,
  ids: Sequence[int] | None = None,
  uniform: bool = False,
) -> Any:
  """Returns random samples for one input.

  Args:
    spec: a `TensorSpec`, `RaggedTensorSpec` or `SparseTensorSpec`; the first
      axis is the batch.
    rng: the random generator.
    count: the number of samples.
    ids: the values to draw from, for any type. Default: 0 and 1 for integers,
      0 to 255 for uint8, the normal distribution for floats.
    uniform: whether floats are uniform in [0, 1) instead.

  Returns:
    An array, or a ragged or sparse tensor, of the spec's type.

  Raises:
    ValueError: the spec has no known rank, or its type is neither a number nor
      a bool.

  >>> rng = np.random.default_rng(0)
  >>> draw_input(tf.TensorSpec((None, 3), tf.int32), rng, 2, range(7, 8))
  array([[7, 7, 7],
         [7, 7, 7]], dtype=int32)
  """
  dtype = spec.dtype
  if spec.shape.rank is None:
    raise ValueError('its rank is unknown')
  if not (dtype.is_floating or dtype.is_integer or dtype.is_bool):
    raise ValueError(f'its type is {dtype.name}')

  def draw(shape: Sequence[int]) -> np.ndarray:
    return np.asarray(
      _draw_values(dtype, rng, shape, ids, uniform), dtype.as_numpy_dtype
    )

  if isinstance(spec, tf.RaggedTensorSpec):
    return _draw_ragged(spec, rng, count, draw)
  if isinstance(spec, tf.SparseTensorSpec):
    return _draw_sparse(spec, rng, count, draw)
  return draw([count, *_sizes(spec.shape[1:])] if spec.shape.rank else [])


def _draw_values(
  dtype: tf.DType,
  rng: np.random.Generator,
  shape: Sequence[int],
  ids: Sequence[int] | None,
  uniform: bool,
) -> Any:
  if ids is not None:
    return np.asarray(ids)[rng.integers(len(ids), size=shape)]
  if dtype.is_floating:
    return rng.random(shape) if uniform else rng.normal(size=shape)
  return rng.integers(0, 256 if dtype == tf.uint8 else 2, shape)


def _sizes(shape: tf.TensorShape) -> list[int]:
  return [size or _UNKNOWN_SIZE for size in shape]


def _draw_ragged(
  spec: Any, rng: np.random.Generator, count: int, draw: Any
) -> tf.RaggedTensor:
  lengths, rows = [], count
  for size in spec.shape[1 : spec.ragged_rank + 1]:
    high = size or _MAX_ROW_LENGTH
    lengths.append(rng.integers(size or 1, high + 1, rows))
    rows = int(lengths[-1].sum())
  values = draw([rows, *_sizes(spec.shape[spec.ragged_rank + 1 :])])
  lengths = [
    np.asarray(row, spec.row_splits_dtype.as_numpy_dtype) for row in lengths
  ]
  return tf.RaggedTensor.from_nested_row_lengths(values, lengths)


def _draw_sparse(
  spec: Any, rng: np.random.Generator, count: int, draw: Any
) -> tf.SparseTensor:
  sizes = _sizes(spec.shape[1:])
  positions = {
    (sample, *(int(rng.integers(size)) for size in sizes))
    for sample in range(count)
    for _ in range(_MAX_ENTRIES)
  }
  indices = np.array(sorted(positions), np.int64)
  return tf.SparseTensor(indices, draw([len(indices)]), [count, *sizes])

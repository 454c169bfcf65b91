"""Random inputs for a model: dense, ragged and sparse."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

_UNKNOWN = 32  # Of a dimension that is left open; networks halve images.
_LONGEST_ROW = 5  # Of what is ragged.
_ENTRIES = 8  # Of a sparse sample, at most.


def made_up(
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
    rng: what draws them.
    count: how many samples.
    ids: what the values are drawn from, whatever their type; by default
      integers are 0 and 1, bytes any, and floats normal.
    uniform: whether floats are in [0, 1) instead.

  Raises:
    ValueError: it is neither of numbers nor of bools, or has no known rank.

  >>> rng = np.random.default_rng(0)
  >>> made_up(tf.TensorSpec((None, 3), tf.int32), rng, 2, range(7, 8))
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
      _drawn(dtype, rng, shape, ids, uniform), dtype.as_numpy_dtype
    )

  if isinstance(spec, tf.RaggedTensorSpec):
    return _ragged(spec, rng, count, draw)
  if isinstance(spec, tf.SparseTensorSpec):
    return _sparse(spec, rng, count, draw)
  return draw([count, *_sizes(spec.shape[1:])] if spec.shape.rank else [])


def _drawn(
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
  return [size or _UNKNOWN for size in shape]


def _ragged(
  spec: Any, rng: np.random.Generator, count: int, draw: Any
) -> tf.RaggedTensor:
  lengths, rows = [], count
  for size in spec.shape[1 : spec.ragged_rank + 1]:
    high = size or _LONGEST_ROW
    lengths.append(rng.integers(size or 1, high + 1, rows))
    rows = int(lengths[-1].sum())
  values = draw([rows, *_sizes(spec.shape[spec.ragged_rank + 1 :])])
  lengths = [
    np.asarray(row, spec.row_splits_dtype.as_numpy_dtype) for row in lengths
  ]
  return tf.RaggedTensor.from_nested_row_lengths(values, lengths)


def _sparse(
  spec: Any, rng: np.random.Generator, count: int, draw: Any
) -> tf.SparseTensor:
  sizes = _sizes(spec.shape[1:])
  drawn = {
    (sample, *(int(rng.integers(size)) for size in sizes))
    for sample in range(count)
    for _ in range(_ENTRIES)
  }
  indices = np.array(sorted(drawn), np.int64)
  return tf.SparseTensor(indices, draw([len(indices)]), [count, *sizes])

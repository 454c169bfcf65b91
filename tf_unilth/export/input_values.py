"""Converts a user's values to the type and shape of a model's input."""

from typing import Any

import numpy as np
import tensorflow as tf

from tf_unilth.argument_checks import format_value


def conform(
  spec: Any, value: Any, argument: str, name: str, sample: bool = False
) -> Any:
  """Returns a value converted to the type and shape of an input.

  Args:
    spec: a `TensorSpec`, `RaggedTensorSpec` or `SparseTensorSpec`.
    value: an array, a tensor or a list; for ragged inputs also a nested list,
      for sparse inputs also a SciPy matrix.
    argument: the argument's name in error messages.
    name: the input's name in error messages.
    sample: whether a single sample without a batch axis is allowed.

  Returns:
    An array of the spec's type, or a ragged or sparse tensor.

  Raises:
    ValueError: the value does not match the spec or has no samples.

  >>> conform(tf.TensorSpec((None, 2)), [[1, 2]], 'inputs', 'x')
  array([[1., 2.]], dtype=float32)
  >>> conform(tf.TensorSpec((None, 2)), [[1, 2, 3]], 'inputs', 'x')
  Traceback (most recent call last):
  ValueError: inputs for x has the shape (1, 3), but the model takes (None, 2).
  """
  label = f'{argument} for {name}'
  if isinstance(spec, tf.RaggedTensorSpec):
    converted = _to_ragged(spec, value, label)
  elif isinstance(spec, tf.SparseTensorSpec):
    converted = _to_sparse(spec, value, label)
  else:
    converted = _to_dense(spec, value, label)
    if sample:
      converted = _add_batch_axis(converted, spec.shape)
    converted = _match_rank(converted, spec.shape)
  if not count_samples(converted):
    raise ValueError(
      f'{argument} must hold samples for {name}, but is {format_value(value)}.'
    )
  if not spec.shape[1:].is_compatible_with(converted.shape[1:]):
    raise ValueError(
      f'{label} has the shape {tuple(converted.shape)}, but the model takes '
      f'{tuple(spec.shape)}.'
    )
  return converted


def count_samples(value: Any) -> int:
  """Returns the number of samples of an input.

  Args:
    value: an array, or a ragged or sparse tensor; the first axis is the batch.

  >>> count_samples(tf.ragged.constant([[1], [2, 3]]))
  2
  """
  if isinstance(value, tf.RaggedTensor):
    return int(value.nrows())
  return value.shape[0] if len(value.shape) else 0


def _to_dense(spec: tf.TensorSpec, value: Any, label: str) -> np.ndarray:
  if isinstance(value, tf.RaggedTensor | tf.SparseTensor) or hasattr(
    value, 'tocoo'
  ):
    raise ValueError(
      f'{label} must be dense, as in the model, but is a '
      f'{type(value).__name__}: pad it (to_tensor) or fill it '
      '(tf.sparse.to_dense, toarray).'
    )
  try:
    array = np.asarray(_unwrap_single(value, spec.shape.rank))
    if _has_wrong_kind(array, spec.dtype):
      raise TypeError
    return array.astype(spec.dtype.as_numpy_dtype)
  except (TypeError, ValueError):
    raise _type_error(label, spec, value) from None


def _unwrap_single(value: Any, rank: int | None) -> Any:
  """Unwraps a list of one array, which Keras accepts in place of the array."""
  if isinstance(value, tuple) and len(value) != 1:
    raise TypeError('a tuple has several inputs')
  if isinstance(value, list | tuple) and len(value) == 1:
    (item,) = value
    if len(getattr(item, 'shape', ())) == rank or isinstance(value, tuple):
      return item
  return value


def _has_wrong_kind(array: np.ndarray, dtype: tf.DType) -> bool:
  """Returns whether an array's kind (string, complex) does not match."""
  if dtype == tf.string:
    return array.dtype.kind not in 'OSU'
  return array.dtype.kind in 'SU' or (
    array.dtype.kind == 'c' and not dtype.is_complex
  )


def _add_batch_axis(array: np.ndarray, shape: tf.TensorShape) -> np.ndarray:
  """Returns a batch; adds the batch axis to a single sample."""
  is_sample = array.ndim + 1 == shape.rank and shape[1:].is_compatible_with(
    array.shape
  )
  return array[np.newaxis] if is_sample or not array.ndim else array


def _match_rank(array: np.ndarray, shape: tf.TensorShape) -> np.ndarray:
  """Adds or removes a last axis of length 1, as functional models do."""
  if shape.rank == array.ndim + 1 and array.ndim and shape[-1] == 1:
    return array[..., np.newaxis]
  if shape.rank == array.ndim - 1 and array.shape[-1] == 1:
    return array[..., 0]
  return array


def _to_ragged(spec: Any, value: Any, label: str) -> tf.RaggedTensor:
  rank = spec.ragged_rank
  try:
    ragged = _unwrap_single(value, spec.shape.rank)
    if isinstance(ragged, np.ndarray | tf.Tensor):
      ragged = tf.RaggedTensor.from_tensor(ragged, ragged_rank=rank)
    elif not isinstance(ragged, tf.RaggedTensor):
      ragged = tf.ragged.constant(ragged, ragged_rank=rank)
    if ragged.ragged_rank != rank:
      raise ValueError
    ragged = ragged.with_row_splits_dtype(spec.row_splits_dtype)
    return tf.cast(ragged, spec.dtype)
  except (TypeError, ValueError, tf.errors.OpError):
    raise _type_error(
      label, spec, value, f'a ragged tensor of ragged rank {rank}, '
    ) from None


def _to_sparse(spec: Any, value: Any, label: str) -> tf.SparseTensor:
  try:
    sparse = _unwrap_single(value, spec.shape.rank)
    if hasattr(sparse, 'tocoo'):
      matrix = sparse.tocoo()
      indices = np.stack([matrix.row, matrix.col], 1).astype(np.int64)
      sparse = tf.SparseTensor(indices, matrix.data, matrix.shape)
    elif not isinstance(sparse, tf.SparseTensor):
      sparse = tf.sparse.from_dense(sparse)
    return tf.cast(tf.sparse.reorder(sparse), spec.dtype)
  except (TypeError, ValueError, tf.errors.OpError):
    raise _type_error(label, spec, value, 'a sparse tensor, ') from None


def _type_error(
  label: str, spec: Any, value: Any, kind: str = ''
) -> ValueError:
  return ValueError(
    f'{label} must be {kind}of {spec.dtype.name}, but is {format_value(value)}.'
  )

"""What a user gives as an input, as the tensor that a model's input takes."""

from typing import Any

import numpy as np
import tensorflow as tf

from tf_unilth.argument_checks import format_value


def conform(
  spec: Any, value: Any, argument: str, name: str, sample: bool = False
) -> Any:
  """Returns a value as an input of a model takes it.

  Args:
    spec: a `TensorSpec`, `RaggedTensorSpec` or `SparseTensorSpec`.
    value: an array, a tensor or a list; for ragged inputs also a nested list,
      for sparse ones a SciPy matrix.
    argument: whose part it is, for errors.
    name: of the input, for errors.
    sample: whether it may be one sample, without a batch axis.

  Returns:
    An array of the spec's type, or a ragged or a sparse tensor.

  Raises:
    ValueError: it does not fit, or holds no samples.

  >>> conform(tf.TensorSpec((None, 2)), [[1, 2]], 'inputs', 'x')
  array([[1., 2.]], dtype=float32)
  >>> conform(tf.TensorSpec((None, 2)), [[1, 2, 3]], 'inputs', 'x')
  Traceback (most recent call last):
  ValueError: inputs for x has the shape (1, 3), but the model takes (None, 2).
  """
  what = f'{argument} for {name}'
  if isinstance(spec, tf.RaggedTensorSpec):
    fitted = _ragged(spec, value, what)
  elif isinstance(spec, tf.SparseTensorSpec):
    fitted = _sparse(spec, value, what)
  else:
    fitted = _dense(spec, value, what)
    if sample:
      fitted = _with_batch_axis(fitted, spec.shape)
    fitted = _in_rank(fitted, spec.shape)
  if not samples(fitted):
    raise ValueError(
      f'{argument} must hold samples for {name}, but is {format_value(value)}.'
    )
  if not spec.shape[1:].is_compatible_with(fitted.shape[1:]):
    raise ValueError(
      f'{what} has the shape {tuple(fitted.shape)}, but the model takes '
      f'{tuple(spec.shape)}.'
    )
  return fitted


def samples(value: Any) -> int:
  """Returns how many samples an input has.

  >>> samples(tf.ragged.constant([[1], [2, 3]]))
  2
  """
  if isinstance(value, tf.RaggedTensor):
    return int(value.nrows())
  return value.shape[0] if len(value.shape) else 0


def _dense(spec: tf.TensorSpec, value: Any, what: str) -> np.ndarray:
  if isinstance(value, tf.RaggedTensor | tf.SparseTensor) or hasattr(
    value, 'tocoo'
  ):
    raise ValueError(
      f'{what} must be dense, as the model takes it, but is a '
      f'{type(value).__name__}: pad it (to_tensor) or fill it '
      '(tf.sparse.to_dense, toarray).'
    )
  try:
    array = np.asarray(_alone(value, spec.shape.rank))
    if _is_other_kind(array, spec.dtype):
      raise TypeError
    return array.astype(spec.dtype.as_numpy_dtype)
  except (TypeError, ValueError):
    raise _not_of(what, spec, value) from None


def _alone(value: Any, rank: int | None) -> Any:
  """Returns an array that is alone in a list; Keras takes both."""
  if isinstance(value, tuple) and len(value) != 1:
    raise TypeError('a tuple is several inputs')
  if isinstance(value, list | tuple) and len(value) == 1:
    (item,) = value
    if len(getattr(item, 'shape', ())) == rank or isinstance(value, tuple):
      return item
  return value


def _is_other_kind(array: np.ndarray, dtype: tf.DType) -> bool:
  """Returns whether it is of strings or complex, and should not be."""
  if dtype == tf.string:
    return array.dtype.kind not in 'OSU'
  return array.dtype.kind in 'SU' or (
    array.dtype.kind == 'c' and not dtype.is_complex
  )


def _with_batch_axis(array: np.ndarray, shape: tf.TensorShape) -> np.ndarray:
  """Returns a batch, of one sample where the array is that."""
  one = array.ndim + 1 == shape.rank and shape[1:].is_compatible_with(
    array.shape
  )
  return array[np.newaxis] if one or not array.ndim else array


def _in_rank(array: np.ndarray, shape: tf.TensorShape) -> np.ndarray:
  """Adds or takes away a last axis of length 1, as functional models do."""
  if shape.rank == array.ndim + 1 and array.ndim and shape[-1] == 1:
    return array[..., np.newaxis]
  if shape.rank == array.ndim - 1 and array.shape[-1] == 1:
    return array[..., 0]
  return array


def _ragged(spec: Any, value: Any, what: str) -> tf.RaggedTensor:
  rank = spec.ragged_rank
  try:
    ragged = _alone(value, spec.shape.rank)
    if isinstance(ragged, np.ndarray | tf.Tensor):
      ragged = tf.RaggedTensor.from_tensor(ragged, ragged_rank=rank)
    elif not isinstance(ragged, tf.RaggedTensor):
      ragged = tf.ragged.constant(ragged, ragged_rank=rank)
    if ragged.ragged_rank != rank:
      raise ValueError
    ragged = ragged.with_row_splits_dtype(spec.row_splits_dtype)
    return tf.cast(ragged, spec.dtype)
  except (TypeError, ValueError, tf.errors.OpError):
    raise _not_of(
      what, spec, value, f'a ragged tensor of ragged rank {rank}, '
    ) from None


def _sparse(spec: Any, value: Any, what: str) -> tf.SparseTensor:
  try:
    sparse = _alone(value, spec.shape.rank)
    if hasattr(sparse, 'tocoo'):
      found = sparse.tocoo()
      indices = np.stack([found.row, found.col], 1).astype(np.int64)
      sparse = tf.SparseTensor(indices, found.data, found.shape)
    elif not isinstance(sparse, tf.SparseTensor):
      sparse = tf.sparse.from_dense(sparse)
    return tf.cast(tf.sparse.reorder(sparse), spec.dtype)
  except (TypeError, ValueError, tf.errors.OpError):
    raise _not_of(what, spec, value, 'a sparse tensor, ') from None


def _not_of(what: str, spec: Any, value: Any, kind: str = '') -> ValueError:
  return ValueError(
    f'{what} must be {kind}of {spec.dtype.name}, but is {format_value(value)}.'
  )

"""The data of a `fit` in plain values, read only where that changes nothing.

A second iterator over a dataset is not always harmless: it moves the seeds of
`shuffle`, calls a Python generator once more, and draws random numbers. So only
parts of a pipeline are read that are a function of nothing else: arrays, and
what is made of them and of files by operations without state.
"""

import hashlib
import itertools
import math
import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.python.framework import op_def_registry

from tf_unilth.resume import object_description

_MOST_BYTES = 1 << 24  # Of an array that is read; rows evenly apart.
_MOST_ELEMENTS = 32  # Of a pipeline that are read, if they are small:
_ENOUGH_BYTES = 1 << 20
# Datasets that give the same elements again, if their functions do.
_REPEATABLE = frozenset(
  (
    *('TensorDataset', 'TensorSliceDataset', 'RangeDataset', 'ZipDataset'),
    *('BatchDataset', 'ParallelBatchDataset', 'PaddedBatchDataset'),
    *('MapDataset', 'ParallelMapDataset', 'FlatMapDataset', 'FilterDataset'),
    *('InterleaveDataset', 'UnbatchDataset', 'DenseToRaggedDataset'),
    *('TakeDataset', 'SkipDataset', 'ShardDataset', 'RepeatDataset'),
    *('ConcatenateDataset', 'PrefetchDataset', 'OptionsDataset'),
    *('TFRecordDatasetV2', 'TextLineDatasetV2', 'FixedLengthRecordDatasetV2'),
  )
)

# What is below them is read in their place.
_SAME_ELEMENTS = ('RepeatDataset', 'PrefetchDataset', 'OptionsDataset')


def describe(handler: Any, class_weight: Any) -> dict[str, Any]:
  """Returns what the data of a `fit` are made of.

  Args:
    handler: Keras's data handler of the `fit`.
    class_weight: as `fit` was given it.
  """
  dataset = handler._adapter.get_dataset()
  return {
    'adapter': type(handler._adapter).__name__,
    'tensors': _specs(dataset),
    'class_weight': object_description.describe(class_weight),
  }


def validation(inputs: tuple[Any, ...]) -> list[str] | None:
  """Returns the dtypes and shapes of validation data.

  Args:
    inputs: x, y and sample weights, or one dataset and twice `None`.
  """
  if isinstance(inputs[0], tf.data.Dataset):
    return _specs(inputs[0])
  leaves = [leaf for leaf in tf.nest.flatten(inputs) if leaf is not None]
  if not leaves or not all(map(_is_array, leaves)):
    return None
  return [_spec(leaf) for leaf in leaves]


def contents(data: Any) -> dict[str, Any] | None:
  """Returns a digest of what can be read twice, `None` if nothing can.

  Args:
    data: a dataset, or nested arrays.
  """
  try:
    digest = _Digest()
    if isinstance(data, tf.data.Dataset):
      digest.add_dataset(data)
    else:
      for leaf in tf.nest.flatten(data):
        if _is_array(leaf):
          digest.add(leaf)
    return digest.result()
  except Exception:  # What is wrong with the data `fit` will say.
    return None


def of_handler(handler: Any) -> dict[str, Any] | None:
  """Returns `contents` of the data of a `fit`."""
  return contents(handler._adapter.get_dataset())


class _Digest:
  """A SHA-256 of tensors, and the shapes of those that are in memory."""

  def __init__(self) -> None:
    self._sha256 = hashlib.sha256()
    self._arrays: list[str] = []
    self._elements: int | None = None
    self._any = False

  def result(self) -> dict[str, Any] | None:
    if not self._any:
      return None
    return {
      'arrays': self._arrays,
      'elements': self._elements,
      'digest': self._sha256.hexdigest()[:16],
    }

  def add(self, array: Any) -> None:
    """Adds an array that is in memory."""
    self._arrays.append(_spec(array))
    self._add_rows(array)

  def add_dataset(self, dataset: tf.data.Dataset) -> None:
    """Adds the parts of a pipeline that can be read twice."""
    count = int(dataset.cardinality())
    self._elements = count if count >= 0 else None
    ordered = dataset.options().deterministic is not False
    self._add_node(dataset, ordered)

  def _add_node(self, node: Any, ordered: bool) -> None:
    tensors = getattr(node, '_tensors', None)
    if _kind(node) in ('TensorDataset', 'TensorSliceDataset') and tensors:
      for tensor in tensors:
        if tensor.dtype not in (tf.variant, tf.resource):
          self.add(tensor)
      return
    if ordered and _kind(node) not in _SAME_ELEMENTS and _is_repeatable(node):
      self._add_elements(node)
      ordered = False  # Of what it is made of, arrays are left to be added.
    for source in node._inputs():
      self._add_node(source, ordered)

  def _add_elements(self, dataset: tf.data.Dataset) -> None:
    """Adds the first batch, or the first elements of what has no batches."""
    size = 0
    for element in itertools.islice(iter(dataset), _MOST_ELEMENTS):
      for tensor in tf.nest.flatten(element, expand_composites=True):
        size += self._add_rows(tensor)
      if size >= _ENOUGH_BYTES:
        break

  def _add_rows(self, array: Any) -> int:
    """Adds rows of an array, evenly apart; returns how many bytes it read."""
    shape, dtype = tuple(array.shape), tf.as_dtype(array.dtype)
    rows = np.asarray(array[:: _stride(shape, dtype)] if shape else array)
    if dtype == tf.string and _holds_paths(rows):
      return 0
    data = _bytes(rows)
    self._sha256.update(f'{dtype.name} {shape} '.encode() + data)
    self._any = True
    return len(data)


def _stride(shape: Any, dtype: tf.DType) -> int:
  size = math.prod(map(int, shape)) * (dtype.size or 8)
  return max(1, -(-size // _MOST_BYTES))


def _bytes(rows: np.ndarray) -> bytes:
  if rows.dtype == object:
    return repr(rows.tolist()).encode()
  return np.ascontiguousarray(rows).tobytes()


def _holds_paths(rows: np.ndarray) -> bool:
  """Returns whether strings are paths, which are others on another machine."""
  return os.sep in repr(rows.ravel().tolist())


def _kind(node: Any) -> str:
  return type(node).__name__.lstrip('_')


def _is_repeatable(node: Any) -> bool:
  return (
    _kind(node) in _REPEATABLE
    and getattr(node, '_deterministic', None) not in (False, 'false')
    and all(map(_has_no_state, node._functions()))
    and all(map(_is_repeatable, node._inputs()))
  )


def _has_no_state(wrapper: Any) -> bool:
  """Returns whether a function of a pipeline is one of its inputs alone."""
  function = wrapper.function
  captured = (tensor.dtype for tensor in function.captured_inputs)
  return tf.resource not in captured and not any(
    op_def_registry.get(name) is None or op_def_registry.get(name).is_stateful
    for name in _operations(function.graph.as_graph_def())
  )


def _operations(graph: Any) -> set[str]:
  """Returns the types of all operations of a graph, without its functions'."""
  functions = {f.signature.name for f in graph.library.function}
  bodies = (f.node_def for f in graph.library.function)
  nodes = itertools.chain(graph.node, *bodies)
  return {node.op for node in nodes} - functions


def _specs(dataset: Any) -> list[str]:
  specs: Iterator[Any] = iter(tf.nest.flatten(dataset.element_spec))
  return [
    f'{spec.dtype.name} {spec.shape}'
    if isinstance(spec, tf.TensorSpec)
    else str(spec)
    for spec in specs
  ]


def _is_array(leaf: Any) -> bool:
  return isinstance(leaf, np.ndarray | tf.Tensor) and (
    tf.as_dtype(leaf.dtype) not in (tf.variant, tf.resource)
  )


def _spec(array: Any) -> str:
  return f'{tf.as_dtype(array.dtype).name} {tuple(array.shape)}'

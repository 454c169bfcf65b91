"""Describes the data of a `fit`, and reads only what has no side effects.

A second iterator over a dataset can have side effects: it advances the seeds of
`shuffle`, calls a Python generator again, and draws random numbers. So only
those parts of a pipeline are read that depend on nothing else: arrays, and
stateless operations on arrays and files.
"""

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.python.framework import op_def_registry

from tf_unilth.resume import object_description
from tf_unilth.resume.array_digest import ArrayDigest

# Elements of a pipeline are read until one of these is reached.
_MAX_ELEMENTS = 32
_ENOUGH_BYTES = 1 << 20
# Datasets that repeat their elements exactly, if their functions do.
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

# Their inputs are read instead.
_TRANSPARENT = ('RepeatDataset', 'PrefetchDataset', 'OptionsDataset')


def describe(handler: Any, class_weight: Any) -> dict[str, Any]:
  """Describes kind, shapes and dtypes of the data of a `fit`.

  Args:
    handler: Keras's data handler of the `fit`.
    class_weight: the argument of the `fit`.
  """
  dataset = handler._adapter.get_dataset()
  return {
    'adapter': type(handler._adapter).__name__,
    'tensors': specs(dataset),
    'class_weight': object_description.describe(class_weight),
  }


def validation(inputs: tuple[Any, ...]) -> list[str] | None:
  """Returns the dtypes and shapes of validation data.

  Args:
    inputs: x, y and sample weights, or one dataset and twice `None`.

  Returns:
    Texts such as `'float32 (8, 4)'`, `None` if the inputs are not arrays.
  """
  if isinstance(inputs[0], tf.data.Dataset):
    return specs(inputs[0])
  leaves = [leaf for leaf in tf.nest.flatten(inputs) if leaf is not None]
  if not leaves or not all(map(_is_array, leaves)):
    return None
  return [_spec(leaf) for leaf in leaves]


def contents(data: Any) -> dict[str, Any] | None:
  """Returns a digest of the data that can be read twice.

  Args:
    data: a dataset, or nested arrays.

  Returns:
    `arrays`, `elements` and `digest`; `None` if nothing can be read twice.
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
  except Exception:  # `fit` reports what is wrong with the data.
    return None


def of_handler(handler: Any) -> dict[str, Any] | None:
  """Returns `contents` of the data of a `fit`.

  Args:
    handler: Keras's data handler of the `fit`.
  """
  return contents(handler._adapter.get_dataset())


class _Digest(ArrayDigest):
  """The digest of tensors and of the parts of pipelines."""

  def add_dataset(self, dataset: tf.data.Dataset) -> None:
    """Adds the parts of a pipeline that can be read twice.

    Args:
      dataset: the pipeline.
    """
    count = int(dataset.cardinality())
    self.elements = count if count >= 0 else None
    ordered = dataset.options().deterministic is not False
    self._add_node(dataset, ordered)

  def _add_node(self, node: Any, ordered: bool) -> None:
    tensors = getattr(node, '_tensors', None)
    if _kind(node) in ('TensorDataset', 'TensorSliceDataset') and tensors:
      for tensor in tensors:
        if tensor.dtype not in (tf.variant, tf.resource):
          self.add(tensor)
      return
    if ordered and _kind(node) not in _TRANSPARENT and _is_repeatable(node):
      self._add_elements(node)
      ordered = False  # Of its inputs only arrays are still to be added.
    for source in node._inputs():
      self._add_node(source, ordered)

  def _add_elements(self, dataset: tf.data.Dataset) -> None:
    """Adds the first batch, or the first elements if there are no batches."""
    size = 0
    for element in itertools.islice(iter(dataset), _MAX_ELEMENTS):
      for tensor in tf.nest.flatten(element, expand_composites=True):
        size += self.add_rows(tensor)
      if size >= _ENOUGH_BYTES:
        break

  def dtype_of(self, array: Any) -> tuple[str, int]:
    """Returns the name of a dtype, and the bytes of an element."""
    dtype = tf.as_dtype(array.dtype)
    return dtype.name, dtype.size or 8


def _kind(node: Any) -> str:
  return type(node).__name__.lstrip('_')


def _is_repeatable(node: Any) -> bool:
  return (
    _kind(node) in _REPEATABLE
    and getattr(node, '_deterministic', None) not in (False, 'false')
    and all(map(_is_stateless, node._functions()))
    and all(map(_is_repeatable, node._inputs()))
  )


def _is_stateless(wrapper: Any) -> bool:
  """Returns whether a function of a pipeline depends on its inputs alone."""
  function = wrapper.function
  captured = (tensor.dtype for tensor in function.captured_inputs)
  return tf.resource not in captured and not any(
    op_def_registry.get(name) is None or op_def_registry.get(name).is_stateful
    for name in _operations(function.graph.as_graph_def())
  )


def _operations(graph: Any) -> set[str]:
  """Returns the types of all operations of a graph, except function calls."""
  functions = {f.signature.name for f in graph.library.function}
  bodies = (f.node_def for f in graph.library.function)
  nodes = itertools.chain(graph.node, *bodies)
  return {node.op for node in nodes} - functions


def specs(dataset: Any) -> list[str]:
  """Returns dtypes and shapes of the elements of a dataset."""
  leaves: Iterator[Any] = iter(tf.nest.flatten(dataset.element_spec))
  return [
    f'{spec.dtype.name} {spec.shape}'
    if isinstance(spec, tf.TensorSpec)
    else str(spec)
    for spec in leaves
  ]


def _is_array(leaf: Any) -> bool:
  return isinstance(leaf, np.ndarray | tf.Tensor) and (
    tf.as_dtype(leaf.dtype) not in (tf.variant, tf.resource)
  )


def _spec(array: Any) -> str:
  return f'{tf.as_dtype(array.dtype).name} {tuple(array.shape)}'

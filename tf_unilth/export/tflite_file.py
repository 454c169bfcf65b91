"""Reads the weights of a TFLite file: dense, sparse and quantized."""

import dataclasses
import math
import os
import pathlib
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
from tensorflow.lite.python import schema_py_generated as schema

_DTYPES = {
  schema.TensorType.FLOAT32: np.dtype('float32'),
  schema.TensorType.FLOAT16: np.dtype('float16'),
  schema.TensorType.FLOAT64: np.dtype('float64'),
  schema.TensorType.INT8: np.dtype('int8'),
  schema.TensorType.INT16: np.dtype('int16'),
  schema.TensorType.UINT8: np.dtype('uint8'),
}


@dataclasses.dataclass(frozen=True)
class StoredTensor:
  """A constant tensor of a TFLite file.

  Args:
    name: the name that the converter chose.
    shape: the shape of the decoded tensor.
    dtype: the stored type.
    zeros: the number of elements that are 0 (the zero point if quantized).
    bytes: the size of the values and, if sparse, of their indices.
    sparse: whether only nonzero blocks are stored.
    finite: whether all elements are finite.
  """

  name: str
  shape: tuple[int, ...]
  dtype: str
  zeros: int
  bytes: int
  sparse: bool
  finite: bool

  @property
  def weights(self) -> int:
    """The number of elements of the decoded tensor."""
    return math.prod(self.shape)


def read_tflite(path: str | os.PathLike[str]) -> tuple[StoredTensor, ...]:
  """Returns the weights in a TFLite file without running it.

  Args:
    path: the file.

  Returns:
    The constants of a floating-point or quantized type with at least two axes.
    This excludes biases, shapes and scales.

  Raises:
    ValueError: the file is not a TFLite file or is damaged.
    OSError: the file cannot be read.

  >>> model = keras.Sequential([keras.layers.Dense(2, input_shape=(3,))])
  >>> path = tempfile.mkdtemp() + '/model.tflite'
  >>> export = export_tflite(model, path)
  >>> [(weight.shape, weight.zeros) for weight in read_tflite(path)]
  [((2, 3), 0)]
  """
  content = pathlib.Path(path).read_bytes()
  if content[4:8] != b'TFL3':
    raise ValueError(f'{os.fspath(path)!r} is no TFLite file.')
  try:
    return tuple(_weights(schema.Model.GetRootAsModel(content, 0)))
  # On damaged files the schema's reader follows invalid offsets.
  except (
    AttributeError,
    IndexError,
    TypeError,
    ValueError,
    OverflowError,
    struct.error,
  ) as error:
    raise ValueError(
      f'{os.fspath(path)!r} is a damaged TFLite file: '
      f'{str(error).splitlines()[0] if str(error) else type(error).__name__}'
    ) from error


def _weights(model: Any) -> Iterator[StoredTensor]:
  seen = set()  # Tensors may share a buffer.
  for i in range(model.SubgraphsLength()):
    graph = model.Subgraphs(i)
    for j in range(graph.TensorsLength()):
      tensor = graph.Tensors(j)
      stored = model.Buffers(tensor.Buffer()).DataAsNumpy()
      if tensor.Type() not in _DTYPES or tensor.ShapeLength() < 2:
        continue
      if isinstance(stored, int) or tensor.Buffer() in seen:
        continue  # Computed, or read already.
      seen.add(tensor.Buffer())
      yield _stored(tensor, stored.view(_DTYPES[tensor.Type()]))


def _stored(tensor: Any, values: np.ndarray) -> StoredTensor:
  shape = tuple(tensor.ShapeAsNumpy().tolist())
  sparsity = tensor.Sparsity()
  # The stored values of blocks and quantized weights may include zeros.
  zeros = math.prod(shape) - int(np.count_nonzero(values - _zero_point(tensor)))
  if zeros < 0 or (sparsity is None and values.size != math.prod(shape)):
    raise ValueError('a tensor has more or fewer elements than its shape')
  return StoredTensor(
    name=tensor.Name().decode(errors='replace'),
    shape=shape,
    dtype=values.dtype.name,
    zeros=zeros,
    bytes=values.nbytes + _index_bytes(sparsity),
    sparse=sparsity is not None,
    finite=bool(np.isfinite(values).all()),
  )


def _zero_point(tensor: Any) -> Any:
  quantization = tensor.Quantization()
  if quantization is None or not quantization.ZeroPointLength():
    return 0
  points = quantization.ZeroPointAsNumpy()
  # Weights have the zero point 0, or in older files one for the whole tensor.
  return points[0].astype(_DTYPES[tensor.Type()])


def _index_bytes(sparsity: Any) -> int:
  if sparsity is None:
    return 0
  parameters = schema.SparsityParametersT.InitFromObj(sparsity)
  vectors = [
    vector
    for axis in parameters.dimMetadata
    for vector in (axis.arraySegments, axis.arrayIndices)
    if vector is not None
  ]
  return sum(np.asarray(vector.values).nbytes for vector in vectors)

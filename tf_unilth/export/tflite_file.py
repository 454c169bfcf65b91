"""read_tflite: the constants of a TFLite file, dense, sparse and quantised."""

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
  """A constant of a TFLite file.

  Args:
    name: as the converter chose it.
    shape: of the tensor, not of what is stored.
    dtype: of what is stored.
    zeros: how many elements are 0 (of quantised ones: the zero point).
    bytes: of the values and, if sparse, of where they stand.
    sparse: whether only blocks that are not zero are stored.
    finite: whether no element is NaN or infinite.
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
    """How many elements there are."""
    return math.prod(self.shape)


def read_tflite(path: str | os.PathLike[str]) -> tuple[StoredTensor, ...]:
  """Returns the weights in a TFLite file, without running it.

  Args:
    path: the file.

  Returns:
    Its constants of a floating or quantised type with two axes or more;
    biases, shapes and scales are not weights.

  Raises:
    ValueError: it is no TFLite file, or a damaged one.
    OSError: it cannot be read.

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
  # The schema's reader follows offsets wherever they lead.
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
        continue  # Computed, not constant.
      seen.add(tensor.Buffer())
      yield _stored(tensor, stored.view(_DTYPES[tensor.Type()]))


def _stored(tensor: Any, values: np.ndarray) -> StoredTensor:
  shape = tuple(tensor.ShapeAsNumpy().tolist())
  sparsity = tensor.Sparsity()
  # Blocks and quantised weights may hold zeros among what is stored.
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
  # Weights are symmetric; those of one point for all that is not 0 are older.
  return points[0].astype(_DTYPES[tensor.Type()])


def _index_bytes(sparsity: Any) -> int:
  if sparsity is None:
    return 0
  found = schema.SparsityParametersT.InitFromObj(sparsity)
  vectors = [
    vector
    for axis in found.dimMetadata
    for vector in (axis.arraySegments, axis.arrayIndices)
    if vector is not None
  ]
  return sum(np.asarray(vector.values).nbytes for vector in vectors)

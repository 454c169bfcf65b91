"""Reads the weights of a TFLite file: dense, sparse and quantized."""

import dataclasses
import functools
import math
import os
import pathlib
import struct
from collections.abc import Callable, Iterator
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
_OPERATIONS = {
  number: name
  for name, number in vars(schema.BuiltinOperator).items()
  if isinstance(number, int)
}
# Operations that change how a tensor is stored, not what it holds.
_DECODING = ('DENSIFY', 'DEQUANTIZE')


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
    block: the number of consecutive elements of the last axis that are stored
      or left out together; 1 for single ones, and in a dense tensor.
    readers: the names of the operations that compute with it. `DENSIFY` and
      `DEQUANTIZE` are listed too, and what computes with their results.
  """

  name: str
  shape: tuple[int, ...]
  dtype: str
  zeros: int
  bytes: int
  sparse: bool
  finite: bool
  block: int = 1
  readers: frozenset[str] = frozenset()

  @property
  def weights(self) -> int:
    """The number of elements of the decoded tensor."""
    return math.prod(self.shape)

  @property
  def runs_sparse(self) -> bool:
    """Whether an operation skips its zeros, instead of decoding them."""
    return self.sparse and 'DENSIFY' not in self.readers


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
  return tuple(_read(path, lambda tensor, _: tensor))


def read_patterns(
  path: str | os.PathLike[str],
) -> tuple[tuple[StoredTensor, np.ndarray], ...]:
  """Returns the weights in a TFLite file, and where they are not zero.

  Args:
    path: the file.

  Returns:
    What `read_tflite` returns, each with a boolean matrix: a row for each
    element of all axes but the last, True where a weight is not zero.

  Raises:
    ValueError: the file is not a TFLite file or is damaged.
    OSError: the file cannot be read.
  """
  return tuple(_read(path, lambda tensor, nonzero: (tensor, nonzero())))


def _read(
  path: str | os.PathLike[str],
  result: Callable[[StoredTensor, Callable[[], np.ndarray]], Any],
) -> list[Any]:
  """Returns a result for each weight; raises ValueError on damaged files."""
  content = pathlib.Path(path).read_bytes()
  if content[4:8] != b'TFL3':
    raise ValueError(f'{os.fspath(path)!r} is no TFLite file.')
  try:
    model = schema.Model.GetRootAsModel(content, 0)
    return [result(*weight) for weight in _weights(model)]
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


def _weights(
  model: Any,
) -> Iterator[tuple[StoredTensor, Callable[[], np.ndarray]]]:
  seen = set()  # Tensors may share a buffer.
  for i in range(model.SubgraphsLength()):
    graph = model.Subgraphs(i)
    readers = _readers(model, graph)
    for j in range(graph.TensorsLength()):
      tensor = graph.Tensors(j)
      stored = model.Buffers(tensor.Buffer()).DataAsNumpy()
      if tensor.Type() not in _DTYPES or tensor.ShapeLength() < 2:
        continue
      if isinstance(stored, int) or tensor.Buffer() in seen:
        continue  # Computed, or read already.
      seen.add(tensor.Buffer())
      values = stored.view(_DTYPES[tensor.Type()])
      yield (
        _stored(tensor, values, _all_readers(j, readers)),
        functools.partial(_nonzero, tensor, values),
      )


def _readers(model: Any, graph: Any) -> dict[int, list[tuple[str, list[int]]]]:
  """Returns the operations that read each tensor, and what they write."""
  found: dict[int, list[tuple[str, list[int]]]] = {}
  for i in range(graph.OperatorsLength()):
    operator = graph.Operators(i)
    code = model.OperatorCodes(operator.OpcodeIndex())
    # Files of old converters have the first alone.
    number = max(code.DeprecatedBuiltinCode(), code.BuiltinCode())
    written = [operator.Outputs(k) for k in range(operator.OutputsLength())]
    for k in range(operator.InputsLength()):
      read = found.setdefault(operator.Inputs(k), [])
      read.append((_OPERATIONS.get(number, str(number)), written))
  return found


def _all_readers(
  tensor: int, readers: dict[int, list[tuple[str, list[int]]]]
) -> frozenset[str]:
  names = set()
  for name, written in readers.get(tensor, ()):
    names.add(name)
    if name in _DECODING:
      for output in written:
        names |= _all_readers(output, readers)
  return frozenset(names)


def _stored(
  tensor: Any, values: np.ndarray, readers: frozenset[str]
) -> StoredTensor:
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
    block=_block(tensor),
    readers=readers,
  )


def _block(tensor: Any) -> int:
  """Returns the number of elements in a block of a sparse tensor."""
  sparsity = tensor.Sparsity()
  axes = sparsity.DimMetadataLength() if sparsity is not None else 0
  if axes <= tensor.ShapeLength():
    return 1
  return sparsity.DimMetadata(axes - 1).DenseSize()


def _nonzero(tensor: Any, values: np.ndarray) -> np.ndarray:
  """Returns where a tensor is not zero, as a matrix by its last axis."""
  shape = tuple(tensor.ShapeAsNumpy().tolist())
  rows, columns = math.prod(shape[:-1]), shape[-1]
  nonzero = values != _zero_point(tensor)
  if tensor.Sparsity() is None:
    return nonzero.reshape(rows, columns)
  parameters = schema.SparsityParametersT.InitFromObj(tensor.Sparsity())
  # The converter compresses one axis: the last one, or blocks of it.
  (axis,) = (a for a in parameters.dimMetadata if a.arraySegments is not None)
  begins, places = (
    np.asarray(vector.values, np.int64)
    for vector in (axis.arraySegments, axis.arrayIndices)
  )
  block = _block(tensor)
  found = np.zeros((rows, -(-columns // block), block), bool)
  row_of = np.repeat(np.arange(rows), begins[1:] - begins[:-1])
  found[row_of, places] = nonzero.reshape(-1, block)
  return found.reshape(rows, -1)[:, :columns]


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

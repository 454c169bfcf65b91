"""Pads kernels of a TFLite file whose inputs are no whole number of blocks.

TFLite runs a sparse kernel of a Dense layer in blocks of 4 inputs (16 in int8),
and computes wrong outputs where the number of inputs is no multiple of that.
Such a kernel gets inputs of zeros at its end, and its operation reads data that
is padded by as many zeros.
"""

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
from tensorflow.lite.python import schema_py_generated as schema
from tensorflow.lite.python.convert import mlir_sparsify
from tensorflow.lite.tools import flatbuffer_utils

# Of a kernel's type: that of NumPy, and the inputs in a block.
_BLOCKS = {
  schema.TensorType.FLOAT32: (np.float32, 4),
  schema.TensorType.INT8: (np.int8, 16),
}
# The converter encodes a kernel in blocks if this share of it is zero, and
# this share of the zeros is in blocks that are zero.
_LEAST_SPARSE = 0.3
_LEAST_IN_BLOCKS = 0.9


def sparse_with_padding(content: bytes) -> bytes | None:
  """Returns a dense file in the sparse encoding, with padded kernels.

  Args:
    content: a dense TFLite file, float32 or int8.

  Returns:
    The file; `None` if no kernel has to be padded.

  Raises:
    RuntimeError: TensorFlow cannot encode the file.
  """
  model = flatbuffer_utils.convert_bytearray_to_object(content)
  padded = [_GraphPadding(model, graph).run() for graph in model.subgraphs]
  if not any(padded):
    return None
  return mlir_sparsify(
    bytes(flatbuffer_utils.convert_object_to_bytearray(model))
  )


def missing_inputs(kernel: np.ndarray, block: int) -> int:
  """Returns how many inputs a kernel lacks to run sparse.

  Args:
    kernel: of shape (outputs, inputs), as TFLite has it.
    block: the number of inputs in a block.

  Returns:
    The number, 0 if it lacks none or if its zeros are not in blocks.

  >>> kernel = np.eye(12).repeat(4, axis=1)
  >>> missing_inputs(kernel, 4), missing_inputs(kernel[:, :46], 4)
  (0, 2)
  >>> missing_inputs(kernel[:, :46] + 1, 4)
  0
  """
  outputs, inputs = kernel.shape
  missing = -inputs % block
  if not missing:
    return 0
  nonzero = np.pad(kernel != 0, [(0, 0), (0, missing)])
  blocks = nonzero.reshape(outputs, -1, block).any(-1)
  zeros, zeros_in_blocks = 1 - nonzero.mean(), 1 - blocks.mean()
  is_encoded = (
    zeros >= _LEAST_SPARSE and zeros_in_blocks > _LEAST_IN_BLOCKS * zeros
  )
  return missing if is_encoded else 0


class _GraphPadding:
  """Pads the kernels of one graph of a file, in place.

  Args:
    model: a `ModelT` of TFLite's schema.
    graph: one of its `SubGraphT`.
  """

  def __init__(self, model: Any, graph: Any):
    self._model, self._graph = model, graph
    self._operators: list[Any] = []
    # Operations may share a kernel, or the data that they read.
    self._padded_kernels: dict[int, int] = {}
    self._padded_data: dict[tuple[int, int], int] = {}

  def run(self) -> bool:
    """Pads all kernels that need it; returns whether there are any."""
    for operator in self._graph.operators:
      missing = self._missing(operator)
      if missing:
        data, weights, *rest = operator.inputs
        inputs = self._graph.tensors[weights].shape[-1]
        key = data, inputs
        if key not in self._padded_data:
          if self._joins_axes(operator, inputs):
            data = self._add_reshape(data, inputs)
          self._padded_data[key] = self._add_pad(data, missing)
        if weights not in self._padded_kernels:
          self._padded_kernels[weights] = self._pad_kernel(weights, missing)
        operator.inputs = [
          *(self._padded_data[key], self._padded_kernels[weights], *rest)
        ]
      self._operators.append(operator)
    self._graph.operators = self._operators
    return bool(self._padded_kernels)

  def _missing(self, operator: Any) -> int:
    """Returns how many inputs an operation lacks to run sparse."""
    code = self._model.operatorCodes[operator.opcodeIndex]
    if code.builtinCode != schema.BuiltinOperator.FULLY_CONNECTED:
      return 0
    data, weights = (self._graph.tensors[i] for i in operator.inputs[:2])
    if weights.type not in _BLOCKS or data.type != weights.type:
      return 0
    kernel = self._values(weights)
    if kernel is None:
      return 0
    return missing_inputs(kernel, _BLOCKS[weights.type][1])

  def _joins_axes(self, operator: Any, inputs: int) -> bool:
    """Returns whether an operation may read several axes as its inputs."""
    if operator.builtinOptions.keepNumDims:
      return False
    data = self._graph.tensors[operator.inputs[0]]
    shape = data.shape if data.shapeSignature is None else data.shapeSignature
    return shape[-1] != inputs  # Also where the size is not known.

  def _values(self, weights: Any) -> np.ndarray | None:
    """Returns a constant as an array; `None` for what is computed."""
    content = self._model.buffers[weights.buffer].data
    if content is None:
      return None
    raw = np.asarray(content, np.uint8)
    return raw.view(_BLOCKS[weights.type][0]).reshape(weights.shape)

  def _pad_kernel(self, index: int, missing: int) -> int:
    weights = self._graph.tensors[index]
    values = self._values(weights)
    assert values is not None
    padded = np.pad(values, [(0, 0), (0, missing)])
    return self._add_tensor(weights, padded.shape, padded)

  def _add_pad(self, index: int, missing: int) -> int:
    """Adds an operation that pads a tensor; returns its result."""
    data = self._graph.tensors[index]
    amounts = np.zeros((len(data.shape), 2), np.int32)
    amounts[-1, 1] = missing
    signature = (
      data.shape if data.shapeSignature is None else (data.shapeSignature)
    )
    last = signature[-1] + missing
    result = self._add_tensor(
      data, [*data.shape[:-1], last], signature=[*signature[:-1], last]
    )
    self._add_operator(
      schema.BuiltinOperator.PAD, [index, self._add_constant(amounts)], result
    )
    return result

  def _add_reshape(self, index: int, inputs: int) -> int:
    """Adds an operation that makes a tensor a matrix; returns its result."""
    data = self._graph.tensors[index]
    result = self._add_tensor(data, [1, inputs], signature=[-1, inputs])
    shape = self._add_constant(np.array([-1, inputs], np.int32))
    self._add_operator(schema.BuiltinOperator.RESHAPE, [index, shape], result)
    return result

  def _add_operator(self, code: int, inputs: list[int], output: int) -> None:
    operator = schema.OperatorT()
    operator.opcodeIndex = self._code_index(code)
    operator.inputs, operator.outputs = inputs, [output]
    if code == schema.BuiltinOperator.PAD:
      operator.builtinOptionsType = schema.BuiltinOptions.PadOptions
      operator.builtinOptions = schema.PadOptionsT()
    self._operators.append(operator)

  def _code_index(self, number: int) -> int:
    """Returns the index of the code of an operation; adds it if need be."""
    codes = self._model.operatorCodes
    for index, code in enumerate(codes):
      if code.builtinCode == number:
        return index
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = number
    codes.append(code)
    return len(codes) - 1

  def _add_constant(self, values: np.ndarray) -> int:
    like = schema.TensorT()
    like.name, like.type = b'constant', schema.TensorType.INT32
    return self._add_tensor(like, values.shape, values)

  def _add_tensor(
    self,
    like: Any,
    shape: Sequence[int],
    values: np.ndarray | None = None,
    signature: list[int] | None = None,
  ) -> int:
    """Adds a tensor of another's type; returns its index.

    Args:
      like: the other tensor.
      shape: of the tensor.
      values: of a constant.
      signature: the shape, with -1 where the size may vary.
    """
    buffer = schema.BufferT()
    if values is not None:
      buffer.data = np.frombuffer(values.tobytes(), np.uint8)
    self._model.buffers.append(buffer)
    tensor = copy.copy(like)
    tensor.name = like.name + b'/padded'
    tensor.shape, tensor.shapeSignature = list(shape), signature
    tensor.buffer = len(self._model.buffers) - 1
    self._graph.tensors.append(tensor)
    return len(self._graph.tensors) - 1

"""Verifies a TFLite file: runs it and compares it with the Keras model."""

import dataclasses
import functools
import importlib
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tf_unilth.export.model_inputs import Arrays, ModelInputs

SIGNATURE = 'serving_default'
# How TFLite's error of a file begins.
_NOT_OPENED = 'Could not open '

_WITH, _WITHOUT = 'the default delegates', 'no delegates'
_RESOLVERS = {
  _WITH: tf.lite.experimental.OpResolverType.AUTO,
  _WITHOUT: (
    tf.lite.experimental.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
  ),
}


@dataclasses.dataclass(frozen=True)
class Tolerance:
  """Limits for the difference between outputs.

  Args:
    difference: the maximum, as a fraction of the largest expected output.
    correlation: the minimum over all elements of an output, in [-1, 1].
  """

  difference: float
  correlation: float = 0.0


# Quantized outputs of deep networks have larger errors. The correlation tells
# inaccurate outputs from wrong ones.
TOLERANCES = {
  None: Tolerance(1e-5),
  'float16': Tolerance(0.01, 0.999),
  'dynamic': Tolerance(0.15, 0.97),
  'int8': Tolerance(0.15, 0.97),
}


class WrongOutputsError(Exception):
  """A file that does not run or computes different outputs."""


@dataclasses.dataclass(frozen=True)
class Port:
  """An input or output of a TFLite file; prints as one line.

  Args:
    name: its name in the signature.
    dtype: its type in the file, such as `int8`.
    scale: the quantization scale; a stored integer q means
      scale * (q - zero_point). 0 if not quantized.
    zero_point: the integer that means 0.
  """

  name: str
  dtype: str
  scale: float = 0.0
  zero_point: int = 0

  def __str__(self) -> str:
    if not self.scale:
      return f'{self.name} {self.dtype}'
    return (
      f'{self.name} {self.dtype} of scale {self.scale:.6g} and zero point '
      f'{self.zero_point}'
    )

  def quantized(self, array: np.ndarray) -> np.ndarray:
    """Returns numbers in the input's type, quantized if it is.

    Args:
      array: numbers of any shape.

    >>> Port('x', 'int8', 0.5, 3).quantized(np.array([1.0, 1000.0]))
    array([  5, 127], dtype=int8)
    """
    if not self.scale or array.dtype.kind != 'f':
      return array
    limits = np.iinfo(self.dtype)
    integers = np.round(array / self.scale) + self.zero_point
    return np.clip(integers, limits.min, limits.max).astype(self.dtype)

  def dequantized(self, array: np.ndarray) -> np.ndarray:
    """Returns a copy of an output as numbers.

    Args:
      array: in the output's type, of any shape.

    >>> Port('y', 'int8', 0.5, 3).dequantized(np.array([5], 'int8'))
    array([1.], dtype=float32)
    """
    if not self.scale:
      return np.array(array)  # `array` views the interpreter's memory.
    steps = array.astype(np.float32) - np.float32(self.zero_point)
    return steps * np.float32(self.scale)


class Runner:
  """Runs a TFLite file; quantizes inputs and dequantizes outputs.

  Args:
    path: a TFLite file with one signature.
    delegates: whether to use the default delegates (XNNPACK on most machines).
    interpreter: the class of the interpreter: LiteRT's, which always has its
      delegates, or `None` for TensorFlow's.

  Raises:
    OSError: the file cannot be opened.
    RuntimeError, ValueError: the interpreter cannot load it.
  """

  def __init__(
    self,
    path: str | os.PathLike[str],
    delegates: bool = True,
    interpreter: Any = None,
  ):
    options = {}
    if interpreter is None:
      interpreter = tf.lite.Interpreter
      resolver = _RESOLVERS[_WITH if delegates else _WITHOUT]
      options['experimental_op_resolver_type'] = resolver
    load = functools.partial(
      interpreter, model_path=os.fspath(path), **options
    )
    try:
      loaded = load()
    except ValueError as error:
      if not str(error).startswith(_NOT_OPENED):
        raise
      # Python says why, which TFLite does not; or the next try succeeds.
      open(path, 'rb').close()
      loaded = load()
    self._run = loaded.get_signature_runner()
    self.details = self._run.get_input_details()
    self.inputs = _ports(self.details)
    self.outputs = _ports(self._run.get_output_details())

  def __call__(self, arrays: Arrays) -> Arrays:
    """Returns the outputs by name.

    Args:
      arrays: the inputs by name, not quantized.
    """
    quantized = {
      name: self.inputs[name].quantized(array) if name in self.inputs else array
      for name, array in arrays.items()
    }
    return {
      name: self.outputs[name].dequantized(value)
      for name, value in self._run(**quantized).items()
    }


def litert_interpreter() -> Any:
  """Returns LiteRT's interpreter class, or `None` if it is not installed."""
  try:
    return importlib.import_module('ai_edge_litert.interpreter').Interpreter
  except ImportError:
    return None


def _ports(details: dict[str, Any]) -> dict[str, Port]:
  return {
    name: Port(
      name,
      np.dtype(tensor['dtype']).name,
      float(tensor['quantization'][0]),
      int(tensor['quantization'][1]),
    )
    for name, tensor in details.items()
  }


def outputs_of(
  path: str | os.PathLike[str], batches: Sequence[Arrays], delegates: bool
) -> list[Arrays]:
  """Returns the outputs of a file by name, for each batch.

  Args:
    path: a TFLite file with one signature.
    batches: the inputs by name, not quantized.
    delegates: whether to use the default delegates (XNNPACK on most machines).

  Raises:
    RuntimeError, ValueError: the interpreter cannot run the file.
  """
  run = Runner(path, delegates)
  return [run(batch) for batch in batches]


def expected_outputs(model: Any, batches: list[Arrays]) -> list[Arrays]:
  """Returns the outputs of a model by name, for each batch.

  Args:
    model: a built model of either Keras.
    batches: the inputs by name.

  Raises:
    ValueError: the model does not accept the inputs.
  """
  model_inputs = ModelInputs(model)
  try:
    return [model_inputs.compute(batch) for batch in batches]
  except (tf.errors.InvalidArgumentError, ValueError) as error:
    shapes = {name: array.shape for name, array in batches[0].items()}
    raise ValueError(
      f'the model does not accept the inputs of the comparison, {shapes}; pass '
      f'valid ones by inputs=...: {str(error).strip().splitlines()[0]}'
    ) from error


def verify(
  path: str | os.PathLike[str],
  batches: Sequence[Arrays],
  expected: Sequence[Arrays],
  tolerance: Tolerance,
) -> float:
  """Runs a file with and without delegates and compares its outputs.

  Args:
    path: a TFLite file with one signature.
    batches: the inputs by name, not quantized.
    expected: the outputs by name, for each batch.
    tolerance: how much the outputs may differ.

  Returns:
    The largest difference, as a fraction of the largest expected output.

  Raises:
    WrongOutputsError: the file does not run, or its outputs differ by more.
  """
  largest = 0.0
  for name in _RESOLVERS:
    try:
      found = outputs_of(path, batches, name == _WITH)
    except (RuntimeError, ValueError, TypeError) as error:
      reason = str(error).strip().splitlines() or ['']
      raise WrongOutputsError(
        f'the interpreter with {name} cannot run it: {reason[-1].rstrip(".")}'
      ) from error
    for output in expected[0]:
      a = np.concatenate([np.ravel(batch[output]) for batch in expected])
      b = np.concatenate([np.ravel(batch[output]) for batch in found])
      try:
        largest = max(largest, compare(a, b, tolerance))
      except WrongOutputsError as error:
        raise WrongOutputsError(f'with {name}, {output}: {error}') from error
  return largest


def compare(
  expected: np.ndarray, found: np.ndarray, tolerance: Tolerance
) -> float:
  """Returns the largest difference, as a fraction of the largest `expected`.

  Args:
    expected: the model's output.
    found: the file's output, of the same shape.
    tolerance: how much they may differ.

  Raises:
    WrongOutputsError: they differ by more.

  >>> compare(np.array([1.0, 2.0]), np.array([1.0, 2.02]), Tolerance(0.1))
  0.01
  """
  if expected.shape != found.shape:
    raise WrongOutputsError(
      f'it has {found.size} elements instead of {expected.size}'
    )
  a = np.ravel(expected).astype(np.float64)
  b = np.ravel(found).astype(np.float64)
  if not np.isfinite(a).all():
    raise WrongOutputsError('the Keras model itself computes NaN or infinity')
  if not np.isfinite(b).all():
    raise WrongOutputsError('it has NaN or infinite values')
  scale = float(np.max(np.abs(a), initial=0)) or 1.0
  difference = round(float(np.max(np.abs(a - b), initial=0)) / scale, 12)
  if difference > tolerance.difference:
    raise WrongOutputsError(
      f'it differs by {difference:.2g} of the largest output, more than '
      f'{tolerance.difference:g}'
    )
  # The correlation of a nearly constant output means nothing.
  if a.size > 2 and np.std(a) > tolerance.difference * scale / 2:
    correlation = float(np.corrcoef(a, b)[0, 1]) if np.std(b) else 0.0
    if correlation < tolerance.correlation:
      raise WrongOutputsError(
        f'its correlation is {correlation:.3f}, less than '
        f'{tolerance.correlation:g}'
      )
  return difference

"""Running a TFLite file, and comparing what it computes with a model."""

import dataclasses
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tf_unilth.export.model_inputs import Arrays

SIGNATURE = 'serving_default'

_WITH, _WITHOUT = 'the default delegates', 'no delegates'
_RESOLVERS = {
  _WITH: tf.lite.experimental.OpResolverType.AUTO,
  _WITHOUT: (
    tf.lite.experimental.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
  ),
}


@dataclasses.dataclass(frozen=True)
class Tolerance:
  """What outputs may differ by.

  Args:
    difference: the largest, as a fraction of the largest expected output.
    correlation: the smallest, in [-1, 1], of all elements of an output.
  """

  difference: float
  correlation: float = 0.0


class WrongOutputsError(Exception):
  """A file that does not run, or computes something else; says how."""


@dataclasses.dataclass(frozen=True)
class Port:
  """An input or an output of a TFLite file; prints as a line on it.

  Args:
    name: in the signature.
    dtype: of what the file takes or gives, as `int8`.
    scale: of a quantised one: its numbers are scale * (q - zero_point); 0 of
      one that is not quantised.
    zero_point: the q of 0.
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
    """Returns numbers as the file takes them.

    >>> Port('x', 'int8', 0.5, 3).quantized(np.array([1.0, 1000.0]))
    array([  5, 127], dtype=int8)
    """
    if not self.scale or array.dtype.kind != 'f':
      return array
    limits = np.iinfo(self.dtype)
    whole = np.round(array / self.scale) + self.zero_point
    return np.clip(whole, limits.min, limits.max).astype(self.dtype)

  def dequantized(self, array: np.ndarray) -> np.ndarray:
    """Returns what the file gives as numbers; a copy.

    >>> Port('y', 'int8', 0.5, 3).dequantized(np.array([5], 'int8'))
    array([1.], dtype=float32)
    """
    if not self.scale:
      return np.array(array)  # A view of the interpreter's memory.
    steps = array.astype(np.float32) - np.float32(self.zero_point)
    return steps * np.float32(self.scale)


class Runner:
  """A TFLite file that is run on numbers, whatever its inputs are stored in.

  Args:
    path: a TFLite file with one signature.
    delegates: whether with the default delegates (on most machines XNNPACK).

  Raises:
    RuntimeError, ValueError: the interpreter cannot load it.
  """

  def __init__(self, path: str | os.PathLike[str], delegates: bool = True):
    resolver = _RESOLVERS[_WITH if delegates else _WITHOUT]
    interpreter = tf.lite.Interpreter(
      model_path=os.fspath(path), experimental_op_resolver_type=resolver
    )
    self._run = interpreter.get_signature_runner()
    self.details = self._run.get_input_details()
    self.inputs = _ports(self.details)
    self.outputs = _ports(self._run.get_output_details())

  def __call__(self, arrays: Arrays) -> Arrays:
    """Returns the outputs by name; both are numbers, not quantised."""
    given = {
      name: self.inputs[name].quantized(array) if name in self.inputs else array
      for name, array in arrays.items()
    }
    return {
      name: self.outputs[name].dequantized(value)
      for name, value in self._run(**given).items()
    }


def _ports(details: dict[str, Any]) -> dict[str, Port]:
  return {
    name: Port(
      name,
      np.dtype(found['dtype']).name,
      float(found['quantization'][0]),
      int(found['quantization'][1]),
    )
    for name, found in details.items()
  }


def outputs_of(
  path: str | os.PathLike[str], batches: Sequence[Arrays], delegates: bool
) -> list[Arrays]:
  """Returns what the interpreter computes, batch by batch.

  Args:
    path: a TFLite file with one signature.
    batches: its inputs by name, as numbers also where the file's are quantised.
    delegates: whether with the default delegates (on most machines XNNPACK).

  Raises:
    RuntimeError, ValueError: the interpreter cannot run it.
  """
  run = Runner(path, delegates)
  return [run(batch) for batch in batches]


def verify(
  path: str | os.PathLike[str],
  batches: Sequence[Arrays],
  expected: Sequence[Arrays],
  tolerance: Tolerance,
) -> float:
  """Runs a file with and without delegates, and compares.

  Args:
    path: a TFLite file.
    batches: its inputs by name.
    expected: the outputs by name, for each batch.
    tolerance: what the outputs may differ by.

  Returns:
    The largest difference, as a fraction of the largest expected output.

  Raises:
    WrongOutputsError: it does not run, or the outputs differ by more.
  """
  largest = 0.0
  for name in _RESOLVERS:
    try:
      found = outputs_of(path, batches, name == _WITH)
    except (RuntimeError, ValueError, TypeError) as error:
      why = str(error).strip().splitlines() or ['']
      raise WrongOutputsError(
        f'the interpreter with {name} does not run it: {why[-1].rstrip(".")}'
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

  Raises:
    WrongOutputsError: it is more than is tolerated.

  >>> compare(np.array([1.0, 2.0]), np.array([1.0, 2.02]), Tolerance(0.1))
  0.01
  """
  if expected.shape != found.shape:
    raise WrongOutputsError(
      f'it has {found.size} elements, not {expected.size}'
    )
  a = np.ravel(expected).astype(np.float64)
  b = np.ravel(found).astype(np.float64)
  if not np.isfinite(a).all():
    raise WrongOutputsError('the Keras model itself computes NaN or infinity')
  if not np.isfinite(b).all():
    raise WrongOutputsError('it is NaN or infinite')
  scale = float(np.max(np.abs(a), initial=0)) or 1.0
  difference = round(float(np.max(np.abs(a - b), initial=0)) / scale, 12)
  if difference > tolerance.difference:
    raise WrongOutputsError(
      f'it differs by {difference:.2g} of the largest output, more than '
      f'{tolerance.difference:g}'
    )
  # What hardly varies correlates with nothing.
  if a.size > 2 and np.std(a) > tolerance.difference * scale / 2:
    correlation = float(np.corrcoef(a, b)[0, 1]) if np.std(b) else 0.0
    if correlation < tolerance.correlation:
      raise WrongOutputsError(
        f'its correlation is {correlation:.3f}, less than '
        f'{tolerance.correlation:g}'
      )
  return difference

"""Running a TFLite file, and comparing what it computes with a model."""

import dataclasses
import os
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from tf_unilth.model_inputs import Arrays

SIGNATURE = 'serving_default'

_RESOLVERS = {
  'the default delegates': tf.lite.experimental.OpResolverType.AUTO,
  'no delegates': (
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


def outputs_of(
  path: str | os.PathLike[str], batches: Sequence[Arrays], delegates: bool
) -> list[Arrays]:
  """Returns what the interpreter computes, batch by batch.

  Args:
    path: a TFLite file with the signature `serving_default`.
    batches: its inputs by name.
    delegates: whether with the default delegates (on most machines XNNPACK).

  Raises:
    RuntimeError, ValueError: the interpreter cannot run it.
  """
  resolver = _RESOLVERS[
    'the default delegates' if delegates else 'no delegates'
  ]
  interpreter = tf.lite.Interpreter(
    model_path=os.fspath(path), experimental_op_resolver_type=resolver
  )
  runner = interpreter.get_signature_runner(SIGNATURE)
  # Copied, since they are views of the interpreter's memory.
  return [
    {name: np.array(value) for name, value in runner(**batch).items()}
    for batch in batches
  ]


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
      found = outputs_of(path, batches, name == 'the default delegates')
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

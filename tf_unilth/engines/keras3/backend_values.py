"""Values of Keras variables as NumPy arrays and bytes, on any backend."""

from collections.abc import Sequence
from typing import Any

import keras
import ml_dtypes  # Teaches NumPy bfloat16; Keras needs it too.
import numpy as np

_DTYPES = {'bfloat16': np.dtype(ml_dtypes.bfloat16)}


def sync(model: keras.Model) -> None:
  """Writes the state of a running JAX training into the variables.

  During an epoch on JAX the variables are empty. After this call they have
  their values, and what is written to them is used by the next step.

  Args:
    model: the model that trains.
  """
  if keras.backend.backend() == 'jax':
    model.jax_state_sync()


def read(variable: Any) -> np.ndarray:
  """Returns a copy of a variable's value, in its dtype.

  Args:
    variable: a Keras variable.
  """
  # A copy, because torch trains in this memory, and JAX donates it to the step.
  value = np.array(keras.ops.convert_to_numpy(variable.value))
  return value.astype(numpy_dtype(variable), copy=False)


def numpy_dtype(variable: Any) -> np.dtype:
  """Returns the NumPy dtype of a variable, also of bfloat16."""
  return _DTYPES.get(variable.dtype) or np.dtype(variable.dtype)


def read_bytes(variables: Sequence[Any]) -> list[bytes]:
  """Returns the bytes of each variable.

  Args:
    variables: Keras variables.
  """
  return [read(variable).tobytes() for variable in variables]


def arrays(
  variables: Sequence[Any], values: Sequence[bytes]
) -> list[np.ndarray]:
  """Returns values as read-only arrays in the memory of their bytes.

  Args:
    variables: the variables that they were read from, which give the shapes.
    values: at least as many; the first ones are returned.
  """
  return [
    np.frombuffer(value, numpy_dtype(variable)).reshape(variable.shape)
    for variable, value in zip(variables, values, strict=False)
  ]


def write_bytes(variables: Sequence[Any], values: Sequence[bytes]) -> None:
  """Assigns what `read_bytes` returned.

  Args:
    variables: the variables that it read.
    values: their bytes.

  Raises:
    ValueError: there are not as many values as variables.
  """
  if len(variables) != len(values):
    raise ValueError(
      f'values must be those of the {len(variables)} variables, but are '
      f'{len(values)}.'
    )
  for variable, array in zip(variables, arrays(variables, values), strict=True):
    variable.assign(np.array(array))


def is_finite(variable: Any) -> bool:
  """Returns whether no element of a variable is NaN or infinite."""
  if 'float' not in variable.dtype:
    return True
  finite = keras.ops.all(keras.ops.isfinite(variable.value))
  return bool(keras.ops.convert_to_numpy(finite))

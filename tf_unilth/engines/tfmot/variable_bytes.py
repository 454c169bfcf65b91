"""The values of variables as bytes, exact in any dtype, for snapshots."""

from collections.abc import Sequence
from typing import Any

import numpy as np


def read(variables: Sequence[Any]) -> list[bytes]:
  """Returns the bytes of each variable.

  Args:
    variables: the variables.
  """
  return [variable.numpy().tobytes() for variable in variables]


def arrays(
  variables: Sequence[Any], values: Sequence[bytes]
) -> list[np.ndarray]:
  """Returns values as read-only arrays in the memory of their bytes.

  Args:
    variables: the variables that they were read from, which give the shapes.
    values: at least as many; the first ones are returned.
  """
  return [
    np.frombuffer(value, variable.dtype.as_numpy_dtype).reshape(variable.shape)
    for variable, value in zip(variables, values, strict=False)
  ]


def write(variables: Sequence[Any], values: Sequence[bytes]) -> None:
  """Assigns what `read` returned.

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
    variable.assign(array)

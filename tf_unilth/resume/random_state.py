"""The random states of Python, NumPy and eager TensorFlow."""

import random
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np


def get_host_state() -> dict[str, Any]:
  """Returns the random states of Python, NumPy and eager TensorFlow.

  Returns:
    `python`, `numpy` and `tensorflow`; the last is `None` if TensorFlow is not
    imported or no seed was set.
  """
  eager = eager_random()
  return {
    'python': _to_array_state(random.getstate()),
    'numpy': np.random.get_state(legacy=True),
    'tensorflow': None if eager is None else _to_array_state(eager.getstate()),
  }


def set_host_state(state: Mapping[str, Any]) -> None:
  """Restores the random states of Python, NumPy and eager TensorFlow.

  Args:
    state: what `get_host_state` returned.
  """
  random.setstate(_from_array_state(state['python']))
  np.random.set_state(state['numpy'])
  eager = eager_random()
  if eager is not None and state['tensorflow'] is not None:
    eager.setstate(_from_array_state(state['tensorflow']))


def _to_array_state(state: Any) -> Any:
  version, numbers, gauss = state
  return version, np.array(numbers, np.uint32), gauss


def _from_array_state(state: Any) -> Any:
  version, numbers, gauss = state
  return version, tuple(numbers.tolist()), gauss


def eager_random() -> random.Random | None:
  """Returns the generator of TensorFlow's seeds for eager operations.

  Returns:
    The generator, `None` if TensorFlow is not imported or no seed was set.
  """
  eager = sys.modules.get('tensorflow.python.eager.context')
  return None if eager is None else getattr(eager.context(), '_rng', None)

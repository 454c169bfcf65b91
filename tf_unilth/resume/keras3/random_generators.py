"""Random states outside of the variables of a Keras 3 model."""

import sys
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from keras.src.backend.common import global_state
from keras.src.random import seed_generator

from tf_unilth.engines.keras3 import backend_values
from tf_unilth.resume import random_state


def seed() -> int | None:
  """Returns the seed of `set_random_seed`, `None` if it was not called."""
  found = global_state.get_global_attribute('global_random_seed')
  return None if found is None else int(found)


def get_state() -> dict[str, Any]:
  """Returns the random states of Python, NumPy, Keras and the backend.

  Returns:
    `python`, `numpy` and `tensorflow` as `random_state.get_host_state`; `keras`
    of the generator for operations without a seed, `None` if none was used; and
    `torch`, the states of torch's generators for each device.
  """
  generator = _global_generator()
  return {
    **random_state.get_host_state(),
    'keras': None
    if generator is None
    else backend_values.read(generator.state),
    'torch': _torch_states(),
  }


def set_state(state: Mapping[str, Any]) -> None:
  """Restores what `get_state` returned."""
  if state['keras'] is not None:
    seed_generator.global_seed_generator().state.assign(state['keras'])
  for number, saved in enumerate(state['torch']):
    torch = sys.modules['torch']
    value = torch.from_numpy(np.array(saved))
    if number:
      torch.cuda.set_rng_state(value, number - 1)
    else:
      torch.set_rng_state(value)
  # At last, since creating a generator draws from Python's.
  random_state.set_host_state(state)


def _global_generator() -> Any:
  name = seed_generator.GLOBAL_SEED_GENERATOR
  return global_state.get_global_attribute(name)


def _torch_states() -> list[np.ndarray]:
  """Returns the states of torch's generators: of the CPU, and of each GPU."""
  if keras.backend.backend() != 'torch':
    return []
  torch = sys.modules['torch']
  states = [torch.get_rng_state()]
  if torch.cuda.is_available():
    states += torch.cuda.get_rng_state_all()
  return [state.cpu().numpy().copy() for state in states]

"""Whether a `fit` continues an earlier run, and with which step counts."""

import zlib

from tf_unilth.run.run_numbers import RunNumbers


def fingerprint(algorithm: str) -> int:
  """Returns an algorithm's name as an integer below 2^32, for a variable."""
  return zlib.crc32(algorithm.encode())


def describe(state: RunNumbers) -> str:
  """Returns a description of a run for messages: algorithm and epochs."""
  names = {fingerprint(n): n for n in ('LTH', 'DLTH', 'UniLTH', 'UniDLTH')}
  name = names.get(state.get('algorithm'), 'another callback')
  done, epochs = state.get('next_epoch'), state.get('epochs')
  return f'{name} to epoch {epochs}, of which {done} are done'


def goes_on(
  state: RunNumbers,
  algorithm: str,
  epoch: int,
  epochs: int,
  zeros: int,
  restored: bool,
) -> bool:
  """Returns whether a `fit` continues the run of a state.

  Args:
    state: the run state in the model's pruning schedule.
    algorithm: the name of the algorithm of the `fit`.
    epoch: the first epoch of the `fit`, counted from 0.
    epochs: the last epoch of the `fit`, counted from 1.
    zeros: the number of weights that the model's masks prune. A copy of a model
      has the state of the original, but masks that prune nothing.
    restored: whether this process loaded the state from a file.
  """
  same = (
    state.get('algorithm') == fingerprint(algorithm)
    and state.get('next_epoch') == epoch
    and state.get('epochs') == epochs
    and state.get('zeros') == zeros
  )
  # A run that stopped in its first epoch starts again, unless this process has
  # restored a checkpoint of it.
  return same and (epoch > state.get('first_epoch') or restored)


def match_iterations(state: RunNumbers, iterations: int) -> bool:
  """Shifts the steps in a state if the optimizer's iterations were lost.

  Args:
    state: the state of the run that continues.
    iterations: the optimizer's iterations in this process.

  Returns:
    Whether the optimizer's state was restored. A Keras SavedModel has none.
  """
  missing = iterations - state.get('iterations')
  if missing >= 0:
    return True
  state.set(
    ramp_begin=state.get('ramp_begin') + missing,
    decay_begin=state.get('decay_begin') + missing,
  )
  return False

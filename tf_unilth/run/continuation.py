"""Whether a `fit` goes on with an earlier run, and what it then lacks."""

import zlib

from tf_unilth.run.run_numbers import RunNumbers


def fingerprint(algorithm: str) -> int:
  """Returns a number for an algorithm's name, which a variable can hold."""
  return zlib.crc32(algorithm.encode())


def describe(state: RunNumbers) -> str:
  """Returns what a state tells of its run, in words."""
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
  """Returns whether a `fit` continues the run that a state tells of.

  Args:
    state: of the model's schedule.
    algorithm: which one the `fit` runs.
    epoch: its first epoch, counted from 0.
    epochs: its last epoch, counted from 1.
    zeros: how many weights the model's masks remove. A copy of a model has
      its state, but open masks.
    restored: whether this process loaded the state, rather than made it.
  """
  same = (
    state.get('algorithm') == fingerprint(algorithm)
    and state.get('next_epoch') == epoch
    and state.get('epochs') == epochs
    and state.get('zeros') == zeros
  )
  # A run that died in its first epoch begins anew, unless what it did is in
  # a checkpoint that this process has restored.
  return same and (epoch > state.get('first_epoch') or restored)


def match_iterations(state: RunNumbers, iterations: int) -> bool:
  """Moves what counts an optimizer's iterations to those that there are.

  Args:
    state: of a run that goes on.
    iterations: of the optimizer, in this process.

  Returns:
    Whether its own state was there; a SavedModel of Keras's has none.
  """
  missing = iterations - state.get('iterations')
  if missing >= 0:
    return True
  state.set(
    ramp_begin=state.get('ramp_begin') + missing,
    decay_begin=state.get('decay_begin') + missing,
  )
  return False

"""Whether a `fit` continues an earlier run, and with which step counts."""

from tf_unilth.run.run_state import RunState


def describe(state: RunState) -> str:
  """Returns a description of a run for messages: algorithm and epochs."""
  done, epochs = state.next_epoch, state.epochs
  return f'{state.algorithm} to epoch {epochs}, of which {done} are done'


def goes_on(
  state: RunState,
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
    state.algorithm == algorithm
    and state.next_epoch == epoch
    and state.epochs == epochs
    and state.zeros == zeros
  )
  # A run that stopped in its first epoch starts again, unless this process has
  # restored a checkpoint of it.
  return same and (epoch > state.first_epoch or restored)


def match_iterations(state: RunState, iterations: int) -> bool:
  """Shifts the steps in a state if the optimizer's iterations were lost.

  Args:
    state: the state of the run that continues.
    iterations: the optimizer's iterations in this process.

  Returns:
    Whether the optimizer's state was restored. A Keras SavedModel has none.
  """
  missing = iterations - state.iterations
  if missing >= 0:
    return True
  state.shift_iterations(missing)
  return False

"""Refuses a `fit` that cannot be resumed, and checkpoints of another run."""

from collections.abc import Mapping, Sequence
from typing import Any

from tf_unilth.algorithms import keras_callback
from tf_unilth.algorithms.ticket_callback import TicketCallback
from tf_unilth.engines import which_keras
from tf_unilth.files.checkpoint_errors import CheckpointError
from tf_unilth.resume import (
  callback_counters,
  run_description,
  training_access,
)
from tf_unilth.resume.checkpoint_file import Checkpoint
from tf_unilth.resume.training_access import FitData
from tf_unilth.resume.training_state import TrainingState
from tf_unilth.user_warning import warn_user

_MAX_DIFFERENCES = 8  # Named in one message.


def check_fit(callback: Any, callbacks: Sequence[Any]) -> None:
  """Checks that a `fit` can be saved and resumed.

  Args:
    callback: the CheckpointAndResume callback.
    callbacks: all callbacks of the `fit`, in order.

  Raises:
    ValueError: the model is not built or not compiled, or another callback
      conflicts.
  """
  keras_callback.epochs_and_steps(getattr(callback, 'params', None))
  training_access.access(callback.model).check_compiled()
  if not callback.model.built:
    raise ValueError(
      'model must be built before fit, but is not: give it an input shape, or '
      'call model.build(input_shape).'
    )
  own_index = callbacks.index(callback)
  for index, other in enumerate(callbacks):
    name = type(other).__name__
    resumes = isinstance(other, type(callback)) or which_keras.has_base(
      other, 'BackupAndRestore'
    )
    if resumes and index != own_index:
      raise ValueError(
        f'callbacks must contain only one that resumes, but contain {name} '
        'beside CheckpointAndResume.'
      )
    if isinstance(other, TicketCallback) and index > own_index:
      raise ValueError(
        f'callbacks must list {name} before CheckpointAndResume, but list it '
        'after.'
      )


def check_same(
  where: str,
  newest: Checkpoint,
  run: Mapping[str, Any],
  state: TrainingState,
  data: FitData | None,
) -> None:
  """Checks that a checkpoint is of this run, before anything is changed.

  Args:
    where: the directory.
    newest: its newest checkpoint.
    run: the result of `run_description.describe` for the `fit`.
    state: the state of the `fit`.
    data: those of the `fit`, `None` outside of `fit`.

  Raises:
    CheckpointError: the checkpoint is of another run or of a newer version.
    ValueError: the `initial_epoch` of the `fit` does not fit.
  """
  _check_version(where, newest.run.get('version'))
  _check_values(where, newest.values)
  if data is not None:
    _check_initial_epoch(data, newest.first_epoch, newest.epoch)
  saved = [name for name, _ in newest.values['callbacks']]
  now = callback_counters.class_names(state.callbacks)
  of_callbacks = _callback_differences(saved, now)
  of_run = run_description.between(newest.run, run)
  if of_callbacks:  # Their settings cannot be compared then.
    of_run = [one for one in of_run if not one.startswith('callbacks.')]
  different = [*of_callbacks, *of_run]
  what = 'run'
  if all(one.startswith('model.') for one in different):
    of_variables = _variable_differences(newest, state)
    what = 'model' if of_variables else 'run'
    different += of_variables
  if different:
    more = len(different) - _MAX_DIFFERENCES
    rest = f'; and {more} more' if more > 0 else ''
    raise CheckpointError(
      f'directory {where!r} contains checkpoints of another {what}: '
      f'{"; ".join(different[:_MAX_DIFFERENCES])}{rest}. Change that back, or '
      'choose another directory.'
    )


def check_complete(
  where: str, newest: Checkpoint, state: TrainingState
) -> None:
  """Checks that the model has all variables of a checkpoint.

  Args:
    where: the directory.
    newest: its newest checkpoint.
    state: the state of the `fit`, whose train function was traced.

  Raises:
    CheckpointError: a variable is missing.
  """
  missing = sorted(newest.variables.keys() - state.variables().keys())
  if missing:
    raise CheckpointError(
      f'directory {where!r} contains checkpoints of another model: its train '
      f'step does not create {", ".join(missing[:_MAX_DIFFERENCES])}.'
    )


def _check_version(where: str, version: Any) -> None:
  if version != run_description.VERSION:
    raise CheckpointError(
      f'directory {where!r} contains checkpoints of version {version}, but '
      f'this tf_unilth reads version {run_description.VERSION}: install the '
      'version that wrote them, or choose another directory.'
    )


def _check_values(where: str, values: Mapping[str, Any]) -> None:
  """Raises a `CheckpointError` unless the values are those of a run."""
  callbacks = values.get('callbacks')
  fits = isinstance(callbacks, list) and all(
    isinstance(pair, list | tuple)
    and [type(part) for part in pair] == [str, dict]
    for pair in callbacks
  )
  fits = fits and all(
    isinstance(values.get(name), dict) for name in ('states', 'metrics')
  )
  if not fits or not values.keys() >= {'history', 'epochs', 'random'}:
    raise CheckpointError(
      f'directory {where!r} contains a checkpoint with values that no run has '
      'saved: remove it, or choose another directory.'
    )


def _check_initial_epoch(data: FitData, first_epoch: int, epoch: int) -> None:
  """Raises a `ValueError` if the `fit` cannot resume after an epoch.

  Its `initial_epoch` must be that of the run, or the epoch, unless its shuffled
  arrays would then come in another order.
  """
  initial = data.initial_epoch
  if initial not in (first_epoch, epoch):
    raise ValueError(
      f'initial_epoch must be {first_epoch}, as when the run began, or '
      f'{epoch}, for data that begin at that epoch, but is {initial}.'
    )
  if initial != first_epoch and data.shuffles_arrays():
    raise ValueError(
      f'initial_epoch must be {first_epoch}, as when the run began, but is '
      f'{initial}: shuffled arrays would come in another order. The callback '
      f'itself resumes at epoch {epoch}.'
    )


def _callback_differences(before: list[str], now: list[str]) -> list[str]:
  if before == now:
    return []
  words = (', '.join(names) or 'none' for names in (before, now))
  return ['callbacks with counters were {} and are now {}'.format(*words)]


def _variable_differences(
  newest: Checkpoint, state: TrainingState
) -> list[str]:
  """Describes the differences between the variables of two models."""
  current = {
    name: _spec(v.dtype, v.shape) for name, v in state.variables().items()
  }
  untraced = state.access.made_by_training
  saved = {
    name: _spec(array.dtype, array.shape)
    for name, array in newest.variables.items()
    if name in current or not name.startswith(untraced)
  }
  return [*run_description.differences(saved, current)]


def _spec(dtype: Any, shape: Any) -> str:
  return f'{getattr(dtype, "name", dtype)} {[*shape]}'


def warn_of_seed(run: Mapping[str, Any]) -> None:
  """Warns if no seed is set, so that each run draws other random numbers.

  Args:
    run: the description of the run.
  """
  if run['seed'] is None:
    warn_user(
      'no seed is set, so a resumed run would not end as an uninterrupted one: '
      'call keras.utils.set_random_seed before building the model.',
    )

"""Refuses a `fit` that cannot be resumed, and checkpoints of another run."""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from tf_unilth.algorithms import keras_callback
from tf_unilth.algorithms.ticket_callback import TicketCallback
from tf_unilth.engines.tfmot import model_checks
from tf_unilth.engines.tfmot.keras_access import keras
from tf_unilth.files.checkpoint_errors import CheckpointError
from tf_unilth.resume import (
  callback_counters,
  data_replay,
  random_state,
  run_description,
)
from tf_unilth.resume.checkpoint_file import Checkpoint
from tf_unilth.resume.training_state import TrainingState

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
  model_checks.check_compiled(callback.model)
  if not callback.model.built:
    raise ValueError(
      'model must be built before fit, but is not: give it an input shape, or '
      'call model.build(input_shape).'
    )
  own_index = callbacks.index(callback)
  conflicting = (keras.callbacks.BackupAndRestore, type(callback))
  for index, other in enumerate(callbacks):
    name = type(other).__name__
    if isinstance(other, conflicting) and index != own_index:
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
  handler: Any,
) -> None:
  """Checks that a checkpoint is of this run, before anything is changed.

  Args:
    where: the directory.
    newest: its newest checkpoint.
    run: the result of `run_description.describe` for the `fit`.
    state: the state of the `fit`.
    handler: Keras's data handler of the `fit`, `None` outside of `fit`.

  Raises:
    CheckpointError: the checkpoint is of another run or of a newer version.
    ValueError: the `initial_epoch` of the `fit` does not fit.
  """
  _check_version(where, newest.run['version'])
  if handler is not None:
    data_replay.check(handler, newest.first_epoch, newest.epoch)
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
    name: f'{v.dtype.name} {v.shape.as_list()}'
    for name, v in state.variables().items()
  }
  untraced = state.made_by_training
  saved = {
    name: f'{array.dtype.name} {[*array.shape]}'
    for name, array in newest.variables.items()
    if name in current or not name.startswith(untraced)
  }
  return [*run_description.differences(saved, current)]


def warn_of_seed(run: Mapping[str, Any]) -> None:
  """Warns if no seed is set, so that each run draws other random numbers.

  Args:
    run: the description of the run.
  """
  if run['seed'] is None:
    warnings.warn(
      'no seed is set, so a resumed run would not end as an uninterrupted one: '
      'call keras.utils.set_random_seed before building the model.',
      stacklevel=2,
    )


def warn_of_operations(model: keras.Model) -> None:
  """Warns of random operations whose state cannot be restored.

  Args:
    model: a model whose train function was called.
  """
  names = random_state.unrestorable_operations(model)
  if names:
    warnings.warn(
      f'operations {", ".join(names[:5])} draw random numbers from a state '
      'that TensorFlow cannot save, so a resumed run would not end as an '
      'uninterrupted one: use a tf.random.Generator or layers of Keras.',
      stacklevel=2,
    )

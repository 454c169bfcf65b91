"""What CheckpointAndResume refuses: a fit that it cannot save or go on with."""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from tf_unilth.algorithms import fit_checks
from tf_unilth.algorithms.ticket_callback import TicketCallback
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

_MOST_WORDS = 8  # Differences that one message names.


def check_fit(callback: Any, callbacks: Sequence[Any]) -> None:
  """Raises if a `fit` cannot be saved.

  Args:
    callback: the one that saves.
    callbacks: all callbacks of the `fit`, in order.
  """
  fit_checks.check_loop(getattr(callback, 'params', None))
  fit_checks.check_compiled(callback.model)
  if not callback.model.built:
    raise ValueError(
      'model must be built before fit, but is not: give it an input shape, or '
      'call model.build(input_shape).'
    )
  mine = callbacks.index(callback)
  others = (keras.callbacks.BackupAndRestore, type(callback))
  for index, other in enumerate(callbacks):
    name = type(other).__name__
    if isinstance(other, others) and index != mine:
      raise ValueError(
        f'callbacks must hold one that resumes, but hold {name} beside '
        'CheckpointAndResume.'
      )
    if isinstance(other, TicketCallback) and index > mine:
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
  """Raises if a checkpoint is of another run, before anything is changed.

  Args:
    where: the directory.
    newest: its newest checkpoint.
    run: what `drift.describe` says of the `fit`.
    state: of the `fit`.
    handler: Keras's data handler of the `fit`, if there is one.
  """
  _check_version(where, newest.run.get('version', 1))
  if handler is not None:
    data_replay.check(handler, newest.first_epoch, newest.epoch)
  kinds = [kind for kind, _ in newest.values['callbacks']]
  of_callbacks = _of_callbacks(kinds, callback_counters.kinds(state.callbacks))
  of_run = run_description.between(newest.run, run)
  if of_callbacks:  # What other callbacks were made with says no more.
    of_run = [one for one in of_run if not one.startswith('callbacks.')]
  different = [*of_callbacks, *of_run]
  what = 'run'
  if all(one.startswith('model.') for one in different):
    of_variables = _of_variables(newest, state)
    what = 'model' if of_variables else 'run'
    different += of_variables
  if different:
    more = len(different) - _MOST_WORDS
    rest = f'; and {more} more' if more > 0 else ''
    raise CheckpointError(
      f'directory {where!r} holds the checkpoints of another {what}: '
      f'{"; ".join(different[:_MOST_WORDS])}{rest}. Change that back, or '
      'choose another directory.'
    )


def check_complete(
  where: str, newest: Checkpoint, state: TrainingState
) -> None:
  """Raises if a variable of a checkpoint is not in the model.

  Args:
    where: the directory.
    newest: its newest checkpoint.
    state: of the `fit`, whose train function was traced.
  """
  missing = sorted(newest.variables.keys() - state.variables().keys())
  if missing:
    raise CheckpointError(
      f'directory {where!r} holds the checkpoints of another model: its train '
      f'step makes no {", ".join(missing[:_MOST_WORDS])}.'
    )


def _check_version(where: str, version: Any) -> None:
  if version not in range(1, run_description.VERSION + 1):
    raise CheckpointError(
      f'directory {where!r} holds checkpoints of version {version}, but this '
      f'version of tf_unilth reads those up to {run_description.VERSION}: '
      'install the one that wrote them, or choose another directory.'
    )


def _of_callbacks(before: list[str], now: list[str]) -> list[str]:
  if before == now:
    return []
  words = (', '.join(kinds) or 'none' for kinds in (before, now))
  return ['callbacks with counters were {} and are now {}'.format(*words)]


def _of_variables(newest: Checkpoint, state: TrainingState) -> list[str]:
  """Returns in words what differs between the variables of two models."""
  mine = {
    name: f'{v.dtype.name} {v.shape.as_list()}'
    for name, v in state.variables().items()
  }
  late = state.made_by_training
  saved = {
    name: f'{array.dtype.name} {[*array.shape]}'
    for name, array in newest.variables.items()
    if name in mine or not name.startswith(late)
  }
  return [*run_description.differences(saved, mine)]


def warn_of_seed(run: Mapping[str, Any]) -> None:
  """Warns of a run that draws other numbers each time."""
  if run['seed'] is None:
    warnings.warn(
      'no seed is set, so that this run, resumed, would not end as if left '
      'alone: call keras.utils.set_random_seed before building the model.',
      stacklevel=2,
    )


def warn_of_operations(model: keras.Model) -> None:
  """Warns of what draws random numbers that cannot be drawn again."""
  names = random_state.unrestorable_operations(model)
  if names:
    warnings.warn(
      f'operations {", ".join(names[:5])} draw random numbers from a state '
      'that TensorFlow does not give: resumed, the run would not end as if '
      'left alone. Draw them from a tf.random.Generator, or in layers of '
      "Keras's.",
      stacklevel=2,
    )

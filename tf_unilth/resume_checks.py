"""What CheckpointAndResume refuses: a fit that it cannot save or go on with."""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from tf_unilth import data_position, drift, fit_checks, random_state
from tf_unilth.callbacks import TicketCallback
from tf_unilth.checkpoint_file import Checkpoint, CheckpointError
from tf_unilth.compat import keras


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
  variables: Mapping[str, Any],
  handler: Any,
) -> None:
  """Raises if a checkpoint is of another run, before anything is changed.

  Args:
    where: the directory.
    newest: its newest checkpoint.
    run: what `drift.describe` says of the `fit`.
    variables: those of the model, by name.
    handler: Keras's data handler of the `fit`, if there is one.
  """
  if handler is not None:
    data_position.check(handler, newest.first_epoch, newest.epoch)
  different = [*drift.differences(newest.run, run)]
  if different:
    raise CheckpointError(
      f'directory {where!r} holds the checkpoints of another run: '
      f'{"; ".join(different)}. Change that back, or choose another directory.'
    )
  mine = {
    name: f'{v.dtype.name} {v.shape.as_list()}' for name, v in variables.items()
  }
  saved = {
    name: f'{array.dtype.name} {[*array.shape]}'
    for name, array in newest.variables.items()
  }
  different = [*drift.differences(saved, mine)]
  if different:
    raise CheckpointError(
      f'directory {where!r} holds the checkpoints of another model: '
      f'{"; ".join(different[:5])}.'
    )


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

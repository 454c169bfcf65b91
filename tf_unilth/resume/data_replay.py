"""Moves the data of a `fit` to the position where a run stopped."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import tensorflow as tf

from tf_unilth.engines.fit_context import FitContext
from tf_unilth.engines.patches import Patches
from tf_unilth.engines.tfmot import data_handler


def initial_epoch(handler: Any) -> int:
  """Returns the `initial_epoch` of a `fit`; 0 outside of `fit`.

  Args:
    handler: Keras's data handler of the `fit`, or `None`.
  """
  return handler._initial_epoch if handler is not None else 0


def steps_of_epoch(handler: Any) -> int | None:
  """Returns the number of steps of an epoch, `None` while it is unknown.

  Args:
    handler: Keras's data handler of the `fit`.
  """
  return handler._inferred_steps


def check(handler: Any, first_epoch: int, epoch: int) -> None:
  """Checks that a `fit` can resume after an epoch.

  Args:
    handler: Keras's data handler of the `fit`.
    first_epoch: the `initial_epoch` that the run began with.
    epoch: the number of completed epochs.

  Raises:
    ValueError: the `initial_epoch` of the `fit` is neither of the two, or its
      shuffled arrays would come in another order.
  """
  initial = initial_epoch(handler)
  if initial not in (first_epoch, epoch):
    raise ValueError(
      f'initial_epoch must be {first_epoch}, as when the run began, or '
      f'{epoch}, for data that begin at that epoch, but is {initial}.'
    )
  if initial != first_epoch and data_handler.shuffles_arrays(handler):
    raise ValueError(
      f'initial_epoch must be {first_epoch}, as when the run began, but is '
      f'{initial}: shuffled arrays would come in another order. The callback '
      f'itself resumes at epoch {epoch}.'
    )


def resume(
  handler: Any,
  epoch: int,
  step: int,
  finished: bool,
  before_epoch: Callable[[Any], None],
  at_end: Callable[[], None],
  patches: Patches,
) -> None:
  """Makes a `fit` resume where another one stopped.

  The data are read from their start exactly as Keras reads them, so that all
  state that reading changes (seeds of shuffling, generators, Python iterators)
  changes as it did in the earlier `fit`.

  Args:
    handler: Keras's data handler of the `fit`.
    epoch: the number of completed epochs.
    step: the number of completed steps of the next epoch.
    finished: whether the run has no epochs left.
    before_epoch: called with the iterator when it is in position.
    at_end: called instead, if no epoch is left.
    patches: those of the `fit`.
  """
  enumerate_epochs = handler.enumerate_epochs

  def remaining_epochs() -> Iterator[tuple[int, Any]]:
    if finished:
      at_end()
      return
    for number, iterator in enumerate_epochs():
      if number < epoch:
        _skip(handler, iterator, None)
        continue
      if number == epoch:
        if step:
          _skip(handler, iterator, step)
          handler._initial_step = step
        before_epoch(iterator)
      yield number, iterator

  patches.set('data handler', handler, 'enumerate_epochs', remaining_epochs)


def replay_validation(model: Any, fit: FitContext, epochs: range) -> None:
  """Advances the seeds of shuffled validation data as past epochs have done.

  Args:
    model: the model of the `fit`.
    fit: the running `fit`.
    epochs: the completed epochs.
  """
  data = fit.validation_inputs
  if not isinstance(data, tf.data.Dataset):
    return
  for epoch in epochs:
    if model._should_eval(epoch, fit.validation_freq):
      for _ in range(2):  # Keras creates two iterators per evaluation.
        iter(data)


def _skip(handler: Any, iterator: Any, steps: int | None) -> None:
  """Reads `steps` batches; `None`: those of a whole epoch."""
  steps = steps or handler._inferred_steps
  if steps is not None:
    for _ in range(steps):
      next(iterator)
    return
  read = 0
  with contextlib.suppress(StopIteration, tf.errors.OutOfRangeError):
    while True:
      next(iterator)
      read += 1
  handler._inferred_steps = read  # As Keras does after the first epoch.

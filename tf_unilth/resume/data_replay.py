"""The position in the data of a `fit`: brought to where a run stopped."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import tensorflow as tf

from tf_unilth.engines.tfmot import data_handler


def initial_epoch(handler: Any) -> int:
  """Returns what a `fit` was given as `initial_epoch`; 0 outside of one."""
  return handler._initial_epoch if handler is not None else 0


def steps_of_epoch(handler: Any) -> int | None:
  """Returns how many steps an epoch of a `fit` has, once that is known."""
  return handler._inferred_steps


def check(handler: Any, first_epoch: int, epoch: int) -> None:
  """Raises if a `fit` cannot go on at an epoch.

  Args:
    handler: Keras's data handler of the `fit`.
    first_epoch: the `initial_epoch` that the run began with.
    epoch: how many epochs are completed.

  Raises:
    ValueError: its `initial_epoch` is another one, or its shuffled arrays
      would be in another order.
  """
  initial = initial_epoch(handler)
  if initial not in (first_epoch, epoch):
    raise ValueError(
      f'initial_epoch must be {first_epoch}, as when the run began, or '
      f'{epoch}, for data that begin there, but is {initial}.'
    )
  if initial != first_epoch and data_handler.shuffles_arrays(handler):
    raise ValueError(
      f'initial_epoch must be {first_epoch}, as when the run began, but is '
      f'{initial}: shuffled arrays would be in another order. The callback '
      f'goes on at epoch {epoch} by itself.'
    )


def resume(
  handler: Any,
  epoch: int,
  step: int,
  finished: bool,
  before_epoch: Callable[[Any], None],
  at_end: Callable[[], None],
) -> None:
  """Lets a `fit` go on where another one stopped.

  Its data are read from where they begin, in the very way in which Keras does
  it, so that whatever moves while they are read (the seeds of shuffling,
  generators, Python's own iterators) moves as it did.

  Args:
    handler: Keras's data handler of the `fit`.
    epoch: how many epochs are completed.
    step: how many steps of the next one are done.
    finished: whether no epoch is to follow.
    before_epoch: called with the iterator when it is in place.
    at_end: called in place of an epoch, if none is to follow.
  """
  enumerate_epochs = handler.enumerate_epochs

  def go_on() -> Iterator[tuple[int, Any]]:
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

  handler.enumerate_epochs = go_on


def replay_validation(model: Any, fit: dict[str, Any], epochs: range) -> None:
  """Moves the seeds of shuffled validation data as past epochs have moved them.

  Args:
    model: of the `fit`.
    fit: `compat.fit_arguments()`.
    epochs: those that are completed.
  """
  data = fit.get('validation_inputs')
  if not isinstance(data, tf.data.Dataset):
    return
  for epoch in epochs:
    if model._should_eval(epoch, fit['validation_freq']):
      for _ in range(2):  # As many as Keras makes.
        iter(data)


def _skip(handler: Any, iterator: Any, steps: int | None) -> None:
  """Reads so many batches; `None`: those of a whole epoch."""
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
  handler._inferred_steps = read  # As Keras learns it.

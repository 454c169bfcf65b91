"""Reads the arguments of the running `fit` from the call stack."""

import inspect
import sys
import types
from collections.abc import Iterator, Sequence
from typing import Any

import tensorflow as tf
import tf_keras as keras

from tf_unilth.engines.fit_context import FitContext


def _callers(
  *names: str, frame: types.FrameType | None = None
) -> Iterator[dict[str, Any]]:
  """Yields the local variables of functions on the stack, innermost first.

  Args:
    *names: the names of the functions.
    frame: the innermost frame of a thread; `None` for this thread.
  """
  current = inspect.currentframe() if frame is None else frame
  while current is not None:
    if current.f_code.co_name in names:
      yield current.f_locals
    current = current.f_back


def _running_fits() -> Iterator[dict[str, Any]]:
  """Yields the local variables of each Keras `fit` on the stack."""
  for local in _callers('fit'):
    if isinstance(local.get('callbacks'), keras.callbacks.CallbackList):
      yield local


def callbacks_given() -> Iterator[Any]:
  """Yields the callbacks of each `fit` on the stack, as Keras was given them.

  Keras passes the model to a callback before it checks the rest of its list.
  """
  for local in _callers('fit'):
    given = local.get('callbacks')
    yield from tf.nest.flatten(getattr(given, 'callbacks', given))


def fit_context(model: Any = None) -> FitContext:
  """Returns the running `fit`, or a default `FitContext`.

  Keras gives a callback neither the other callbacks nor whether there is
  validation data. Both determine whether a run can work, and an error must come
  before the first epoch. So they are read from the call stack. Callers must
  handle a `FitContext()`, which a custom loop that calls the hooks itself leads
  to.

  Args:
    model: the model whose `fit` must be running; `None` for any model.
  """
  names = next(_running_fits(), None)
  if names is None or (model is not None and names.get('self') is not model):
    return FitContext()
  return FitContext(
    is_fit=True,
    callbacks=tuple(names['callbacks'].callbacks),
    callback_list=names['callbacks'],
    has_validation=names.get('validation_data') is not None,
    validation_freq=names.get('validation_freq', 1),
    data_handler=names.get('data_handler'),
    validation_inputs=names.get('val_x'),
    validation_parts=tuple(
      names.get(f'val_{part}') for part in ('x', 'y', 'sample_weight')
    ),
    batch_size=names.get('batch_size'),
    shuffle=names.get('shuffle'),
    class_weight=names.get('class_weight'),
  )


def is_running(data_handler: Any) -> bool:
  """Returns whether the `fit` of a data handler is on the stack of any thread.

  Keras does not report that a `fit` died. The lifetime of its objects does not
  show it either, since a traceback may keep them alive.

  Args:
    data_handler: the Keras data handler of the `fit`; `None` returns False.
  """
  if data_handler is None:
    return False
  return any(
    local.get('data_handler') is data_handler
    for frame in sys._current_frames().values()
    for local in _callers('fit', frame=frame)
  )


def is_training(*by: str) -> bool:
  """Returns whether a Keras `fit` or `train_on_batch` is on the call stack.

  Args:
    *by: the names of the methods that count; by default both.
  """
  return _nearest_training(by or ('fit', 'train_on_batch')) is not None


def is_innermost(model: keras.Model, data_handler: Any) -> bool:
  """Returns whether the innermost training is the `fit` of a data handler.

  It is not inside a `fit` or `train_on_batch` that one of its callbacks called.

  Args:
    model: the model that the `fit` trains.
    data_handler: the Keras data handler of the `fit`.
  """
  training = _nearest_training()
  return training is not None and (
    training['self'] is model and training.get('data_handler') is data_handler
  )


def _nearest_training(
  by: Sequence[str] = ('fit', 'train_on_batch'),
) -> dict[str, Any] | None:
  trainings = (
    local
    for local in _callers(*by)
    if isinstance(local.get('self'), keras.Model)
  )
  return next(trainings, None)

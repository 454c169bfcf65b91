"""What the fit that is running was given, read off the call stack."""

import inspect
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import tf_keras as keras


def _running_fits() -> Iterator[dict[str, Any]]:
  """Yields the local variables of each `fit` on the call stack, inner first."""
  frame = inspect.currentframe()
  while frame is not None:
    if frame.f_code.co_name == 'fit':
      names = frame.f_locals
      if isinstance(names.get('callbacks'), keras.callbacks.CallbackList):
        yield names
    frame = frame.f_back


def fit_arguments(model: Any = None) -> dict[str, Any]:
  """Returns the arguments of the `fit` that is running, `{}` if there is none.

  Args:
    model: whose `fit` it must be; `None` for any model's.

  Keras tells a callback neither its siblings nor whether there is validation
  data. Both decide whether a run can work, and a user should hear of it before
  the first epoch, not after the last. So they are read off the call stack; a
  caller copes with `{}` (a custom loop that calls the hooks itself).
  """
  names = next(_running_fits(), None)
  if names is None or (model is not None and names.get('self') is not model):
    return {}
  return {
    'callbacks': names['callbacks'].callbacks,
    'callback_list': names['callbacks'],
    'has_validation': names.get('validation_data') is not None,
    'validation_freq': names.get('validation_freq', 1),
    'data_handler': names.get('data_handler'),
    'validation_inputs': names.get('val_x'),
    'batch_size': names.get('batch_size'),
    'shuffle': names.get('shuffle'),
    'class_weight': names.get('class_weight'),
    'validation_parts': tuple(
      names.get(f'val_{part}') for part in ('x', 'y', 'sample_weight')
    ),
  }


def is_running(data_handler: Any) -> bool:
  """Returns whether the `fit` of a data handler is on the stack of a thread.

  Keras tells nobody that a `fit` died. Its objects do not tell either, since a
  traceback may keep them alive.

  Args:
    data_handler: Keras's, of the `fit`; `None` is of none.
  """
  if data_handler is None:
    return False
  for frame in sys._current_frames().values():
    found: Any = frame
    while found is not None:
      if (
        found.f_code.co_name == 'fit'
        and found.f_locals.get('data_handler') is data_handler
      ):
        return True
      found = found.f_back
  return False


def is_training(*by: str) -> bool:
  """Returns whether a `fit` or `train_on_batch` of Keras has called us.

  Args:
    *by: which of them counts; by default both do.
  """
  return _nearest_training(by or ('fit', 'train_on_batch')) is not None


def is_innermost(model: keras.Model, data_handler: Any) -> bool:
  """Returns whether what trains a model now is the `fit` of a data handler.

  Not so in a `fit` or `train_on_batch` that a callback of it has called.
  """
  training = _nearest_training()
  return training is not None and (
    training['self'] is model and training.get('data_handler') is data_handler
  )


def _nearest_training(
  by: Sequence[str] = ('fit', 'train_on_batch'),
) -> dict[str, Any] | None:
  frame = inspect.currentframe()
  while frame is not None:
    if frame.f_code.co_name in by:
      names = frame.f_locals
      if isinstance(names.get('self'), keras.Model):
        return names
    frame = frame.f_back
  return None

"""Reads the running `fit` of a Keras 3 model from the call stack."""

import sys
import weakref
from collections.abc import Iterator
from typing import Any

from tf_unilth.engines.fit_context import FitContext


def running_fits(frame: Any) -> Iterator[dict[str, Any]]:
  """Yields the local variables of each Keras `fit` on a stack.

  Args:
    frame: the innermost frame.
  """
  while frame is not None:
    if frame.f_code.co_name == 'fit' and 'epoch_iterator' in frame.f_locals:
      yield frame.f_locals
    frame = frame.f_back


def fit_context() -> FitContext:
  """Returns the running `fit`, or a default `FitContext`.

  Keras gives a callback neither its data nor the other callbacks, so they are
  read from the call stack.
  """
  names = next(running_fits(sys._getframe()), None)
  if names is None:
    return FitContext()
  parts = tuple(names.get(f'val_{p}') for p in ('x', 'y', 'sample_weight'))
  return FitContext(
    is_fit=True,
    callbacks=tuple(names['callbacks'].callbacks),
    callback_list=weakref.ref(names['callbacks']),
    has_validation=names.get('validation_data') is not None,
    validation_freq=names.get('validation_freq', 1),
    data_handler=weakref.ref(names['epoch_iterator']),
    initial_epoch=names.get('initial_epoch', 0),
    validation_inputs=parts[0],
    validation_parts=parts,
    batch_size=names.get('batch_size'),
    shuffle=names.get('shuffle'),
    class_weight=names.get('class_weight'),
  )

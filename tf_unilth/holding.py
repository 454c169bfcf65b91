"""Who holds the masks: each forward pass, as in tfmot, or the train step.

tfmot's wrapper multiplies weights by masks in every forward pass, because
every step of the optimizer moves pruned weights away from zero. Where a train
step leaves them at zero, as that of a ticket callback does, a forward pass need
not touch them, neither in that step nor in the evaluations in between.

What is kept here is of this process alone: a copy of a layer, from a file or
not, holds its masks by itself again.
"""

import contextlib
import threading
import weakref
from collections.abc import Iterator, Sequence
from typing import Any

from tf_unilth.compat import keras

# Replicas are traced in threads of their own.
_step = threading.local()
# The wrappers whose pruned weights are zero between steps, and their models.
_sealed: weakref.WeakKeyDictionary[Any, weakref.ref[keras.Model]] = (
  weakref.WeakKeyDictionary()
)


@contextlib.contextmanager
def train_step(wrappers: Sequence[Any]) -> Iterator[None]:
  """While a train step is traced or run that holds the masks of wrappers."""
  before = getattr(_step, 'wrappers', ())
  _step.wrappers = wrappers
  try:
    yield
  finally:
    _step.wrappers = before


def in_train_step(wrapper: Any) -> bool:
  """Returns whether such a step of this wrapper is being traced or run."""
  return any(wrapper is w for w in getattr(_step, 'wrappers', ()))


def seal(wrappers: Sequence[Any], model: keras.Model) -> None:
  """Says that pruned weights are zero, and stay so between steps."""
  for wrapper in wrappers:
    _sealed[wrapper] = weakref.ref(model)
  _make_functions_again(model)


def unseal(wrappers: Sequence[Any]) -> None:
  """Says that they may not be zero, as before any `seal`."""
  models = [_sealed.pop(wrapper, None) for wrapper in wrappers]
  for model in {ref() for ref in models if ref is not None} - {None}:
    _make_functions_again(model)


def is_held(wrapper: Any, training: Any) -> bool:
  """Returns whether a forward pass may leave the weights as they are.

  A training pass outside of such a step ends that: its optimizer will move
  what is pruned, so evaluations must mask again.

  Args:
    wrapper: whose forward pass it is.
    training: `True`, `False`, or a tensor that will tell.
  """
  known = isinstance(training, bool | int)
  if known and not training:
    return wrapper in _sealed
  if known and in_train_step(wrapper):
    return True
  unseal([wrapper])
  return False


def _make_functions_again(model: Any) -> None:
  # Keras keeps what it traced, with or without masks, until it is told.
  model.test_function = model.predict_function = None

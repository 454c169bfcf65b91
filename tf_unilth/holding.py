"""Who holds the masks: each forward pass, as in tfmot, or the train step.

tfmot's wrapper multiplies weights by masks in every forward pass, because
every step of the optimizer moves pruned weights away from zero. Where a train
step leaves them at zero, as that of a ticket callback does, a forward pass need
not touch them, neither in that step nor in the evaluations in between.

That holds in the steps of that `fit` alone. What is traced elsewhere may be
called at any time, after weights were loaded or moved by other optimizers, and
nobody would be told: there masks are in every forward pass. Only `evaluate` and
`predict` of a model that was fitted so mask once, when they begin.
"""

import contextlib
import functools
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import tensorflow as tf

from tf_unilth.compat import keras

# Replicas are traced in threads of their own.
_step = threading.local()


@contextlib.contextmanager
def step(wrappers: Sequence[Any]) -> Iterator[None]:
  """While a step is traced or run in which pruned weights are zero."""
  before = getattr(_step, 'held', ((), None))
  _step.held = wrappers, graph()
  try:
    yield
  finally:
    _step.held = before


def is_held(wrapper: Any) -> bool:
  """Returns whether a forward pass may leave the weights as they are.

  Not in a `tf.function` inside of the step: what is traced there is kept, and
  others may call it.
  """
  wrappers, own = getattr(_step, 'held', ((), None))
  return own is graph() and any(wrapper is w for w in wrappers)


def mask_when_evaluations_begin(
  model: keras.Model, wrappers: Sequence[Any], mask: Callable[[], None]
) -> None:
  """Lets `evaluate` and `predict` mask once, and not in each forward pass.

  Args:
    model: it stays so; its copies do not.
    wrappers: its wrapped layers.
    mask: sets pruned weights to zero.
  """
  if hasattr(model.make_test_function, 'mask'):
    return  # From an earlier fit.
  for kind in ('test', 'predict'):
    for name, replace in (
      (f'{kind}_step', functools.partial(_held, wrappers)),
      (f'make_{kind}_function', functools.partial(_masked_first, mask)),
    ):
      setattr(model, name, replace(getattr(model, name)))
  # They may have been traced with masks.
  model.test_function = model.predict_function = None


def _held(wrappers: Sequence[Any], function: Any) -> Callable[..., Any]:
  def held(*args: Any) -> Any:
    with step(wrappers):
      return function(*args)

  return held


def _masked_first(mask: Callable[[], None], make: Any) -> Callable[..., Any]:
  # Keras asks for the function whenever it begins to evaluate or predict.
  def masked_first(*args: Any, **kwargs: Any) -> Any:
    mask()
    return make(*args, **kwargs)

  masked_first.mask = mask  # type: ignore[attr-defined]
  return masked_first


def graph() -> Any:
  """Returns the graph that is being traced, `None` in eager execution.

  Where it is not that of the step around it, a `tf.function` inside of the step
  is being traced, or a branch.
  """
  if tf.executing_eagerly():
    return None
  return tf.compat.v1.get_default_graph()

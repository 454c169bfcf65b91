"""Who holds the masks: each forward pass, as in tfmot, or the train step.

tfmot's wrapper multiplies weights by masks in every forward pass, because
every step of the optimizer moves pruned weights away from zero. Where a train
step leaves them at zero, as that of a ticket callback does, a forward pass need
not touch them, neither in that step nor in the evaluations in between.

That holds in the steps of that `fit` alone. What is traced elsewhere may be
called at any time, after weights were loaded or moved by other optimizers, and
nobody would be told: there masks are in every forward pass.
"""

import contextlib
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import tensorflow as tf

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


def graph() -> Any:
  """Returns the graph that is being traced, `None` in eager execution.

  Where it is not that of the step around it, a `tf.function` inside of the step
  is being traced, or a branch.
  """
  if tf.executing_eagerly():
    return None
  return tf.compat.v1.get_default_graph()

"""Who holds the masks: each forward pass, as in tfmot, or the train step.

tfmot's wrapper multiplies weights by masks in every forward pass, because
every step of the optimizer moves pruned weights away from zero. Where a train
step leaves them at zero, as that of a ticket callback does, a forward pass need
not touch them, neither in that step nor in the evaluations in between.

That holds in the steps of that `fit` alone, and there only while nothing but
the ticket callback has written the weights in the step: sharpness-aware
training moves them between two forward passes. What is traced elsewhere may be
called at any time, after weights were loaded or moved by other optimizers, and
nobody would be told: there masks are in every forward pass. Only `evaluate` and
`predict` of a model that was fitted so mask once, when they begin.
"""

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import tensorflow as tf

from tf_unilth.engines.tfmot import prunable_weights
from tf_unilth.engines.tfmot.keras_access import keras
from tf_unilth.engines.tfmot.patches import Patches
from tf_unilth.engines.tfmot.traced_writes import GraphWrites

# Replicas are traced in threads of their own.
_local = threading.local()


def zero_pruned(wrapper: Any) -> None:
  """Sets to zero what the masks of a wrapped layer remove, even if NaN."""
  if getattr(wrapper, 'pruning_obj', None) is None:
    return  # Not built yet.
  for weight, mask, _ in wrapper.pruning_vars:
    keep(
      prunable_weights.unwrap_autocast(weight),
      prunable_weights.unwrap_autocast(mask),
    )


def keep(variable: Any, mask: Any) -> None:
  """Sets to zero what a mask, of 0 and 1, removes, even if it is NaN."""
  value = tf.convert_to_tensor(variable)
  # 0.0 where the mask is 0, whatever the value is; faster than to choose.
  variable.assign(tf.math.multiply_no_nan(value, tf.cast(mask, value.dtype)))


class Step:
  """A step, traced or run, at whose begin pruned weights are zero.

  Args:
    wrappers: the layers whose forward passes need not mask.
  """

  def __init__(self, wrappers: Sequence[Any]):
    self.graph = graph()
    self._wrappers = {id(wrapper): wrapper for wrapper in wrappers}
    # What is written cannot be seen in eager execution, nor through the
    # copies that a distribution strategy makes.
    sees_writes = self.graph is not None and not tf.distribute.has_strategy()
    self._writes = GraphWrites(self.graph) if sees_writes else None
    self._passes: dict[int, int] = {}

  def holds(self, wrapper: Any) -> bool:
    """Returns whether a forward pass that begins now may leave the masks out.

    Without sight of what is written, only the first pass of a step may.
    """
    if self.graph is not graph() or id(wrapper) not in self._wrappers:
      return False
    if self._writes is not None:
      return not any(self._writes.has(w) for w, *_ in wrapper.pruning_vars)
    passes = self._passes.get(id(wrapper), 0)
    self._passes[id(wrapper)] = passes + 1
    return passes == 0

  @contextlib.contextmanager
  def trusted(self, but: Sequence[Any]) -> Iterator[None]:
    """While weights are written in a way that leaves zeros alone.

    Args:
      but: the weights of which that is not sure.
    """
    if self._writes is None or self.graph is not graph():
      yield
      return
    self._writes.note()
    yield
    self._writes.skip()
    for weight in but:
      self._writes.add(weight)

  def was_written(self, weight: Any) -> bool:
    """Returns whether a weight may have been written in the step so far."""
    if self._writes is not None:
      return self._writes.has(weight)
    return self.graph is None or any(n > 1 for n in self._passes.values())


@contextlib.contextmanager
def forward_masks_skipped(wrappers: Sequence[Any]) -> Iterator[Step]:
  """While a step is traced or run in which pruned weights are zero."""
  before = getattr(_local, 'step', None)
  _local.step = Step(wrappers)
  try:
    yield _local.step
  finally:
    _local.step = before


def skips_mask(wrapper: Any) -> bool:
  """Returns whether a forward pass may leave the weights as they are.

  Not in a `tf.function` inside of the step: what is traced there is kept, and
  others may call it.
  """
  current = getattr(_local, 'step', None)
  return current is not None and current.holds(wrapper)


class HeldEvaluations:
  """Lets `evaluate` and `predict` mask once, and not in each forward pass.

  Saving weights masks first too. It stays on the model after `fit`, since it
  is what holds the mask there; copies of the model are without it.

  Args:
    model: that is fitted by a ticket callback.
    wrappers: its wrapped layers.
    mask: sets pruned weights to zero.
  """

  def __init__(
    self, model: keras.Model, wrappers: Sequence[Any], mask: Callable[[], None]
  ):
    self._wrappers = wrappers
    self._mask = mask
    self._runs = 0  # Evaluations that are running; one may call another.
    self._patches = Patches()
    self._model = model
    for kind in ('test', 'predict'):
      self._replace(f'{kind}_step', self._held)
      self._replace(f'make_{kind}_function', self._masked_first)
    self._replace('save_weights', self._masked)
    # They may have been traced with masks.
    model.test_function = model.predict_function = None

  @classmethod
  def put_on(
    cls, model: keras.Model, wrappers: Sequence[Any], mask: Callable[[], None]
  ) -> None:
    """Puts it onto a model, unless an earlier `fit` has."""
    if _on(model) is None:
      cls(model, wrappers, mask)

  @staticmethod
  def take_off(model: keras.Model) -> None:
    """Leaves a model as it was before `put_on`."""
    held = _on(model)
    if held is not None:
      held._patches.take_back()
      # They were traced without masks.
      model.test_function = model.predict_function = None

  def _replace(self, name: str, around: Callable[[Any], Any]) -> None:
    new = around(getattr(self._model, name))
    new.of = self
    self._patches.put(self._model, name, new)

  def _held(self, function: Any) -> Callable[..., Any]:
    def held(*args: Any) -> Any:
      if not self._runs:  # Called by somebody else, who has not masked.
        return function(*args)
      with forward_masks_skipped(self._wrappers):
        return function(*args)

    return held

  def _masked_first(self, make: Any) -> Callable[..., Any]:
    # Keras asks for the function whenever it begins to evaluate or predict.
    def masked_first(*args: Any, **kwargs: Any) -> Any:
      self._mask_or_leave()
      function = make(*args, **kwargs)
      return function if hasattr(function, 'of') else self._counted(function)

    return masked_first

  def _counted(self, function: Any) -> Callable[..., Any]:
    def counted(*args: Any) -> Any:
      self._runs += 1
      try:
        return function(*args)
      finally:
        self._runs -= 1

    counted.of = self  # type: ignore[attr-defined]
    return counted

  def _masked(self, function: Any) -> Callable[..., Any]:
    def masked(*args: Any, **kwargs: Any) -> Any:
      self._mask_or_leave()
      return function(*args, **kwargs)

    return masked

  def _mask_or_leave(self) -> None:
    """Masks, or ends where a model inside was stripped in place since."""
    if any(getattr(w, 'was_stripped', False) for w in self._wrappers):
      self.take_off(self._model)
    else:
      self._mask()


def _on(model: keras.Model) -> HeldEvaluations | None:
  """Returns what holds the evaluations of a model, if anything does."""
  return getattr(vars(model).get('make_test_function'), 'of', None)


def graph() -> Any:
  """Returns the graph that is being traced, `None` in eager execution.

  Where it is not that of the step around it, a `tf.function` inside of the step
  is being traced, or a branch.
  """
  if tf.executing_eagerly():
    return None
  return tf.compat.v1.get_default_graph()

"""Decides whether forward passes apply the masks, or the train step does.

tfmot's wrapper multiplies weights by masks in every forward pass, because
every optimizer step moves pruned weights away from zero. The train step of a
ticket callback keeps pruned weights at zero, so forward passes need no masks,
neither in that step nor in the evaluations between the steps.

This is safe only in the steps of that `fit`, and only while nothing else has
written the weights in the step: sharpness-aware training moves them between
two forward passes. A function that is traced elsewhere may be called at any
time, for example after weights were loaded or after another optimizer moved
them, and the library cannot observe this. Such functions mask in every forward
pass. `evaluate` and `predict` of a model that was fitted with a ticket callback
mask once, at their start.
"""

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import tensorflow as tf

from tf_unilth.engines import patches
from tf_unilth.engines.tfmot import prunable_weights
from tf_unilth.engines.tfmot.keras_access import keras
from tf_unilth.engines.tfmot.traced_writes import GraphWrites

# Per thread, since each replica is traced in a thread of its own.
_local = threading.local()


def zero_pruned(wrapper: Any) -> None:
  """Sets the pruned weights of a wrapped layer to zero, even if they are NaN.

  Args:
    wrapper: a tfmot wrapper; one that is not built does not change.
  """
  if getattr(wrapper, 'pruning_obj', None) is None:
    return
  for weight, mask, _ in wrapper.pruning_vars:
    keep(
      prunable_weights.unwrap_autocast(weight),
      prunable_weights.unwrap_autocast(mask),
    )


def keep(variable: Any, mask: Any) -> None:
  """Sets a variable to zero where a mask is 0, even if it is NaN there.

  Args:
    variable: the variable to change.
    mask: 0 or 1 for each element of the variable.
  """
  value = tf.convert_to_tensor(variable)
  # Returns 0.0 where the mask is 0, whatever the value; faster than tf.where.
  variable.assign(tf.math.multiply_no_nan(value, tf.cast(mask, value.dtype)))


class Step:
  """A train or evaluation step that begins with pruned weights at zero.

  Args:
    wrappers: the layers whose forward passes may skip the masks.
  """

  def __init__(self, wrappers: Sequence[Any]):
    self.graph = graph()
    self._wrappers = {id(wrapper): wrapper for wrapper in wrappers}
    # Writes cannot be tracked in eager execution, nor through the variable
    # copies of a distribution strategy.
    tracks = self.graph is not None and not tf.distribute.has_strategy()
    self._writes = GraphWrites(self.graph) if tracks else None
    self._passes: dict[int, int] = {}

  def skips_mask(self, wrapper: Any) -> bool:
    """Returns whether a forward pass that begins now may skip the masks.

    If writes cannot be tracked, only the first pass of a layer in a step may.
    """
    if self.graph is not graph() or id(wrapper) not in self._wrappers:
      return False
    if self._writes is not None:
      return not any(
        self._writes.is_written(w) for w, *_ in wrapper.pruning_vars
      )
    passes = self._passes.get(id(wrapper), 0)
    self._passes[id(wrapper)] = passes + 1
    return passes == 0

  @contextlib.contextmanager
  def ignoring_writes(self, except_for: Sequence[Any]) -> Iterator[None]:
    """Returns a context whose writes count as leaving zeros at zero.

    Args:
      except_for: the variables whose zeros may move; these count as written.
    """
    if self._writes is None or self.graph is not graph():
      yield
      return
    self._writes.scan()
    yield
    self._writes.skip()
    for weight in except_for:
      self._writes.mark(weight)

  def was_written(self, weight: Any) -> bool:
    """Returns whether a weight may have been written in the step so far."""
    if self._writes is not None:
      return self._writes.is_written(weight)
    return self.graph is None or any(n > 1 for n in self._passes.values())


@contextlib.contextmanager
def forward_masks_skipped(wrappers: Sequence[Any]) -> Iterator[Step]:
  """Returns a context for a step that begins with pruned weights at zero.

  Args:
    wrappers: the layers whose forward passes may skip the masks.
  """
  before = getattr(_local, 'step', None)
  _local.step = Step(wrappers)
  try:
    yield _local.step
  finally:
    _local.step = before


def skips_mask(wrapper: Any) -> bool:
  """Returns whether a forward pass may use the weights without a mask.

  It must mask in a `tf.function` inside the step: its trace is kept and may be
  called elsewhere.
  """
  current = getattr(_local, 'step', None)
  return current is not None and current.skips_mask(wrapper)


class HeldEvaluations:
  """Makes `evaluate` and `predict` mask once, not in each forward pass.

  `save_weights` masks first too. The patches stay on the model after `fit`,
  because they apply the masks there. Copies of the model do not have them.

  Args:
    model: the model that a ticket callback fits.
    wrappers: its wrapped layers.
    mask: sets pruned weights to zero.
  """

  def __init__(
    self, model: keras.Model, wrappers: Sequence[Any], mask: Callable[[], None]
  ):
    self._wrappers = wrappers
    self._mask = mask
    self._running = 0  # Evaluations in progress; one may call another.
    self._model = model
    for kind in ('test', 'predict'):
      self._patch(f'{kind}_step', self._skip_masks)
      self._patch(f'make_{kind}_function', self._mask_before)
    self._patch('save_weights', self._mask_before_save)
    # These functions may have been traced with masks.
    model.test_function = model.predict_function = None

  @classmethod
  def put_on(
    cls, model: keras.Model, wrappers: Sequence[Any], mask: Callable[[], None]
  ) -> None:
    """Patches a model, unless an earlier `fit` did; arguments as above."""
    if _evaluations_of(model) is None:
      cls(model, wrappers, mask)

  @staticmethod
  def take_off(model: keras.Model) -> None:
    """Removes the patches from a model."""
    evaluations = _evaluations_of(model)
    if evaluations is not None:
      patches.take_back(model)
      # These functions were traced without masks.
      model.test_function = model.predict_function = None

  def _patch(self, name: str, wrap: Callable[[Any], Any]) -> None:
    patched = wrap(getattr(self._model, name))
    patched.evaluations = self
    patches.set_lasting('model', self._model, name, patched)

  def _skip_masks(self, step: Any) -> Callable[..., Any]:
    def unmasked_step(*args: Any) -> Any:
      # Without a running evaluation, other code called it and did not mask.
      if not self._running:
        return step(*args)
      with forward_masks_skipped(self._wrappers):
        return step(*args)

    return unmasked_step

  def _mask_before(self, make: Any) -> Callable[..., Any]:
    # Keras calls `make` at the start of every evaluate and predict.
    def mask_and_make(*args: Any, **kwargs: Any) -> Any:
      self._mask_or_take_off()
      function = make(*args, **kwargs)
      if hasattr(function, 'evaluations'):
        return function
      return self._count_running(function)

    return mask_and_make

  def _count_running(self, function: Any) -> Callable[..., Any]:
    def counted(*args: Any) -> Any:
      self._running += 1
      try:
        return function(*args)
      finally:
        self._running -= 1

    counted.evaluations = self  # type: ignore[attr-defined]
    return counted

  def _mask_before_save(self, save: Any) -> Callable[..., Any]:
    def mask_and_save(*args: Any, **kwargs: Any) -> Any:
      self._mask_or_take_off()
      return save(*args, **kwargs)

    return mask_and_save

  def _mask_or_take_off(self) -> None:
    """Masks; removes the patches if a model inside was stripped in place."""
    if any(getattr(w, 'was_stripped', False) for w in self._wrappers):
      self.take_off(self._model)
    else:
      self._mask()


def _evaluations_of(model: keras.Model) -> HeldEvaluations | None:
  """Returns the `HeldEvaluations` on a model, or `None`."""
  make = vars(model).get('make_test_function')
  return getattr(make, 'evaluations', None)


def graph() -> Any:
  """Returns the graph that is being traced, `None` in eager execution.

  If it differs from the graph of the surrounding step, then a `tf.function` or
  a branch inside the step is being traced.
  """
  if tf.executing_eagerly():
    return None
  return tf.compat.v1.get_default_graph()

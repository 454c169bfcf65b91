"""What happens inside of each train step, in the graph: masks and penalty."""

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from tf_unilth.engines.tfmot import forward_masking, optimizer_traits
from tf_unilth.engines.tfmot.keras_access import keras
from tf_unilth.engines.tfmot.masked_gradients import Pairs, TicketGradients
from tf_unilth.engines.tfmot.pruned_model import PrunedLayers
from tf_unilth.engines.tfmot.run_state import RunState
from tf_unilth.schedules.l2_ramp import L2Ramp


class Watch:
  """What a hook asks and tells the run that has attached it.

  This one is of a loop of the user's own, which nobody sees end.
  """

  is_own_loop = True

  def is_alive(self) -> bool:
    """Returns whether the training around the run still goes on."""
    return True

  def end(self) -> None:
    """Called when it is found to have died."""

  def on_error(self) -> None:
    """Called when a train function has raised."""

  def on_write(self) -> None:
    """Called before a step, if kernels were written since the last one."""

  def replace(self) -> bool:
    """Returns whether another hook was attached in the place of this one."""
    return False

  def check_trained(self, trained: set[int], ramps: bool) -> None:
    """Raises if a step does not train what the run needs it to.

    Args:
      trained: the kernels that the optimizer was given in the step.
      ramps: whether the step has a penalty.
    """


class MaskedStep:
  """Keeps pruned weights at zero, and shrinks candidates, in every train step.

  Pruned weights get no gradient. Under Keras's optimizers a weight that is 0
  stays 0 while its gradient and its slots are 0, so that is all: the others
  train as if it were not there, and clipping by norm does not see it. The
  kernel is multiplied by its mask after an optimizer of which that is not
  known, where the kernel has a constraint, where the optimizer does not train
  it, and where the train step writes it itself.
  The penalty joins the gradients of SGD, lambda w for candidates, so that the
  loss that Keras reports does not hold it. Adaptive optimizers would normalise
  it away, and gradient clipping cut it; there the candidates shrink by
  themselves after the step, w <- w (1 - learning rate * lambda), as in AdamW
  (Loshchilov & Hutter 2019).
  Steps with a penalty and without are two functions, so that neither asks at
  every step which it is. Where all steps of a kind come before anything is
  pruned, theirs has no product with a mask; a function of its own for those
  that do only in part would cost a trace more.

  Args:
    model: a compiled model.
    optimizer: the one that trains its wrapped layers.
    layers: its wrapped layers.
    state: the run's state.
    ramp: `None` if this run has no penalty.
  """

  def __init__(
    self,
    model: keras.Model,
    optimizer: Any,
    layers: PrunedLayers,
    state: RunState,
    ramp: L2Ramp | None,
  ):
    self._model = model
    self._optimizer = optimizer
    self._layers = layers
    self._state = state
    self._ramp = ramp
    follows = optimizer_traits.penalty_through_gradient(optimizer)
    self._in_gradient = ramp is not None and follows
    self._decoupled = ramp is not None and not follows
    self._preserves_zeros = optimizer_traits.preserves_zeros(optimizer)
    # The optimizer applies constraints, some of which move zeros.
    self._constrained = {
      i for i, k in enumerate(layers.kernels) if k.weight.constraint is not None
    }
    negated = optimizer_traits.negates_gradients(optimizer)
    self._gradients = TicketGradients(layers, state.candidates, negated)
    self._ramps, self._masks = False, True
    # Replicas are traced in threads of their own. Of the step that is traced:
    # what it writes, and which kernels the optimizer was given so far.
    self._local = threading.local()
    # Those that it was given in a tf.function inside of the step, which is not
    # traced again.
    self._kept: set[int] = set()
    self._shrunk_at = _last_iteration(model) if self._decoupled else None
    self._is_in_function = False
    self._was_traced = False
    self._watch = Watch()

  @property
  def watch(self) -> 'Watch':
    """What was given to `attach`."""
    return self._watch

  def clear_slots(self, masks: list[np.ndarray]) -> None:
    """Takes what the optimizer knows of pruned weights, such as momentum."""
    if not self._preserves_zeros:
      return
    for kernel, mask in zip(self._layers.kernels, masks, strict=True):
      for slot in optimizer_traits.slots(self._optimizer, kernel.weight):
        slot.assign(np.where(mask, slot.numpy(), 0))

  def penalty(self) -> tf.Tensor:
    """Returns what a loop of the user's own must add to its loss."""
    if not self._in_gradient or self._step() is not None:
      return tf.constant(0.0)  # A hooked step adds it by itself.
    coefficient = self._lambda(self._optimizer.iterations)

    def ramped() -> tf.Tensor:
      sums = [
        tf.reduce_sum(
          tf.cast(chosen, tf.float32)
          * tf.square(tf.cast(kernel.weight, tf.float32))
        )
        for kernel, chosen in zip(
          self._layers.kernels, self._state.candidates, strict=True
        )
      ]
      return 0.5 * coefficient * tf.add_n(sums)

    return tf.cond(coefficient > 0, ramped, lambda: tf.constant(0.0))

  def after_step(self) -> None:
    """Does what a loop of the user's own must do after the optimizer."""
    if self._step() is not None:
      return  # A hooked step does it by itself.
    # The iteration is that of the step that is done.
    iteration = self._optimizer.iterations - 1
    self._mask(but=set())
    if self._decoupled:
      self._shrink(iteration, self._layers.trainable())

  def set_kind(self, ramps: bool, masks: bool) -> None:
    """Says what the steps from the next one on are.

    Args:
      ramps: whether there is a penalty.
      masks: whether there are zeros to keep, now or in later steps of the kind.
    """
    self._ramps = ramps and self._ramp is not None
    self._masks = masks

  def _step(self) -> forward_masking.Step | None:
    """Returns the hooked step that is being traced or run, if one is."""
    return getattr(self._local, 'step', None)

  def _unsure(self) -> list[Any]:
    """Returns the kernels whose zeros the optimizer may move."""
    return [
      kernel.weight
      for index, kernel in enumerate(self._layers.kernels)
      if not self._preserves_zeros or index in self._constrained
    ]

  def _do_step(self, train_step: Callable[..., Any], data: Any) -> Any:
    self._was_traced = True
    # A step that others trace serves steps of all kinds; off the ramp lambda
    # is 0.
    ramps = self._ramps or not self._is_in_function
    shrinks = self._decoupled and ramps
    iteration = tf.identity(self._optimizer.iterations) if shrinks else None
    trained = set(self._kept)
    with forward_masking.forward_masks_skipped(self._layers.wrappers) as step:
      self._local.step, self._local.trained = step, trained
      self._local.applies = False
      try:
        logs = train_step(data)
      finally:
        self._local.step = None
      written = {
        i
        for i, kernel in enumerate(self._layers.kernels)
        if i in trained and step.was_written(kernel.weight)
      }
    self._watch.check_trained(trained, self._ramp is not None and ramps)
    unsure = self._constrained | written
    self._mask(but=trained - unsure if self._preserves_zeros else set())
    if shrinks:
      self._shrink(iteration, trained)
    return logs

  def _changed(
    self,
    step: forward_masking.Step,
    grads_and_vars: Any,
    kwargs: dict[str, Any],
  ) -> Pairs:
    """Returns the gradients as the optimizer is to get them."""
    # What is traced in a function inside of the step is kept.
    inside = forward_masking.graph() is not step.graph
    kept = inside or not self._is_in_function
    coefficient = None
    # What is kept serves steps of all kinds; off the ramp lambda is 0.
    if self._in_gradient and (self._ramps or kept):
      coefficient = self._lambda(self._optimizer.iterations)
      cap = optimizer_traits.coefficient_cap(self._optimizer)
      if cap is not None:
        coefficient = tf.minimum(coefficient, cap)
      coefficient /= _replica_count(kwargs)
    pairs, found = self._gradients.transform(
      grads_and_vars, coefficient, self._masks or kept
    )
    self._local.trained |= found
    if inside:
      self._kept |= found
    return pairs

  def _mask(self, but: set[int]) -> None:
    """Multiplies kernels by their masks, but those that are masked already."""
    kernels = enumerate(self._layers.kernels)
    self._layers.multiply({i: k.mask for i, k in kernels if i not in but})

  def _shrink(self, iteration: Any, trained: set[int]) -> None:
    """Shrinks the candidates after the step of an iteration, once.

    Frozen kernels are left as they are, as a penalty in the loss leaves them.
    """
    rate = optimizer_traits.learning_rate(self._optimizer, iteration)
    share = tf.cast(rate, tf.float32) * self._lambda(iteration)
    # Another callback may have raised the rate since lambda was chosen.
    share = tf.minimum(share, 1.0)
    if self._watch.is_own_loop:
      # It may call train_on_batch, whose step shrinks by itself, and
      # after_step.
      assert self._shrunk_at is not None
      share = tf.where(tf.equal(self._shrunk_at, iteration), 0.0, share)
      with tf.control_dependencies([share]):
        self._shrunk_at.assign(iteration)
    factors = {}
    for index, chosen in enumerate(self._state.candidates):
      if index not in trained:
        continue
      weight = tf.convert_to_tensor(self._layers.kernels[index].weight)
      # After the weight: all at once would be one more copy of the weights.
      with tf.control_dependencies([weight]):
        factors[index] = 1 - share * tf.cast(chosen, tf.float32)
    self._layers.multiply(factors)

  def _lambda(self, iteration: Any) -> tf.Tensor:
    assert self._ramp is not None
    return self._state.l2_lambda(self._ramp, iteration)


def _last_iteration(model: keras.Model) -> tf.Variable:
  """Returns a variable for the last iteration whose step has shrunk."""
  with model.distribute_strategy.scope():
    return tf.Variable(
      -1,
      trainable=False,
      dtype=tf.int64,
      aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
    )


def _replica_count(kwargs: dict[str, Any]) -> int:
  """Returns of how many replicas the optimizer will add up the gradients."""
  if kwargs.get('skip_gradients_aggregation', False):
    return 1
  if not kwargs.get('experimental_aggregate_gradients', True):
    return 1
  return tf.distribute.get_strategy().num_replicas_in_sync

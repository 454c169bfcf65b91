"""The masked train step: masks and penalty inside the traced step."""

import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tf_unilth.engines.tfmot import forward_masking, optimizer_traits
from tf_unilth.engines.tfmot.keras_access import keras
from tf_unilth.engines.tfmot.masked_gradients import Pairs, TicketGradients
from tf_unilth.engines.tfmot.pruned_model import PrunedLayers
from tf_unilth.engines.tfmot.ramp_variables import RampVariables
from tf_unilth.schedules.l2_ramp import L2Ramp


class Watch:
  """Connects a hook to the run that attached it.

  The base class serves custom training loops, whose end cannot be observed.
  """

  is_own_loop = True  # Whether the model trains in a custom loop.

  def is_alive(self) -> bool:
    """Returns whether the training around the run is still in progress."""
    return True

  def end(self) -> None:
    """Called when the training turns out to have died."""

  def on_error(self) -> None:
    """Called when a train function has raised."""

  def on_write(self) -> None:
    """Called before a step if kernels were written since the last step."""

  def replace(self) -> bool:
    """Attaches another hook if needed; returns whether it did."""
    return False

  def check_trained(self, trained: set[int], ramps: bool) -> None:
    """Raises an error if a step does not train the kernels of the run.

    Args:
      trained: indices of the kernels that the optimizer got in the step.
      ramps: whether the step has a penalty.
    """


class MaskedStep:
  """Keeps pruned weights at zero and shrinks candidates in every train step.

  Pruned weights get no gradient. Under most Keras optimizers a weight of 0
  stays 0 while its gradient and its slots are 0. Then nothing else is needed:
  the other weights train as if the pruned ones did not exist, and clipping by
  norm ignores them. The kernel is also multiplied by its mask after the step if
  the optimizer may move zeros, the kernel has a constraint, the optimizer does
  not train it, or the train step itself writes it.

  With SGD, the penalty's gradient lambda * w of the candidates is added to the
  gradients, so the loss that Keras reports does not contain the penalty.
  Adaptive optimizers would normalize that gradient away, and gradient clipping
  would cut it. In these cases the candidates are shrunk after the step,
  w <- w (1 - learning rate * lambda), as in AdamW (Loshchilov & Hutter 2019).

  Steps with and without a penalty are separate functions, so no step branches
  on it. If all steps of a kind come before the first pruning, their function
  has no product with the masks. A kind that is only partly before it does not
  get a function of its own, which would cost another trace.

  Args:
    model: a compiled model.
    optimizer: the optimizer that trains its wrapped layers.
    layers: its wrapped layers.
    variables: what the step reads of the ramp.
    ramp: the L2 ramp; `None` for a run without a penalty.
  """

  def __init__(
    self,
    model: keras.Model,
    optimizer: Any,
    layers: PrunedLayers,
    variables: RampVariables,
    ramp: L2Ramp | None,
  ):
    self._model = model
    self._optimizer = optimizer
    self._layers = layers
    self._variables = variables
    self._ramp = ramp
    through_gradient = optimizer_traits.penalty_through_gradient(optimizer)
    self._in_gradient = ramp is not None and through_gradient
    self._decoupled = ramp is not None and not through_gradient
    self._preserves_zeros = optimizer_traits.preserves_zeros(optimizer)
    # The optimizer applies constraints, some of which move zeros.
    self._constrained = {
      i for i, k in enumerate(layers.kernels) if k.weight.constraint is not None
    }
    negated = optimizer_traits.negates_gradients(optimizer)
    self._gradients = TicketGradients(layers, variables.candidates, negated)
    self._has_penalty, self._has_masks = False, True
    # Per thread, since each replica is traced in a thread of its own. Its
    # attributes describe the step being traced: `step` records the writes,
    # `trained` the kernels that the optimizer got so far, `applies` whether
    # apply_gradients is running.
    self._local = threading.local()
    # Kernels that the optimizer got in a tf.function inside the step. Such a
    # function is not traced again.
    self._trained_inside: set[int] = set()
    self._last_shrunk = _last_iteration(model) if self._decoupled else None
    self._is_in_function = False
    self._was_traced = False
    self._watch = Watch()

  @property
  def watch(self) -> 'Watch':
    """The `Watch` that was passed to `attach`."""
    return self._watch

  def clear_slots(self, masks: Sequence[np.ndarray]) -> None:
    """Sets the optimizer slots of pruned weights, such as momentum, to zero.

    Args:
      masks: boolean arrays in the shapes of the kernels, False where pruned.
    """
    if not self._preserves_zeros:
      return
    for kernel, mask in zip(self._layers.kernels, masks, strict=True):
      for slot in optimizer_traits.slots(self._optimizer, kernel.weight):
        slot.assign(np.where(mask, slot.numpy(), 0))

  def penalty(self) -> tf.Tensor:
    """Returns the scalar that a custom training loop must add to its loss."""
    if not self._in_gradient or self._step() is not None:
      return tf.constant(0.0)  # A hooked step adds the penalty by itself.
    coefficient = self._lambda(self._optimizer.iterations)

    def ramped() -> tf.Tensor:
      sums = [
        tf.reduce_sum(
          tf.cast(chosen, tf.float32)
          * tf.square(tf.cast(kernel.weight, tf.float32))
        )
        for kernel, chosen in zip(
          self._layers.kernels, self._variables.candidates, strict=True
        )
      ]
      return 0.5 * coefficient * tf.add_n(sums)

    return tf.cond(coefficient > 0, ramped, lambda: tf.constant(0.0))

  def after_step(self) -> None:
    """Masks and shrinks weights after the optimizer step of a custom loop."""
    if self._step() is not None:
      return  # A hooked step does it by itself.
    # The iteration of the step that has just finished.
    iteration = self._optimizer.iterations - 1
    self._apply_masks(except_for=set())
    if self._decoupled:
      self._shrink(iteration, self._layers.trainable())

  def set_kind(self, ramps: bool, masks: bool) -> None:
    """Sets the kind of the following steps.

    Args:
      ramps: whether there is a penalty.
      masks: whether any weight is pruned, now or in a later step of this kind.
    """
    self._has_penalty = ramps and self._ramp is not None
    self._has_masks = masks

  def _step(self) -> forward_masking.Step | None:
    """Returns the hooked step that is being traced or run, `None` if none."""
    return getattr(self._local, 'step', None)

  def _kernels_to_mask(self) -> list[Any]:
    """Returns the kernels whose zeros the optimizer may move."""
    return [
      kernel.weight
      for index, kernel in enumerate(self._layers.kernels)
      if not self._preserves_zeros or index in self._constrained
    ]

  def _run_step(self, train_step: Callable[..., Any], data: Any) -> Any:
    self._was_traced = True
    # A step that is traced outside our train function serves all kinds of
    # steps. Off the ramp lambda is 0.
    ramps = self._has_penalty or not self._is_in_function
    shrinks = self._decoupled and ramps
    iteration = tf.identity(self._optimizer.iterations) if shrinks else None
    trained = set(self._trained_inside)
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
    unsafe = self._constrained | written
    masked = trained - unsafe if self._preserves_zeros else set()
    self._apply_masks(except_for=masked)
    if shrinks:
      self._shrink(iteration, trained)
    return logs

  def _transform_gradients(
    self,
    step: forward_masking.Step,
    grads_and_vars: Any,
    kwargs: dict[str, Any],
  ) -> Pairs:
    """Returns the pairs of gradient and variable for the optimizer."""
    inside = forward_masking.graph() is not step.graph
    # A function inside the step, or a step that is traced outside our train
    # function, is reused for all kinds of steps. Off the ramp lambda is 0.
    is_reused = inside or not self._is_in_function
    coefficient = None
    if self._in_gradient and (self._has_penalty or is_reused):
      coefficient = self._lambda(self._optimizer.iterations)
      cap = optimizer_traits.coefficient_cap(self._optimizer)
      if cap is not None:
        coefficient = tf.minimum(coefficient, cap)
      coefficient /= _replica_count(kwargs)
    pairs, found = self._gradients.transform(
      grads_and_vars, coefficient, self._has_masks or is_reused
    )
    self._local.trained |= found
    if inside:
      self._trained_inside |= found
    return pairs

  def _apply_masks(self, except_for: set[int]) -> None:
    """Multiplies kernels by their masks, except for the given indices."""
    kernels = enumerate(self._layers.kernels)
    self._layers.multiply(
      {i: k.mask for i, k in kernels if i not in except_for}
    )

  def _shrink(self, iteration: Any, trained: set[int]) -> None:
    """Shrinks the candidates, at most once per iteration.

    Frozen kernels do not change, as under a penalty in the loss.

    Args:
      iteration: the optimizer iteration of the step that has just finished.
      trained: indices of the kernels that are trained.
    """
    rate = optimizer_traits.learning_rate(self._optimizer, iteration)
    share = tf.cast(rate, tf.float32) * self._lambda(iteration)
    # Another callback may have raised the rate since lambda was chosen.
    share = tf.minimum(share, 1.0)
    if self._watch.is_own_loop:
      # A custom loop may call both train_on_batch, whose step shrinks by
      # itself, and after_step.
      assert self._last_shrunk is not None
      share = tf.where(tf.equal(self._last_shrunk, iteration), 0.0, share)
      with tf.control_dependencies([share]):
        self._last_shrunk.assign(iteration)
    factors = {}
    for index, chosen in enumerate(self._variables.candidates):
      if index not in trained:
        continue
      weight = tf.convert_to_tensor(self._layers.kernels[index].weight)
      # Wait for the weight: the factors of all layers at once would take as
      # much memory as another copy of the weights.
      with tf.control_dependencies([weight]):
        factors[index] = 1 - share * tf.cast(chosen, tf.float32)
    self._layers.multiply(factors)

  def _lambda(self, iteration: Any) -> tf.Tensor:
    assert self._ramp is not None
    return self._variables.l2_lambda(self._ramp, iteration)


def _last_iteration(model: keras.Model) -> tf.Variable:
  """Returns a variable for the last iteration after which weights shrank."""
  with model.distribute_strategy.scope():
    return tf.Variable(
      -1,
      trainable=False,
      dtype=tf.int64,
      aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
    )


def _replica_count(kwargs: dict[str, Any]) -> int:
  """Returns over how many replicas the optimizer will sum the gradients."""
  if kwargs.get('skip_gradients_aggregation', False):
    return 1
  if not kwargs.get('experimental_aggregate_gradients', True):
    return 1
  return tf.distribute.get_strategy().num_replicas_in_sync

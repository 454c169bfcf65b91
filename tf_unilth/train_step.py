"""What happens inside of each train step, in the graph: masks and penalty."""

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from tf_unilth import holding, optimizers
from tf_unilth.compat import keras
from tf_unilth.gradients import TicketGradients
from tf_unilth.pruned_layers import PrunedLayers
from tf_unilth.regularization import L2Ramp
from tf_unilth.run_state import RunState


class TrainStepHook:
  """Keeps pruned weights at zero, and shrinks candidates, in every train step.

  Pruned weights get no gradient. Under Keras's optimizers a weight that is 0
  stays 0 while its gradient and its slots are 0, so that is all: the others
  train as if it were not there, and clipping by norm does not see it. After
  an optimizer of which that is not known, where a kernel has a constraint, and
  where `model.optimizer` does not train it, the kernel is multiplied by its
  mask.
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
    layers: its wrapped layers.
    state: the run's state.
    ramp: `None` if this run has no penalty.
  """

  def __init__(
    self,
    model: keras.Model,
    layers: PrunedLayers,
    state: RunState,
    ramp: L2Ramp | None,
  ):
    self._model = model
    self._optimizer = model.optimizer
    self._layers = layers
    self._state = state
    self._ramp = ramp
    follows = optimizers.follows_loss(model.optimizer)
    self._in_gradient = ramp is not None and follows
    self._decoupled = ramp is not None and not follows
    self._keeps_zeros = optimizers.keeps_zeros(model.optimizer)
    # The optimizer applies constraints, some of which move zeros.
    self._constrained = {
      i for i, k in enumerate(layers.kernels) if k.weight.constraint is not None
    }
    negated = optimizers.negates_gradients(model.optimizer)
    self._gradients = TicketGradients(layers, state.candidates, negated)
    self._ramps, self._masks = False, True
    # Replicas are traced in threads of their own. In a step: its graph, and
    # which kernels the optimizer was given, so far.
    self._step = threading.local()
    # Those that it was given in a tf.function inside of the step, which is not
    # traced again.
    self._kept: set[int] = set()
    self._train_step: Callable[..., Any]
    self._apply_gradients: Callable[..., Any]
    self._replaced: list[tuple[Any, str, Any]] = []

  def attach(self, on_interrupt: Callable[[], None]) -> None:
    """Puts the hook into the model, and `on_interrupt` around its training."""
    model = self._model
    self._train_step = model.train_step
    self._apply_gradients = self._optimizer.apply_gradients
    self._replace(model, 'train_step', self._hooked_train_step)
    self._replace(
      self._optimizer, 'apply_gradients', self._hooked_apply_gradients
    )
    # Keras made the train function before it told any callback of the run;
    # what is added later is silently ignored unless it is made again.
    functions: dict[tuple[bool, bool], Any] = {}

    def train_or_tell(iterator: Any) -> Any:
      kind = self._ramps, self._masks
      if kind not in functions:
        functions[kind] = make_train_function(force=True)
        model.train_function = train_or_tell
      try:
        return functions[kind](iterator)
      except (StopIteration, tf.errors.OutOfRangeError):
        raise  # An epoch's end, where Keras does not know its length.
      except BaseException:
        on_interrupt()
        raise

    def make_for_another_fit(force: bool = False) -> Any:
      # Every fit begins with it. Ours died where no callback is told.
      self.detach()
      on_interrupt()
      return model.make_train_function(force=force)

    make_train_function = model.make_train_function
    self._replace(model, 'make_train_function', make_for_another_fit)
    model.train_function = train_or_tell
    holding.mask_when_evaluations_begin(
      model, self._layers.wrappers, self._layers.mask
    )

  def set_kind(self, ramps: bool, masks: bool) -> None:
    """Says what the steps from the next one on are.

    Args:
      ramps: whether there is a penalty.
      masks: whether there are zeros to keep, now or in later steps of the kind.
    """
    self._ramps = ramps and self._ramp is not None
    self._masks = masks

  def detach(self) -> None:
    """Leaves the training of the model as it was found."""
    if not self._replaced:
      return
    for thing, name, before in self._replaced:
      if before is None:
        delattr(thing, name)  # The class's comes back to light.
      else:
        setattr(thing, name, before)
    self._replaced = []
    self._model.train_function = None

  def clear_slots(self, masks: list[np.ndarray]) -> None:
    """Takes what the optimizer knows of pruned weights, such as momentum."""
    if not self._keeps_zeros:
      return
    for kernel, mask in zip(self._layers.kernels, masks, strict=True):
      for slot in optimizers.slots(self._optimizer, kernel.weight):
        slot.assign(np.where(mask, slot.numpy(), 0))

  def penalty(self) -> tf.Tensor:
    """Returns what a loop of the user's own must add to its loss."""
    if not self._in_gradient:
      return tf.constant(0.0)
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
    # The iteration is that of the step that is done.
    iteration = self._optimizer.iterations - 1
    self._mask(but=set())
    if self._decoupled:
      self._shrink(iteration)

  def _replace(self, thing: Any, name: str, value: Any) -> None:
    # A user may have put one of their own on the instance.
    self._replaced.append((thing, name, vars(thing).get(name)))
    setattr(thing, name, value)

  def _hooked_train_step(self, data: Any) -> Any:
    shrinks = self._decoupled and self._ramps
    iteration = tf.identity(self._optimizer.iterations) if shrinks else None
    trained = set(self._kept)
    self._step.trained, self._step.graph = trained, holding.graph()
    try:
      with holding.step(self._layers.wrappers):
        logs = self._train_step(data)
    finally:
      self._step.trained = None
    if self._in_gradient and not trained:
      raise ValueError(
        "the model's train_step must apply its gradients by model.optimizer, "
        'but does not, or in a tf.function that was traced before this fit: '
        'the ramp would do nothing. Use it, or ramp=L2Ramp(limit=0).'
      )
    self._mask(but=trained - self._constrained if self._keeps_zeros else set())
    if shrinks:
      self._shrink(iteration)
    return logs

  def _hooked_apply_gradients(
    self, grads_and_vars: Any, *args: Any, **kwargs: Any
  ) -> Any:
    trained = getattr(self._step, 'trained', None)
    if trained is None:  # A loop of the user's own.
      return self._apply_gradients(grads_and_vars, *args, **kwargs)
    kept = holding.graph() is not self._step.graph
    coefficient = None
    # What is kept serves steps of all kinds; off the ramp lambda is 0.
    if self._in_gradient and (self._ramps or kept):
      coefficient = self._lambda(self._optimizer.iterations) / _summands(kwargs)
    pairs, found = self._gradients.changed(
      grads_and_vars, coefficient, self._masks or kept
    )
    trained |= found
    if kept:
      self._kept |= found
    return self._apply_gradients(pairs, *args, **kwargs)

  def _mask(self, but: set[int]) -> None:
    """Multiplies kernels by their masks, but those that are masked already."""
    kernels = enumerate(self._layers.kernels)
    self._layers.multiply({i: k.mask for i, k in kernels if i not in but})

  def _shrink(self, iteration: Any) -> None:
    """Shrinks the candidates after the step of an iteration."""
    rate = optimizers.learning_rate(self._optimizer, iteration)
    share = tf.cast(rate, tf.float32) * self._lambda(iteration)
    factors = {}
    for index, chosen in enumerate(self._state.candidates):
      weight = tf.convert_to_tensor(self._layers.kernels[index].weight)
      # After the weight: all at once would be one more copy of the weights.
      with tf.control_dependencies([weight]):
        factors[index] = 1 - share * tf.cast(chosen, tf.float32)
    self._layers.multiply(factors)

  def _lambda(self, iteration: Any) -> tf.Tensor:
    assert self._ramp is not None
    return self._state.l2_lambda(self._ramp, iteration)


def _summands(kwargs: dict[str, Any]) -> int:
  """Returns of how many replicas the optimizer will add up the gradients."""
  if kwargs.get('skip_gradients_aggregation', False):
    return 1
  if not kwargs.get('experimental_aggregate_gradients', True):
    return 1
  return tf.distribute.get_strategy().num_replicas_in_sync

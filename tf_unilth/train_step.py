"""What happens inside of each train step, in the graph: penalty and masks."""

import threading
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from tf_unilth import optimizers
from tf_unilth.compat import keras
from tf_unilth.pruned_layers import PrunedLayers
from tf_unilth.regularization import L2Ramp
from tf_unilth.run_state import RunState


class TrainStepHook:
  """Penalises candidates and holds masks in every train step of a model.

  The penalty joins the loss of SGD. Adaptive optimizers would normalise it
  away, and gradient clipping cut it, so there the candidates shrink by
  themselves after the step, w <- w (1 - learning rate * lambda), as in AdamW
  (Loshchilov & Hutter 2019).
  After the step the masks are applied: tfmot's wrapper applies them in the
  next forward pass only, so that a checkpoint in between would hold weights
  that are pruned but not zero.

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
    self._layers = layers
    self._state = state
    self._ramp = ramp
    in_loss = ramp is not None and optimizers.follows_loss(model.optimizer)
    self._in_loss = in_loss
    self._decoupled = ramp is not None and not in_loss
    # Replicas are traced in threads of their own.
    self._training = threading.local()
    self._train_step: Callable[..., Any]
    self._own_train_step: Any = None
    self._attached = False
    self._loss: Any = None

  def attach(self, on_interrupt: Callable[[], None]) -> None:
    """Puts the hook into the model, and `on_interrupt` around its training."""
    # A user may have put a step of their own on the instance.
    self._own_train_step = vars(self._model).get('train_step')
    self._train_step = self._model.train_step
    self._model.train_step = self._hooked_train_step
    if self._in_loss:
      self._model.add_loss(self._penalty)
      self._loss = self._model._callable_losses[-1]
    # Keras made the train function before it told any callback of the run;
    # what is added later is silently ignored unless it is made again.
    train_function = self._model.make_train_function(force=True)

    def train_or_tell(iterator: Any) -> Any:
      try:
        return train_function(iterator)
      except (StopIteration, tf.errors.OutOfRangeError):
        raise  # An epoch's end, where Keras does not know its length.
      except BaseException:
        on_interrupt()
        raise

    def make_for_another_fit(force: bool = False) -> Any:
      # Every fit begins with it. Ours died where no callback is told.
      self.detach()
      on_interrupt()
      return self._model.make_train_function(force=force)

    self._model.train_function = train_or_tell
    self._model.make_train_function = make_for_another_fit
    self._attached = True

  def detach(self) -> None:
    """Leaves the model as it was found."""
    if not self._attached:
      return
    self._attached = False
    del self._model.make_train_function  # The class's comes back to light.
    if self._own_train_step is None:
      del self._model.train_step
    else:
      self._model.train_step = self._own_train_step
    if self._loss is not None:
      self._model._callable_losses.remove(self._loss)
    self._model.train_function = None

  def penalty(self) -> tf.Tensor:
    """Returns what a loop of the user's own must add to its loss."""
    return self._ramped() if self._in_loss else tf.constant(0.0)

  def after_step(self) -> None:
    """Does what a loop of the user's own must do after the optimizer."""
    factors = None
    if self._decoupled:
      # Those of the step that is done.
      factors = self._shrink_factors(self._model.optimizer.iterations - 1)
    self._layers.hold_masks(factors)

  def _hooked_train_step(self, data: Any) -> Any:
    factors = None
    if self._decoupled:
      factors = self._shrink_factors(self._model.optimizer.iterations)
    self._training.active, self._training.penalised = True, False
    try:
      logs = self._train_step(data)
    finally:
      self._training.active = False
    if self._in_loss and not self._training.penalised:
      raise ValueError(
        "the model's train_step must add sum(self.losses) to its loss, but it "
        'does not: the ramp would do nothing. Use compute_loss, or '
        'ramp=L2Ramp(limit=0).'
      )
    self._layers.hold_masks(factors)
    return logs

  def _lambda(self, iterations: Any) -> tf.Tensor:
    assert self._ramp is not None
    return self._state.l2_lambda(self._ramp, iterations)

  def _penalty(self) -> tf.Tensor | None:
    """Returns 1/2 lambda sum w^2 over the candidates; nothing in evaluation."""
    if not getattr(self._training, 'active', False):
      return None
    self._training.penalised = True
    return self._ramped()

  def _ramped(self) -> tf.Tensor:
    coefficient = self._lambda(self._model.optimizer.iterations)

    def ramped() -> tf.Tensor:
      sums = [
        tf.reduce_sum(tf.where(candidates, tf.square(weight), 0.0))
        for weight, candidates in self._penalised()
      ]
      return 0.5 * coefficient * tf.add_n(sums)

    return tf.cond(coefficient > 0, ramped, lambda: tf.constant(0.0))

  def _penalised(self) -> Sequence[tuple[tf.Tensor, Any]]:
    kernels, candidates = self._layers.kernels, self._state.candidates
    return [
      (tf.cast(kernel.weight, tf.float32), chosen)
      for kernel, chosen in zip(kernels, candidates, strict=True)
    ]

  def _shrink_factors(self, iterations: Any) -> list[tf.Tensor]:
    """Returns 1 - learning rate * lambda for candidates, 1 for the others."""
    optimizer = self._model.optimizer
    rate = optimizers.learning_rate(optimizer, iterations)
    shrunk = 1.0 - tf.cast(rate, tf.float32) * self._lambda(iterations)
    return [
      tf.where(candidates, shrunk, 1.0) for candidates in self._state.candidates
    ]

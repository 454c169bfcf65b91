"""ArmedFit: puts the hook of a run on a model, and takes it off."""

from collections.abc import Callable
from typing import Any

from tf_unilth.engines.engine import RunEvents
from tf_unilth.engines.fit_context import FitContext
from tf_unilth.engines.patches import Patches
from tf_unilth.engines.tfmot import (
  callback_list,
  data_handler,
  fit_introspection,
  model_checks,
  optimizer_search,
  optimizer_traits,
)
from tf_unilth.engines.tfmot.keras_access import keras
from tf_unilth.engines.tfmot.pruned_model import PrunedLayers
from tf_unilth.engines.tfmot.ramp_variables import RampVariables
from tf_unilth.engines.tfmot.train_hook import TrainStepHook, armed_hook
from tf_unilth.engines.tfmot.train_step import Watch
from tf_unilth.schedules.l2_ramp import L2Ramp
from tf_unilth.user_warning import warn_user


class ArmedFit:
  """The hook of one run, from `prepare` to `disarm`.

  Args:
    model: a compiled model.
    layers: its wrapped layers.
    fit: the `fit` of the run.
  """

  def __init__(self, model: keras.Model, layers: PrunedLayers, fit: FitContext):
    self._model = model
    self._layers = layers
    self._fit = fit
    self.optimizer: Any = None
    # The model's optimizer if the run uses it, else None.
    self._compiled_optimizer: Any = None
    self._ramp: L2Ramp | None = None
    self._variables: RampVariables | None = None
    self._events: RunEvents | None = None
    self._last_callback: Any = None
    self._patches = Patches()
    self.hook: TrainStepHook | None = None
    self._hook_calls = 0
    self._iterations_at_begin: int | None = None

  def find_optimizer(self, trains: bool) -> None:
    """Finds the optimizer that trains the wrapped layers.

    Args:
      trains: whether the run prunes. If not, the first one is taken.
    """
    model = self._model
    self.optimizer = optimizer_search.reachable(model)[0]
    if trains:
      self.optimizer = optimizer_search.training_optimizer(
        model, self._layers, self._fit.data_handler
      )
    # `compile` replaces model.optimizer alone, no other optimizer of the model.
    is_compiled = self.optimizer is model.optimizer
    self._compiled_optimizer = self.optimizer if is_compiled else None

  def prepare(self, ramp: L2Ramp | None, variables: RampVariables) -> None:
    """Creates slots, candidates and hook.

    Args:
      ramp: the L2 ramp of the run, `None` for none.
      variables: what the train step reads of it.
    """
    self._ramp, self._variables = ramp, variables
    self._make_hook()
    handler = self._fit.data_handler
    if handler is not None:
      data_handler.on_death(handler, self._release, self._patches)

  def _make_hook(self) -> None:
    assert self._variables is not None
    optimizer_traits.build(self.optimizer, self._model)
    self.hook = TrainStepHook(
      self._model, self.optimizer, self._layers, self._variables, self._ramp
    )
    self._hook_calls = 0

  def arm(self, events: RunEvents) -> None:
    """Attaches the hook, or one for an optimizer that `compile` has changed.

    Args:
      events: the run, which is told what happens between its calls.
    """
    self._events = events
    if self._was_recompiled():
      self._use_recompiled_optimizer()
    self._attach()
    self._iterations_at_begin = self.iterations()

  def _attach(self) -> None:
    assert self.hook is not None
    is_fit = self._fit.data_handler is not None
    self.hook.attach(_FitWatch(self) if is_fit else Watch())

  def disarm(self) -> None:
    """Detaches the hook, and takes the last callback out of Keras's list."""
    if self._last_callback is not None:
      callback_list.remove(self._fit.callback_list, self._last_callback)
      self._last_callback = None
    self._patches.restore()
    hook, self.hook = self.hook, None
    if hook is not None:
      hook.detach()
    # It has the training data, which need not live as long as the callback.
    self._fit = FitContext()

  def end_after_other_callbacks(self, end: Callable[[], None]) -> bool:
    """Lets Keras call a function after all callbacks, which may write weights.

    Args:
      end: the function.

    Returns:
      Whether there is a list of callbacks.
    """
    if self._fit.callback_list is None:
      return False
    self._last_callback = keras.callbacks.LambdaCallback(
      on_train_end=lambda _: end()
    )
    callback_list.add_last(self._fit.callback_list, self._last_callback)
    return True

  def iterations(self) -> int:
    """Returns the number of steps that the optimizer has done."""
    return int(self.optimizer.iterations.numpy())

  def check_step(self) -> None:
    """Raises if the last training step did not call the hook."""
    if self._fit.data_handler is None or self.hook is None:
      return
    if self.hook.calls == self._hook_calls:
      raise ValueError(
        'train_function of the model was replaced during fit by one that '
        'does not apply the masks: it must be made by '
        'model.make_train_function(force=True).'
      )
    self._hook_calls = self.hook.calls

  def check_optimizer_steps(self, batches: int) -> None:
    """Raises if the optimizer has not moved in a custom training loop.

    Args:
      batches: the number of batches of the epoch.
    """
    before, self._iterations_at_begin = self._iterations_at_begin, None
    if self._fit.data_handler is not None or before is None or not batches:
      return
    # Loss scaling skips steps whose gradients overflow.
    scales_loss = self.optimizer is not optimizer_traits.inner(self.optimizer)
    if self.iterations() == before and not scales_loss:
      raise ValueError(
        f'{optimizer_search.describe(self.optimizer)}, the optimizer of the '
        'model, has done no step in this epoch: the model must be compiled '
        'with the optimizer that the training loop applies.'
      )

  def check_trained(self, trained: set[int], ramps: bool) -> None:
    """Raises or warns if the optimizer trains no wrapped kernel.

    Args:
      trained: indices of the kernels that the optimizer was given.
      ramps: whether the step has a penalty.
    """
    assert self._events is not None
    if trained or not self._events.needs_training:
      return
    if not self._layers.trainable():
      model_checks.check_not_frozen(self._layers, ramps)
      return
    optimizer = optimizer_search.describe(self.optimizer)
    if ramps:
      raise ValueError(
        'train_step of the model must apply its gradients by model.optimizer, '
        f'{optimizer}, or by another optimizer that is an attribute of the '
        'model. It does not, or only in a tf.function that was traced before '
        'this fit, so the ramp has no effect. Use such an optimizer, or pass '
        'ramp=L2Ramp(limit=0).'
      )
    if self._events.rewinds:
      warn_user(
        f'{optimizer} does not apply the gradients of the wrapped layers. The '
        'optimizer that does is not rewound, and its learning rate is not '
        'restarted: make it an attribute of the model.',
      )

  def follow_optimizer(self) -> bool:
    """Switches to the model's new optimizer; returns whether there is one."""
    if self.hook is None or not self._was_recompiled():
      return False
    assert self._events is not None
    self.hook.detach()
    before = self.iterations()
    self._use_recompiled_optimizer()
    self._events.on_optimizer_replaced(self.iterations() - before)
    self._attach()
    return True

  def _was_recompiled(self) -> bool:
    """Returns whether `compile` has given the model another optimizer."""
    return self._compiled_optimizer not in (None, self._model.optimizer)

  def _use_recompiled_optimizer(self) -> None:
    """Creates a hook for the optimizer of the last `compile`."""
    model_checks.check_compiled(self._model)
    self._compiled_optimizer = self.optimizer = self._model.optimizer
    self._make_hook()

  def restore_written(self) -> None:
    """Restores the masks if other code has written kernels since the step."""
    if self.hook is not None and self.hook.was_written():
      self.on_write()

  def _release(self) -> None:
    if self._events is not None:
      self._events.release()

  # For `_FitWatch`.

  def is_alive(self) -> bool:
    """Returns whether the `fit` of the run is still in progress."""
    return fit_introspection.is_running(self._fit.data_handler)

  def on_error(self) -> None:
    """Releases the run, unless a nested `fit` failed and the outer goes on."""
    handler = self._fit.data_handler
    if fit_introspection.is_innermost(self._model, handler):
      self._release()

  def on_write(self) -> None:
    """Restores the masks, since other code has written kernels."""
    if self._events is not None:
      self._events.restore_masks()


class _FitWatch(Watch):
  """Connects a hook with the `fit` that it belongs to.

  Args:
    armed: the armed fit.
  """

  is_own_loop = False

  def __init__(self, armed: ArmedFit):
    self._armed = armed

  def is_alive(self) -> bool:
    return self._armed.is_alive()

  def end(self) -> None:
    self._armed._release()

  def on_error(self) -> None:
    self._armed.on_error()

  def on_write(self) -> None:
    self._armed.on_write()

  def replace(self) -> bool:
    return self._armed.follow_optimizer()

  def check_trained(self, trained: set[int], ramps: bool) -> None:
    self._armed.check_trained(trained, ramps)


def end_earlier_run(model: keras.Model, callback_name: str) -> None:
  """Ends a run whose `fit` died; raises if the run is still active.

  Args:
    model: the model of the `fit` that begins.
    callback_name: the class of its ticket callback, for the message.

  Raises:
    ValueError: the `fit` is nested in one that has a ticket callback.
  """
  hook = armed_hook(model)
  if hook is None:
    return
  if not hook.watch.is_own_loop and hook.watch.is_alive():
    raise ValueError(
      f'callbacks of a nested fit must not include {callback_name}: the outer '
      'fit has a ticket callback, whose run continues in the nested fit.'
    )
  hook.detach()
  hook.watch.end()

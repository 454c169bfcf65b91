"""A run that is armed: its hook is attached to the model while `fit` runs."""

import abc
import contextlib
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np

from tf_unilth.algorithms import fit_checks
from tf_unilth.algorithms.algorithm_steps import AlgorithmSteps
from tf_unilth.algorithms.event_log import Messages
from tf_unilth.argument_checks import check_option
from tf_unilth.engines.tfmot import (
  data_handler,
  fit_introspection,
  optimizer_search,
  optimizer_traits,
)
from tf_unilth.engines.tfmot.keras_access import keras
from tf_unilth.engines.tfmot.snapshots import Snapshot
from tf_unilth.engines.tfmot.train_hook import TrainStepHook, armed_hook
from tf_unilth.engines.tfmot.train_step import Watch
from tf_unilth.schedules.l2_ramp import L2Ramp


class ArmedRun(AlgorithmSteps, keras.callbacks.Callback, abc.ABC):
  """Attaches the hook of a run to the model, and detaches it at the run's end.

  Args:
    ramp: the L2 ramp of each round, `None` for none.
    verbose: 0 is silent, 1 prints a line per event, 2 a line per round too.
  """

  def __init__(self, ramp: L2Ramp | None, verbose: int):
    super().__init__()
    self.verbose = check_option('verbose', verbose, (0, 1, 2))
    self.params: Any = None  # Set by Keras.
    self._ramp = ramp if ramp is not None and ramp.limit != 0 else None
    self._messages = Messages(type(self).__name__, verbose)
    self._rewind_weights: list[np.ndarray] | None = None
    # Of the current or last `fit`; set in on_train_begin.
    self._layers: Any = None
    self._pruner: Any = None
    self._state: Any = None
    self._optimizer: Any = None
    # The model's optimizer if the run uses it, else None.
    self._compiled_optimizer: Any = None
    self._hook: TrainStepHook | None = None
    self._hook_calls = 0
    self._callback_list: Any = None
    self._data_handler: Any = None
    self._run_token: Any = None  # A new object for each run.
    self._iterations_at_begin: int | None = None
    self._inert = self._is_running = self._ends_after_others = False
    # Whether the target was reached before the `fit`.
    self._already_pruned = False
    self._epoch_batches = 0

  @property
  @abc.abstractmethod
  def reached_target(self) -> bool:
    """Whether the masks have the target sparsity."""

  @abc.abstractmethod
  def _follow_optimizer(self) -> bool:
    """Switches to the model's new optimizer; returns whether there is one."""

  def _prepare_run(self) -> None:
    """Creates the hook, and the variables into which state may be restored."""
    optimizer_traits.build(self._optimizer, self.model)
    while len(self._state.snapshots) < self._snapshot_count():
      self._state.add_snapshot()
    if self._ramp is not None and not self._state.candidates:
      self._state.candidates.extend(self._layers.new_candidates())
    self._hook = self._new_hook()
    self._run_token = token = object()
    if self._data_handler is not None:
      data_handler.on_death(
        self._data_handler,
        lambda: self._release() if self._run_token is token else None,
      )

  def _new_hook(self) -> TrainStepHook:
    return TrainStepHook(
      self.model, self._optimizer, self._layers, self._state, self._ramp
    )

  def _attach_hook(self) -> None:
    assert self._hook is not None
    handler = self._data_handler
    self._hook.attach(Watch() if handler is None else _FitWatch(self, handler))

  def _check_hook_was_called(self, hook: TrainStepHook) -> None:
    """Raises if the last training step did not call the hook."""
    if hook.calls == self._hook_calls:
      with self._releasing_on_error():
        raise ValueError(
          'train_function of the model was replaced during fit by one that '
          'does not apply the masks: it must be made by '
          'model.make_train_function(force=True).'
        )
    self._hook_calls = hook.calls

  def _check_optimizer_steps(self) -> None:
    """Raises if the optimizer has not moved in a custom training loop."""
    before, self._iterations_at_begin = self._iterations_at_begin, None
    if (
      self._data_handler is not None
      or before is None
      or not self._epoch_batches
    ):
      return
    # Loss scaling skips steps whose gradients overflow.
    scales_loss = self._optimizer is not optimizer_traits.inner(self._optimizer)
    if self._iterations() == before and not scales_loss:
      raise ValueError(
        f'{optimizer_search.describe(self._optimizer)}, the optimizer of the '
        'model, has done no step in this epoch: the model must be compiled '
        'with the optimizer that the training loop applies.'
      )

  def _check_trained(self, trained: set[int], ramps: bool) -> None:
    """Raises or warns if the optimizer trains no wrapped kernel.

    Args:
      trained: indices of the kernels that the optimizer was given.
      ramps: whether the step has a penalty.
    """
    if trained or self._already_pruned:
      return
    if not self._layers.trainable():
      fit_checks.check_not_frozen(self._layers, ramps)
      return
    optimizer = optimizer_search.describe(self._optimizer)
    if ramps:
      raise ValueError(
        'train_step of the model must apply its gradients by model.optimizer, '
        f'{optimizer}, or by another optimizer that is an attribute of the '
        'model. It does not, or only in a tf.function that was traced before '
        'this fit, so the ramp has no effect. Use such an optimizer, or pass '
        'ramp=L2Ramp(limit=0).'
      )
    if self._snapshot_count():
      warnings.warn(
        f'{optimizer} does not apply the gradients of the wrapped layers. The '
        'optimizer that does is not rewound, and its learning rate is not '
        'restarted: make it an attribute of the model.',
        stacklevel=2,
      )

  def _was_recompiled(self) -> bool:
    """Returns whether `compile` has given the model another optimizer."""
    return self._compiled_optimizer not in (None, self.model.optimizer)

  def _use_recompiled_optimizer(self) -> None:
    """Creates a hook for the optimizer of the last `compile`."""
    fit_checks.check_compiled(self.model)
    self._compiled_optimizer = self._optimizer = self.model.optimizer
    optimizer_traits.build(self._optimizer, self.model)
    self._hook = self._new_hook()

  def _iterations(self) -> int:
    return int(self._optimizer.iterations.numpy())

  def _end_earlier_run(self) -> None:
    """Ends a run whose `fit` died; raises if the run is still active."""
    hook = armed_hook(self.model)
    if hook is None:
      return
    if not hook.watch.is_own_loop and hook.watch.is_alive():
      name = type(self).__name__
      raise ValueError(
        f'callbacks of a nested fit must not include {name}: the outer fit has '
        'a ticket callback, whose run continues in the nested fit.'
      )
    hook.detach()
    hook.watch.end()

  def _end_after_other_callbacks(self) -> None:
    """Lets the run end after all callbacks, which may write weights at the end.

    The list is replaced, not changed: Keras is iterating over it, and the user
    may pass it again.
    """
    callbacks = self._callback_list
    if callbacks is not None:
      last = _LastCallback(self._end)
      callbacks.callbacks = [*_without_last(callbacks.callbacks), last]
      self._ends_after_others = True

  def _remove_last_callback(self) -> None:
    """Removes `_LastCallback`; an iteration that has begun still calls it."""
    callbacks, self._callback_list = self._callback_list, None
    if callbacks is not None:
      callbacks.callbacks = _without_last(callbacks.callbacks)

  def _assign_masks(self) -> None:
    """Writes the masks of the last round, and zeros the pruned weights."""
    if not self._inert:
      self._layers.assign_masks(self._pruner.masks)

  def _rewindable_variables(self) -> list[Any]:
    """Returns the variables in a snapshot: weights, statistics, optimizer."""
    return [*self._layers.model_weights, *self._optimizer.variables()]

  def _rewind(self, snapshot: Snapshot) -> None:
    """Restores a snapshot, except for pruned weights, which stay zero."""
    values = snapshot.restore(self._rewindable_variables())
    self._rewind_weights = values[: len(self._layers.model_weights)]
    self._apply_masks()

  def _apply_masks(self) -> None:
    """Zeros pruned weights and their optimizer slots."""
    self._layers.assign_masks(self._pruner.masks)
    self._clear_slots()

  def _clear_slots(self) -> None:
    if self._hook is not None:
      self._hook.clear_slots(self._pruner.masks)

  def _end(self) -> None:
    if not self._inert and self._pruner.restore_masks():
      self._say(
        'other weights or masks were put into the model after the last epoch; '
        'the masks are restored, but the weights may be of another epoch'
      )
    if self._hook is not None and self.reached_target:
      self._say(
        f'done: {self._pruner.zeros} of {self._pruner.total} weights are zero'
      )
    self._release()

  def _release(self) -> None:
    """Detaches the hook, and warns if the target was not met."""
    self._remove_last_callback()
    hook, self._hook = self._hook, None
    if hook is None:
      return
    hook.detach()
    if self._is_running and not self.reached_target:
      message = (
        f'fit ended early and the target was NOT met: {self._pruner.zeros} of '
        f'{self._pruner.total} weights are zero instead of '
        f'{self._pruner.target_zeros}'
      )
      self._say(message)
      self._messages.flush()
      warnings.warn(f'{type(self).__name__}: {message}.', stacklevel=2)
    self._messages.flush()

  @contextlib.contextmanager
  def _releasing_on_error(self) -> Iterator[None]:
    try:
      yield
    except BaseException:
      self._release()
      raise

  def _say(self, message: str) -> None:
    self._messages.say(message)


class _FitWatch(Watch):
  """Connects a hook with the run and the `fit` that it belongs to.

  Args:
    callback: the ticket callback of the run.
    data_handler: Keras's data handler of the `fit`.
  """

  is_own_loop = False

  def __init__(self, callback: ArmedRun, data_handler: Any):
    self._callback = callback
    self._data_handler = data_handler

  def is_alive(self) -> bool:
    return fit_introspection.is_running(self._data_handler)

  def end(self) -> None:
    self._callback._release()

  def on_error(self) -> None:
    # A nested fit or train_on_batch may fail while the outer fit goes on.
    if fit_introspection.is_innermost(self._callback.model, self._data_handler):
      self._callback._release()

  def on_write(self) -> None:
    self._callback._assign_masks()

  def replace(self) -> bool:
    return self._callback._follow_optimizer()

  def check_trained(self, trained: set[int], ramps: bool) -> None:
    self._callback._check_trained(trained, ramps)


class _LastCallback(keras.callbacks.LambdaCallback):
  """Calls a function when training ends, after all other callbacks.

  Args:
    end: the function, without arguments.
  """

  def __init__(self, end: Any):
    super().__init__(on_train_end=lambda _: end())


def _without_last(callbacks: list[Any]) -> list[Any]:
  return [c for c in callbacks if not isinstance(c, _LastCallback)]

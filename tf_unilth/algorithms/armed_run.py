"""A run that is armed: its hook is in the model while `fit` runs."""

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
  """Keeps the hook of a run in the model from the first epoch to the last.

  Args:
    ramp: the L2 ramp of each round, `None` for none.
    verbose: 0 is silent, 1 a line per event, 2 a line per round too.
  """

  def __init__(self, ramp: L2Ramp | None, verbose: int):
    super().__init__()
    self.verbose = check_option('verbose', verbose, (0, 1, 2))
    self._ramp = ramp if ramp is not None and ramp.limit != 0 else None
    self._messages = Messages(type(self).__name__, verbose)
    self._rewind_weights: list[np.ndarray] | None = None
    # Of the `fit` that is running or was the last; set as it begins.
    self._layers: Any = None
    self._pruner: Any = None
    self._state: Any = None
    self._optimizer: Any = None
    self._hook: TrainStepHook | None = None
    self._callback_list: Any = None
    self._handler: Any = None
    self._run: Any = None  # A new object for each run.
    self._followed: Any = None  # The model's optimizer, where it is ours.
    self._first_iterations: int | None = None
    self._inert = self._holding = self._is_running = self._ends_last = False
    self._batches = self._calls = 0

  @property
  @abc.abstractmethod
  def reached_target(self) -> bool:
    """Whether the sparsity that was asked for is met."""

  @abc.abstractmethod
  def _follow_optimizer(self) -> bool:
    """Continues with another optimizer, if the model was compiled anew."""

  def _prepare(self) -> None:
    """Makes room for the state, which others may restore, and for the hook."""
    optimizer_traits.build(self._optimizer, self.model)
    while len(self._state.snapshots) < self._snapshots():
      self._state.add_snapshot()
    if self._ramp is not None and not self._state.candidates:
      self._state.candidates.extend(self._layers.new_candidates())
    self._hook = self._new_hook()
    self._run = run = object()
    if self._handler is not None:
      data_handler.on_death(
        self._handler, lambda: self._release() if self._run is run else None
      )

  def _new_hook(self) -> TrainStepHook:
    return TrainStepHook(
      self.model, self._optimizer, self._layers, self._state, self._ramp
    )

  def _arm(self) -> None:
    """Puts the hook into the model."""
    assert self._hook is not None
    own_loop = self._handler is None
    self._hook.attach(Watch() if own_loop else _FitWatch(self, self._handler))

  def _check_armed(self, hook: TrainStepHook) -> None:
    """Raises if the step that is done was not one of ours."""
    if hook.calls == self._calls:
      with self._releasing_on_error():
        raise ValueError(
          'train_function of the model was replaced while fit runs, by one '
          'that does not hold the masks: use model.make_train_function('
          'force=True), which does.'
        )
    self._calls = hook.calls

  def _check_clock(self) -> None:
    """Raises if the optimizer of a loop of the user's own has not moved."""
    first, self._first_iterations = self._first_iterations, None
    if self._handler is not None or first is None or not self._batches:
      return
    # Loss scaling leaves out steps whose gradients overflow.
    scaled = self._optimizer is not optimizer_traits.inner(self._optimizer)
    if self._iterations() == first and not scaled:
      raise ValueError(
        f'{optimizer_search.describe(self._optimizer)}, the optimizer of the '
        'model, has done no step in this epoch: compile the model with the '
        'optimizer that the training loop applies.'
      )

  def _check_trained(self, trained: set[int], ramps: bool) -> None:
    """Says what a run lacks whose optimizer does not train wrapped kernels."""
    if trained or self._holding:
      return
    if not self._layers.trainable():
      fit_checks.check_not_frozen(self._layers, ramps)
      return
    optimizer = optimizer_search.describe(self._optimizer)
    if ramps:
      raise ValueError(
        "the model's train_step must apply its gradients by model.optimizer, "
        f'{optimizer}, or another optimizer that is an attribute of the model, '
        'but does not, or in a tf.function that was traced before this fit: '
        'the ramp would do nothing. Use it, or ramp=L2Ramp(limit=0).'
      )
    if self._snapshots():
      warnings.warn(
        f'{optimizer} does not apply the gradients of the wrapped layers. '
        'What does is not rewound, and its learning rate is not restarted: '
        'make the optimizer that trains them an attribute of the model.',
        stacklevel=2,
      )

  def _was_compiled_anew(self) -> bool:
    """Returns whether the model has another optimizer than the run."""
    return self._followed not in (None, self.model.optimizer)

  def _take_optimizer(self) -> None:
    """Makes a hook for the optimizer that the model was compiled with anew."""
    fit_checks.check_compiled(self.model)
    self._followed = self._optimizer = self.model.optimizer
    optimizer_traits.build(self._optimizer, self.model)
    self._hook = self._new_hook()

  def _iterations(self) -> int:
    return int(self._optimizer.iterations.numpy())

  def _end_earlier_run(self) -> None:
    """Ends a run that died unseen; raises where one still goes on."""
    hook = armed_hook(self.model)
    if hook is None:
      return
    if not hook.watch.is_own_loop and hook.watch.is_alive():
      name = type(self).__name__
      raise ValueError(
        f'callbacks of a fit inside of a fit must be without {name}: the outer '
        'fit has a ticket callback, whose run goes on in the inner one.'
      )
    hook.detach()
    hook.watch.end()

  def _have_the_last_word(self) -> None:
    """Ends the run after all callbacks, which may write weights at the end.

    The list is exchanged, since Keras is going through it; a user may use it
    again.
    """
    callbacks = self._callback_list
    if callbacks is not None:
      last = _LastCallback(self._end)
      callbacks.callbacks = [*_without_last(callbacks.callbacks), last]
      self._ends_last = True

  def _release_list(self) -> None:
    """Takes our last callback out; Keras still calls it, if it is about to."""
    callbacks, self._callback_list = self._callback_list, None
    if callbacks is not None:
      callbacks.callbacks = _without_last(callbacks.callbacks)

  def _hold_masks(self) -> None:
    """Puts the masks of the last round back, and zeros where they are."""
    if not self._inert:
      self._layers.assign_masks(self._pruner.masks)

  def _rewindable(self) -> list[Any]:
    """Returns what a snapshot holds: weights, statistics, optimizer state."""
    return [*self._layers.model_weights, *self._optimizer.variables()]

  def _rewind(self, snapshot: Snapshot) -> None:
    """Puts a snapshot back, but for what is pruned, which stays zero."""
    values = snapshot.restore(self._rewindable())
    self._rewind_weights = values[: len(self._layers.model_weights)]
    self._apply_masks()

  def _apply_masks(self) -> None:
    """Sets to zero what is pruned, which nothing in a train step will move."""
    self._layers.assign_masks(self._pruner.masks)
    self._clear_slots()

  def _clear_slots(self) -> None:
    if self._hook is not None:
      self._hook.clear_slots(self._pruner.masks)

  def _end(self) -> None:
    if not self._inert and self._pruner.restore_masks():
      self._say(
        'other weights or masks were put into the model after the last '
        'epoch; the masks are back, the weights may be of another epoch'
      )
    if self._hook is not None and self.reached_target:
      self._say(
        f'done: {self._pruner.zeros} of {self._pruner.total} weights are zero'
      )
    self._release()

  def _release(self) -> None:
    """Takes the hook out of the model, and says if the target was missed."""
    self._release_list()
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
  """Watches the `fit` around a run.

  Args:
    callback: whose run it is.
    data_handler: Keras's, of the `fit`.
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
    # A fit or train_on_batch inside of it may fail, and ours go on.
    if fit_introspection.is_innermost(self._callback.model, self._data_handler):
      self._callback._release()

  def on_write(self) -> None:
    self._callback._hold_masks()

  def replace(self) -> bool:
    return self._callback._follow_optimizer()

  def check_trained(self, trained: set[int], ramps: bool) -> None:
    self._callback._check_trained(trained, ramps)


class _LastCallback(keras.callbacks.LambdaCallback):
  """Acts when training ends, after all other callbacks."""

  def __init__(self, end: Any):
    super().__init__(on_train_end=lambda _: end())


def _without_last(callbacks: list[Any]) -> list[Any]:
  return [c for c in callbacks if not isinstance(c, _LastCallback)]

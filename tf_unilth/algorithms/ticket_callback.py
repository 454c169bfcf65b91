"""The ticket callback: Keras's hooks and the public properties and methods."""

from typing import Any

import numpy as np
import tensorflow as tf

from tf_unilth.algorithms import fit_checks
from tf_unilth.algorithms.algorithm_steps import NEVER
from tf_unilth.algorithms.mask_updates import Pruner
from tf_unilth.algorithms.pruning_run import PruningRun
from tf_unilth.engines.tfmot import (
  fit_introspection,
  keras_3_errors,
  optimizer_search,
  unpruned_layers,
)
from tf_unilth.engines.tfmot.keras_access import keras
from tf_unilth.engines.tfmot.pruned_model import PrunedLayers
from tf_unilth.engines.tfmot.run_state import RunState
from tf_unilth.run.timeline import Timeline


class TicketCallback(PruningRun):
  """Base class of LTH, DLTH, UniLTH and UniDLTH, which are final.

  It replaces tfmot's `UpdatePruningStep`, so one callback is enough. A final
  class chooses the scores that rank the weights and the ramp, and overrides
  methods of `AlgorithmSteps`. All state that a resumed run needs is in the
  `RunState` of the model's schedule. The attributes of the callback are derived
  from it when the first epoch of a `fit` begins.

  Args:
    scores: rank the weights.
    ramp: the L2 ramp of each round, `None` for none.
    finetune_fraction: share of the steps of stages 2 and 3 that follows the
      last round, in [0, 1].
    verbose: 0 is silent, 1 prints a line per event, 2 a line per round too.
  """

  # Lets Keras pass batch logs as tensors, without waiting for their values.
  _supports_tf_logs = True
  # Constructor arguments that `settings` reports besides those set here.
  _extra_settings: tuple[str, ...] = ()

  @property
  def plateau_epoch(self) -> int | None:
    """The (1-based) epoch whose end was the plateau; `None` without one."""
    return self._recorded_epoch('plateau_epoch')

  @property
  def rewound_to_epoch(self) -> int | None:
    """The epoch to whose end `fit` was rewound (0: the start), or `None`."""
    return self._recorded_epoch('rewound_to_epoch')

  @property
  def rounds(self) -> int:
    """The number of completed pruning rounds."""
    return self._require_run_state().get('round')

  @property
  def sparsity(self) -> float:
    """The fraction of the wrapped weights that is pruned, in [0, 1)."""
    self._require_run_state()
    return self._pruner.zeros / self._pruner.total

  @property
  def reached_target(self) -> bool:
    """Whether the masks have the target sparsity."""
    self._require_run_state()
    return self._pruner.reached_target

  @property
  def seed(self) -> int | None:
    """The seed of a random ticket, `None` for a magnitude ticket."""
    return getattr(self._scores, 'seed', None)

  @property
  def rewind_weights(self) -> list[np.ndarray] | None:
    """The weights that `fit` has rewound to, before any of them was pruned.

    They are in the order of the weights of the model before it was wrapped.
    With `pretrained=True` they are the weights before `fit`. `None` if neither
    this process has rewound weights, nor the run that a `CheckpointAndResume`
    has restored. The arrays stay on the host until another run begins or the
    callback is deleted. Do not write them.
    """
    return self._rewind_weights

  def _recorded_epoch(self, name: str) -> int | None:
    epoch = self._require_run_state().get(name)
    return None if epoch < 0 else epoch

  def _require_run_state(self) -> RunState:
    if self._state is None:
      raise RuntimeError(f'{type(self).__name__} has not been used in fit yet.')
    return self._state

  def speak_as(self, name: str) -> None:
    """Sets the name that begins each printed line; the default is the class's.

    Args:
      name: the new name.
    """
    self._messages.speaker = name

  def penalty(self) -> tf.Tensor:
    """Returns the ramped penalty, a scalar to add to the loss of a step.

    Only for custom training loops; `fit` adds it automatically. Call it in the
    graph, inside of the gradient tape.
    """
    return self._hook.penalty() if self._hook else tf.constant(0.0)

  def after_step(self) -> None:
    """Applies the masks. Call it after the optimizer's step.

    Only for custom training loops; `fit` applies them automatically.
    """
    if self._hook:
      self._hook.after_step()

  @property
  def settings(self) -> dict[str, Any]:
    """The constructor arguments as text; a resumed run must have the same."""
    names = ('scores', 'ramp', 'finetune_fraction', *self._extra_settings)
    return {name: repr(getattr(self, f'_{name}')) for name in names}

  def after_restore(self) -> None:
    """Notes that a checkpoint was restored into the model as `fit` began."""
    self._restored = True
    self._pruner.load_masks()

  def set_model(self, model: Any) -> None:
    """Sets the model.

    Args:
      model: the tf_keras model that the callback is used with.

    Raises:
      TypeError: the model or a callback of the `fit` is of Keras 3, which
        passes its models to callbacks of tf_keras too.
    """
    keras_3_errors.check_keras(model, 'model', keras.Model)
    keras_3_errors.check_callbacks_of_fit()
    super().set_model(model)

  def on_train_begin(self, logs: Any = None) -> None:
    """Checks the model and the `fit`, and prepares a run."""
    fit = fit_introspection.fit_arguments(self.model)
    self._end_earlier_run()
    fit_checks.check_loop(self.params)
    fit_checks.check_compiled(self.model)
    self._callback_list = fit.get('callback_list')
    if fit:
      fit_checks.check_callbacks(self, fit['callbacks'], TicketCallback)
    self._layers = PrunedLayers(self.model)
    self._layers.check()
    unpruned_layers.remind(self.model)
    self._pruner = Pruner(self._layers, self._pace, self._scores.ranking_scope)
    self._inert = self._pruner.is_inert
    self._restored = not self._pruner.schedules[0].was_attached
    self._state = self._pruner.attach_to_run(self.model)
    self._layers.save_run_state_in_config(self._state)
    self._timeline = Timeline(self._state, self._finetune_share)
    self._layers.disable_tfmot_updates()
    self._run_begun = self._already_pruned = False
    self._is_running = self._ends_after_others = False
    self._next_event_step, self._epoch_batches, self._hook_calls = NEVER, 0, 0
    self._pruner.load_masks()
    self._data_handler = fit.get('data_handler')
    self._find_optimizer(fit)
    if not self._inert:
      self._prepare_run()

  def _find_optimizer(self, fit: dict[str, Any]) -> None:
    """Sets the optimizer that trains the wrapped layers."""
    self._optimizer = optimizer_search.reachable(self.model)[0]
    if not self._inert and not self.reached_target:
      self._optimizer = optimizer_search.training_optimizer(
        self.model, self._layers, self._data_handler
      )
      self._check_fit(fit)
    # `compile` replaces model.optimizer alone, no other optimizer of the model.
    is_compiled = self._optimizer is self.model.optimizer
    self._compiled_optimizer = self._optimizer if is_compiled else None

  def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
    """Begins the run in the first epoch, and applies the masks in others."""
    self._messages.flush()
    if not self._run_begun:
      # By now BackupAndRestore, if there is one, has restored the state.
      self._run_begun = True
      with self._releasing_on_error():
        self._begin(epoch)
        self._end_after_other_callbacks()
    else:
      # Other callbacks may have written weights and masks, as averaging does.
      self._assign_masks()
    self._epoch_begin_step = self._timeline.step_at(epoch)
    self._epoch_batches = 0

  def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
    """Ends rounds and runs other events that are due at this step."""
    self._epoch_batches = batch + 1
    if self._data_handler is not None and self._hook is not None:
      self._check_hook_was_called(self._hook)
    step = self._epoch_begin_step + self._epoch_batches
    if step >= self._next_event_step:
      with self._releasing_on_error():
        self._run_due_events(step)

  def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
    """Checks the weights, ends stage 1 if due, and adds to the epoch logs."""
    logs = {} if logs is None else logs
    with self._releasing_on_error():
      if self._hook is not None and self._hook.was_written():
        self._assign_masks()
      if not self._state.get('steps_per_epoch'):
        self._record_steps_per_epoch()
      if not self._inert:
        fit_checks.check_kernels(self._layers)
        fit_checks.check_finite(self.model, logs)
      if not self._inert and not self._already_pruned:
        self._check_optimizer_steps()
        self._on_epoch(epoch + 1, logs)
    self._state.set(next_epoch=epoch + 1, iterations=self._iterations())
    logs['sparsity'] = self.sparsity
    logs['stage'] = self._state.get('stage')
    logs['round'] = self._state.get('round')
    logs['l2_lambda'] = self._l2_lambda()

  def on_train_end(self, logs: Any = None) -> None:
    """Ends the run, or detaches the hook if `_LastCallback` will end it."""
    if not self._ends_after_others:
      self._end()
      return
    # Detached now, since a later callback may raise before the run has ended.
    if self._hook is not None:
      self._hook.detach()
    self._remove_last_callback()

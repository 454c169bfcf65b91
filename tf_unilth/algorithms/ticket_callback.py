"""The ticket callback: Keras's hooks and what a user can ask."""

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
  """What LTH, DLTH, UniLTH and UniDLTH share; those four are its final classes.

  It does what tfmot's `UpdatePruningStep` does, so one callback is enough. A
  final class says which scores rank the weights, what prepares and what
  follows a round, and how long things take. All that a resumed run needs is in
  the `RunState` of the model's schedule; what stands here is derived from it
  when the first epoch of a `fit` begins.

  Args:
    scores: which weights go.
    ramp: the L2 ramp of each round, `None` for none.
    finetune_fraction: the share of stages 2 and 3 after the last round.
    verbose: 0 is silent, 1 a line per event, 2 a line per round too.
  """

  # Keras need not wait for a step's metrics on behalf of our batch hook.
  _supports_tf_logs = True
  # Attributes that its constructor sets beside those set here.
  _settings: tuple[str, ...] = ()

  # What a user can ask.

  @property
  def plateau_epoch(self) -> int | None:
    """The epoch, from 1, at whose end the plateau was reached, if it was."""
    return self._epoch('plateau_epoch')

  @property
  def rewound_to_epoch(self) -> int | None:
    """The epoch to whose end stage 1 was rewound (0: the start), if it was."""
    return self._epoch('rewound_to_epoch')

  @property
  def rounds(self) -> int:
    """How many rounds of pruning are completed."""
    return self._run_state().get('round')

  @property
  def sparsity(self) -> float:
    """The fraction of the wrapped weights that is pruned, in [0, 1)."""
    self._run_state()
    return self._pruner.zeros / self._pruner.total

  @property
  def reached_target(self) -> bool:
    """Whether the sparsity that was asked for is met."""
    self._run_state()
    return self._pruner.reached_target

  @property
  def seed(self) -> int | None:
    """What the ticket is drawn from, `None` if it is found."""
    return getattr(self._scores, 'seed', None)

  @property
  def rewind_weights(self) -> list[np.ndarray] | None:
    """The weights that `fit` has rewound to, before any of them was pruned.

    In the order of the model's weights before it was wrapped. `None` if it
    has not rewound weights in this process, or before it in the run that a
    `CheckpointAndResume` goes on with. They are what the snapshot held, kept on
    the host until another run begins or the callback goes; not to be written.
    With `pretrained=True` they are the weights that the model came with.
    """
    return self._rewind_weights

  def _epoch(self, name: str) -> int | None:
    epoch = self._run_state().get(name)
    return None if epoch < 0 else epoch

  def _run_state(self) -> RunState:
    if self._state is None:
      raise RuntimeError(f'{type(self).__name__} has not been used in fit yet.')
    return self._state

  def speak_as(self, name: str) -> None:
    """Lets its messages begin with another name than that of its class."""
    self._messages.speaker = name

  def penalty(self) -> tf.Tensor:
    """Returns the ramped penalty, a scalar to add to the loss of a step.

    Only for a loop of your own; `fit` adds it by itself. Call it in the graph,
    inside of the gradient tape.
    """
    return self._hook.penalty() if self._hook else tf.constant(0.0)

  def after_step(self) -> None:
    """Holds the masks, after the optimizer of a step.

    Only for a loop of your own; `fit` does it by itself.
    """
    if self._hook:
      self._hook.after_step()

  @property
  def settings(self) -> dict[str, Any]:
    """What it was made with, in words; a run goes on with the same."""
    names = ('scores', 'ramp', 'finetune_fraction', *self._settings)
    return {name: repr(getattr(self, f'_{name}')) for name in names}

  def after_restore(self) -> None:
    """Takes note that a checkpoint was put into the model as `fit` began."""
    self._restored = True
    self._pruner.load_masks()

  def set_model(self, model: Any) -> None:
    """Takes the model; Keras 3 hands its own to callbacks of tf_keras too."""
    keras_3_errors.check_keras(model, 'model', keras.Model)
    keras_3_errors.check_callbacks_of_fit()
    super().set_model(model)

  def on_train_begin(self, logs: Any = None) -> None:
    fit = fit_introspection.fit_arguments(self.model)
    self._end_earlier_run()
    fit_checks.check_loop(getattr(self, 'params', None))
    fit_checks.check_compiled(self.model)
    self._callback_list = fit.get('callback_list')
    if fit:
      fit_checks.check_callbacks(self, fit['callbacks'], TicketCallback)
    self._layers = PrunedLayers(self.model)
    self._layers.check()
    unpruned_layers.remind(self.model)
    self._pruner = Pruner(self._layers, self._pace, self._scores.scope_of)
    self._inert = self._pruner.is_inert
    self._restored = not self._pruner.schedules[0].was_attached
    self._state = self._pruner.attach_to_run(self.model)
    self._layers.save_run_state_in_config(self._state)
    self._timeline = Timeline(self._state, self._finetune_share)
    self._layers.disable_tfmot_updates()
    self._begun = self._holding = self._is_running = self._ends_last = False
    self._next_event_step, self._batches, self._calls = NEVER, 0, 0
    self._pruner.load_masks()
    self._handler = fit.get('data_handler')
    prunes = not self._inert and not self.reached_target
    self._optimizer = optimizer_search.reachable(self.model)[0]
    if prunes:  # Else the masks are held, no more.
      self._optimizer = optimizer_search.training_optimizer(
        self.model, self._layers, self._handler
      )
      self._check_fit(fit)
    # An optimizer of the model's own is not compiled anew.
    is_compiled = self._optimizer is self.model.optimizer
    self._followed = self._optimizer if is_compiled else None
    if not self._inert:
      self._prepare()

  def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
    self._messages.flush()
    if not self._begun:
      # BackupAndRestore, if there is one, has put the state back by now.
      self._begun = True
      with self._releasing_on_error():
        self._begin(epoch)
        self._have_the_last_word()
    else:
      # Other callbacks may have written weights and masks, as averaging does.
      self._hold_masks()
    self._epoch_begin, self._batches = self._timeline.step_at(epoch), 0

  def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
    self._batches = batch + 1
    if self._handler is not None and self._hook is not None:
      self._check_armed(self._hook)
    if self._epoch_begin + batch + 1 >= self._next_event_step:
      with self._releasing_on_error():
        self._do_due(self._epoch_begin + batch + 1)

  def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
    logs = {} if logs is None else logs
    with self._releasing_on_error():
      if self._hook is not None and self._hook.was_written():
        self._hold_masks()
      if not self._state.get('steps_per_epoch'):
        self._count_steps()
      if not self._inert:
        fit_checks.check_kernels(self._layers)
        fit_checks.check_finite(self.model, logs)
      if not self._inert and not self._holding:
        self._check_clock()
        self._on_epoch(epoch + 1, logs)
    self._state.set(next_epoch=epoch + 1, iterations=self._iterations())
    logs['sparsity'] = self.sparsity
    logs['stage'] = self._state.get('stage')
    logs['round'] = self._state.get('round')
    logs['l2_lambda'] = self._l2_lambda()

  def on_train_end(self, logs: Any = None) -> None:
    if not self._ends_last:
      self._end()
      return
    # Should another callback raise now, nothing of the run is left.
    if self._hook is not None:
      self._hook.detach()
    self._release_list()

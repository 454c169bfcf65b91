"""Restores a run from a checkpoint, in the order in which Keras allows it."""

from collections.abc import Callable
from typing import Any

from tf_unilth.algorithms.ticket_callback import TicketCallback
from tf_unilth.engines.fit_context import FitContext
from tf_unilth.engines.patches import Patches
from tf_unilth.engines.tfmot import data_handler
from tf_unilth.resume import (
  data_replay,
  random_state,
  resume_checks,
  training_state,
)
from tf_unilth.resume.checkpoint_file import Checkpoint
from tf_unilth.resume.training_state import TrainingState


class CheckpointRestorer:
  """Restores a checkpoint in three steps.

  In `on_train_begin`: variables and the state of the ticket callback. Before
  the first epoch, with the data in position: variables that only a trace of the
  train step creates. In `on_epoch_begin`, or `on_train_end` if no epoch is
  left: what other callbacks, or reading the data, would reset.

  Args:
    callback: the CheckpointAndResume callback; its model is restored.
    state: the state of the `fit`.
    fit: the running `fit`, with the defaults in a custom loop.
    patches: those of the `fit`.
    directory: the directory of the checkpoints, for messages.
  """

  def __init__(
    self,
    callback: Any,
    state: TrainingState,
    fit: FitContext,
    patches: Patches,
    directory: str,
  ):
    self._callback, self._state, self._fit = callback, state, fit
    self._handler, self._directory = fit.data_handler, directory
    self._patches = patches
    self._pending: Checkpoint | None = None

  @property
  def pending(self) -> Checkpoint | None:
    """The checkpoint whose last step of restoring is still to come."""
    return self._pending

  def restore(
    self, newest: Checkpoint, on_restored: Callable[[Checkpoint], None]
  ) -> None:
    """Restores what does not need a trace, and replays the data.

    Args:
      newest: the checkpoint.
      on_restored: called with it before the data are replayed.
    """
    self._state.set_variables(newest.variables)
    self._state.set_python_states(newest.values)
    for callback in self._state.callbacks:
      if isinstance(callback, TicketCallback):
        callback.after_restore()
    self._pending = newest
    on_restored(newest)
    if self._handler is not None:
      data_replay.resume(
        self._handler,
        newest.epoch,
        newest.step,
        newest.finished,
        lambda iterator: self._trace(iterator, newest),
        # Before on_train_end, in which some callbacks restore weights.
        lambda: self._restore_rest(newest),
        self._patches,
      )
      past = range(newest.first_epoch, newest.epoch)
      data_replay.replay_validation(self._callback.model, self._fit, past)

  def restore_pending(self) -> None:
    """Takes the last step, if it is still to come."""
    if self._pending is not None:
      self._restore_rest(self._pending)

  def _trace(self, iterator: Any, newest: Checkpoint) -> None:
    """Traces the train step, if that creates variables to restore.

    Those are the metrics of an epoch, and the slots of optimizers that the
    model was not compiled with.
    """
    model = self._callback.model
    untraced = newest.variables.keys() - self._state.variables().keys()
    if untraced or (newest.step and not model.metrics_names):
      training_state.trace_train_step(model, iterator)
    if untraced:
      self._state.set_variables({n: newest.variables[n] for n in untraced})
      resume_checks.check_complete(self._directory, newest, self._state)

  def _restore_rest(self, newest: Checkpoint) -> None:
    self._pending = None
    self._state.set_counters(newest.values)
    if newest.step or newest.finished:  # Otherwise an epoch has just begun.
      self._state.set_metrics(newest.values)
    if not self._replays_generator(newest):
      random_state.set_host_state(newest.values['random'])

  def _replays_generator(self, newest: Checkpoint) -> bool:
    """Returns whether replaying the data has advanced the host's random state.

    Generators and Sequences draw ahead, from Python's and NumPy's generators,
    so that the saved state of those does not belong to one step.
    """
    handler = self._handler
    return (
      handler is not None
      and data_replay.initial_epoch(handler) == newest.first_epoch
      and data_handler.reads_generator(handler)
    )

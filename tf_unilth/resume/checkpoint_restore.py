"""Restores a run from a checkpoint, in the order in which Keras allows it."""

from collections.abc import Callable
from typing import Any

from tf_unilth.algorithms.ticket_callback import TicketCallback
from tf_unilth.engines.patches import Patches
from tf_unilth.resume import resume_checks
from tf_unilth.resume.checkpoint_file import Checkpoint
from tf_unilth.resume.training_access import FitData
from tf_unilth.resume.training_state import TrainingState


class CheckpointRestorer:
  """Restores a checkpoint in three steps.

  In `on_train_begin`: variables and the state of the ticket callback. Before
  the first epoch, with the data in position: variables that only a trace of the
  train step creates. In `on_epoch_begin`, or `on_train_end` if no epoch is
  left: what other callbacks, or reading the data, would reset.

  Args:
    state: the state of the `fit`.
    data: those of the `fit`, `None` in a custom loop.
    patches: those of the `fit`.
    directory: the directory of the checkpoints, for messages.
  """

  def __init__(
    self,
    state: TrainingState,
    data: FitData | None,
    patches: Patches,
    directory: str,
  ):
    self._state, self._data = state, data
    self._patches, self._directory = patches, directory
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
    self._state.set_states(newest.values)
    for callback in self._state.callbacks:
      if isinstance(callback, TicketCallback):
        callback.after_restore()
    self._pending = newest
    on_restored(newest)
    if self._data is not None:
      self._data.resume(
        newest,
        lambda data: self._create_variables(data, newest),
        # Before on_train_end, in which some callbacks restore weights.
        lambda: self._restore_rest(newest),
        self._patches,
      )
      self._data.replay_validation(range(newest.first_epoch, newest.epoch))

  def restore_pending(self) -> None:
    """Takes the last step, if it is still to come."""
    if self._pending is not None:
      self._restore_rest(self._pending)

  def _create_variables(self, data: Any, newest: Checkpoint) -> None:
    """Creates variables that only a train step creates, and restores them.

    Those are the metrics of an epoch, and the slots of optimizers that the
    model was not compiled with.
    """
    access = self._state.access
    missing = newest.variables.keys() - self._state.variables().keys()
    has_metrics = not newest.step or (
      newest.values['metrics'].keys() <= access.metric_variables().keys()
    )
    if missing or not has_metrics:
      access.create_variables(data)
    if missing:
      self._state.set_variables({n: newest.variables[n] for n in missing})
      resume_checks.check_complete(self._directory, newest, self._state)
    if not has_metrics:
      self._state.set_metrics(newest.values)

  def _restore_rest(self, newest: Checkpoint) -> None:
    self._pending = None
    self._state.set_counters(newest.values)
    if newest.step or newest.finished:  # Otherwise an epoch has just begun.
      self._state.set_metrics(newest.values)
    if self._data is None or self._data.restores_random_state(newest):
      self._state.access.set_random(newest.values['random'])

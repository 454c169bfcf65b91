"""ResumableFit: one `fit` that is resumed, saved and stopped by signals."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from tf_unilth.algorithms.event_log import EventLog
from tf_unilth.algorithms.keras_callback import KerasCallback
from tf_unilth.algorithms.ticket_callback import TicketCallback
from tf_unilth.engines.fit_context import FitContext
from tf_unilth.files import synchronization
from tf_unilth.resume import resume_checks, run_description, training_access
from tf_unilth.resume.checkpoint_file import Checkpoint
from tf_unilth.resume.checkpoint_restore import CheckpointRestorer
from tf_unilth.resume.checkpoint_store import CheckpointDirectory
from tf_unilth.resume.fit_resources import FitResources
from tf_unilth.resume.training_state import TrainingState
from tf_unilth.wording import count


@dataclasses.dataclass(frozen=True)
class ResumeOptions:
  """The arguments of a CheckpointAndResume callback.

  Args:
    directory: the checkpoints.
    config: the user's description of the run, as JSON can hold it.
    every_steps: save after this many steps, at least 1, besides epoch ends;
      `None`: at epoch ends only.
    messages: the callback's messages.
  """

  directory: CheckpointDirectory
  config: dict[str, Any]
  every_steps: int | None
  messages: EventLog


@dataclasses.dataclass
class Position:
  """How far a run has come.

  Args:
    epoch: the number of completed epochs.
    step: the number of completed steps of the next epoch.
  """

  epoch: int = 0
  step: int = 0


class ResumableFit:
  """Resumes a `fit` from the newest checkpoint, and saves it as it runs.

  Args:
    callback: the CheckpointAndResume callback; its model and params are used.
    options: its arguments.
    position: its position, which this object updates.
    fit: the running `fit`, with the defaults in a custom loop.
    callbacks: all callbacks of the `fit`.
  """

  def __init__(
    self,
    callback: Any,
    options: ResumeOptions,
    position: Position,
    fit: FitContext,
    callbacks: Sequence[Any],
  ):
    self._callback, self._options, self._position = callback, options, position
    self._fit, self._callbacks = fit, callbacks
    model = callback.model
    self._access = training_access.access(model)
    data = self._access.data_of(fit)
    self._data = data if fit.is_fit else None
    self._resources = FitResources(
      callback, options.directory.path, self._data, _LastCallback(self)
    )
    self._writes = self._access.writes
    self._state = TrainingState(model, self._access, data, callbacks)
    self._run: dict[str, Any] = {}
    self._first_epoch = 0
    self._restorer = CheckpointRestorer(
      self._state,
      self._data,
      self._resources.patches,
      str(options.directory.path),
    )
    self._checked_operations = False

  @property
  def uses_fit(self) -> bool:
    """Whether Keras's `fit` runs, not a custom loop that calls the hooks."""
    return self._fit.is_fit

  # Beginning.

  def lock(self) -> None:
    """Creates and locks the directory, if this process writes checkpoints.

    Raises:
      DirectoryInUseError: another run that is alive has locked it.
    """
    if self._writes:
      synchronization.make_folder(self._options.directory.path)
      self._resources.lock()

  def begin(self) -> None:
    """Restores the newest checkpoint; releases all resources on an error.

    Raises:
      CheckpointError: no checkpoint is intact, or they are of another run.
      ValueError: the `initial_epoch` of the `fit` does not fit.
    """
    try:
      self._begin()
    except BaseException:
      self._resources.release()
      raise

  def _begin(self) -> None:
    directory = self._options.directory
    if self._writes:
      directory.remove_unfinished()
    self._access.build_optimizer()
    newest = directory.newest()
    initial_epoch = self._data.initial_epoch if self._data else 0
    self._first_epoch = initial_epoch if newest is None else newest.first_epoch
    self._run = self._describe(newest, initial_epoch == self._first_epoch)
    if newest is None:
      resume_checks.warn_of_seed(self._run)
    else:
      where = str(directory.path)
      resume_checks.check_same(
        where, newest, self._run, self._state, self._data
      )
      self._restorer.restore(newest, self._on_restored)
    if self._data is not None:
      self._data.watch(
        self._resources.install,
        self._resources.release,
        self._resources.patches,
      )
    else:
      self._resources.install()

  def _describe(
    self, newest: Checkpoint | None, from_start: bool
  ) -> dict[str, Any]:
    """Returns the description of the run that checkpoints are compared with.

    The contents of the data are compared only if they begin at the same epoch,
    because their first batch differs otherwise.
    """
    callback = self._callback
    reads_data = self._writes and from_start
    run = run_description.describe(
      callback.model,
      self._callbacks,
      callback.params,
      self._options.config,
      self._fit,
      reads_data,
    )
    if newest is not None and not reads_data:
      # So that the checkpoints of a resumed run equal those of one left alone.
      run |= {
        key: newest.run[key]
        for key in run_description.CONTENTS
        if key in newest.run
      }
    where = str(self._options.directory.path)
    return run_description.at_its_beginning(
      callback.model, where, run, newest is not None
    )

  def _on_restored(self, newest: Checkpoint) -> None:
    self._position.epoch, self._position.step = newest.epoch, newest.step
    after = f' and {count(newest.step, "step")}' if newest.step else ''
    self._options.messages.add(
      f'the run was finished at epoch {newest.epoch}'
      if newest.finished
      else f'resuming after {count(newest.epoch, "epoch")}{after}'
    )
    self._options.messages.flush()

  def restore_pending(self) -> None:
    """Restores the rest of a checkpoint, once all callbacks have begun."""
    self._restorer.restore_pending()

  # Training and saving.

  def begin_epoch(self, epoch: int) -> None:
    """Restores the rest of a checkpoint before the first epoch.

    Args:
      epoch: the number of completed epochs.
    """
    self._position.epoch, self._position.step = epoch, 0
    if self._restorer.pending is not None:
      self._position.step = self._restorer.pending.step
      self.restore_pending()

  def after_steps(self, step: int) -> None:
    """Saves if a checkpoint is due; saves and exits after a signal.

    Args:
      step: the number of completed steps of the epoch.

    Raises:
      SystemExit: a signal was received.
    """
    done, self._position.step = step - self._position.step, step
    if not self._checked_operations:
      self._checked_operations = True
      self._access.warn_of_unrestorable()
    steps = self._steps_of_epoch()
    if steps and step >= steps:
      return  # Keras cannot resume there, and the epoch is about to end.
    epoch = self._position.epoch
    due = self._is_due(epoch * steps + step, done)
    if steps and (due or self._resources.signals.received is not None):
      self._save(epoch, step, {})
    self._stop_if_signaled()

  def after_epoch(self, epoch: int, logs: Mapping[str, Any]) -> None:
    """Saves a checkpoint, and exits after a signal.

    Args:
      epoch: the number of completed epochs.
      logs: the logs of the epoch.

    Raises:
      SystemExit: a signal was received.
    """
    self._position.epoch, self._position.step = epoch, 0
    self._save(epoch, 0, logs)
    self._stop_if_signaled()

  def _is_due(self, step: int, done: int) -> bool:
    every = self._options.every_steps
    return every is not None and step // every > (step - done) // every

  def _steps_of_epoch(self) -> int:
    """Returns the number of steps of an epoch, 0 while it is unknown."""
    if self._data is not None:
      return self._data.steps_of_epoch()
    return self._callback.params.get('steps') or 0

  def _save(self, epoch: int, step: int, logs: Mapping[str, Any]) -> None:
    model = self._callback.model
    self._access.check_finite(logs)
    if not self._writes:
      return
    last = epoch >= self._callback.params['epochs'] or model.stop_training
    self._options.directory.write(
      Checkpoint(
        epoch,
        step,
        self._first_epoch,
        bool(last and not step),
        self._run,
        self._state.get_variables(),
        self._state.get_values(),
      )
    )

  # Ending.

  def release(self) -> None:
    """Releases lock and signal handlers."""
    self._resources.release()

  def release_if_over(self) -> None:
    """Releases lock and signal handlers if the `fit` died."""
    self._resources.release_if_over()

  def _stop_if_signaled(self) -> None:
    signals = self._resources.signals
    if signals.received is None:
      return
    code = signals.exit_code
    for callback in self._state.callbacks:
      if isinstance(callback, TicketCallback):
        callback.before_stop()
    self._resources.release()
    self._options.messages.add(f'stopped by signal {code - 128}')
    self._options.messages.flush()
    raise SystemExit(code)


class _LastCallback(KerasCallback):
  """Calls a ResumableFit after each step and epoch, after all callbacks."""

  def __init__(self, fit: ResumableFit):
    super().__init__()
    self._fit = fit

  def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
    self._fit.after_steps(batch + 1)

  def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
    self._fit.after_epoch(epoch + 1, logs or {})

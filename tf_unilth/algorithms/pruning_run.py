"""PruningRun: the stages of one run, from its first step to its last."""

import contextlib
from collections.abc import Iterator, MutableMapping
from typing import Any

from tf_unilth.algorithms import run_start
from tf_unilth.algorithms.algorithm import NEVER, Algorithm
from tf_unilth.algorithms.channel_pruner import ChannelPruner
from tf_unilth.algorithms.mask_updates import Pruner
from tf_unilth.algorithms.rounds import Rounds
from tf_unilth.engines.engine import Engine
from tf_unilth.run.snapshot import Snapshot
from tf_unilth.run.timeline import Timeline
from tf_unilth.user_warning import warn_user


class PruningRun:
  """One run of an algorithm on an engine, in one `fit`.

  Keras's hooks call it in this order: the constructor, then `begin_epoch`,
  `end_step` and `end_epoch`, and at last `end` or `release`. All state that a
  resumed run needs is in `state`, which the engine saves with the model; the
  attributes of the run are derived from it when the first epoch begins.

  Args:
    algorithm: its settings and the methods that it overrides.
    engine: the engine of the model, for this `fit`.
    epochs: the epoch at which the `fit` ends.
    steps: training steps per epoch; 0 if not known yet.

  Raises:
    ValueError: the target cannot be reached, or the algorithm cannot run in
      the `fit`.
  """

  def __init__(
    self, algorithm: Algorithm, engine: Engine, epochs: int, steps: int
  ):
    self.algorithm = algorithm
    self.engine = engine
    self.epochs, self.steps_per_epoch = epochs, steps
    pruner = Pruner if engine.channels is None else ChannelPruner
    self.pruner = pruner(engine, algorithm.pace, algorithm.scores.ranking_scope)
    self.is_inert = self.pruner.is_inert
    self.state, self.is_restored = engine.attach_state()
    self.timeline = Timeline(self.state, algorithm.finetune_share)
    self.rounds = Rounds(self)
    # Whether the target was reached before the `fit`.
    self.already_pruned = False
    self._has_begun = self._is_prepared = self._is_running = False
    self.will_resume = False  # So that its end is no failure.
    self._ends_after_others = False
    self._next_event_step = NEVER
    self._epoch_begin_step = self._epoch_batches = 0
    self.pruner.load_masks()
    trains = not self.is_inert and not self.reached_target
    if trains:
      algorithm.check_fit(engine.fit)
    engine.find_optimizer(trains)
    if not self.is_inert:
      engine.prepare(algorithm.ramp)
      self._is_prepared = True

  @property
  def reached_target(self) -> bool:
    """Whether the masks have the target sparsity."""
    return self.pruner.reached_target

  @property
  def sparsity(self) -> float:
    """The fraction of the wrapped weights that is pruned, in [0, 1)."""
    return self.pruner.zeros / self.pruner.total

  @property
  def step(self) -> int:
    """The number of training steps so far."""
    return self._epoch_begin_step + self._epoch_batches

  # What the engine tells and asks; see `engines.engine.RunEvents`.

  @property
  def needs_training(self) -> bool:
    """Whether the kernels must be trained, since the run prunes."""
    return not self.already_pruned

  @property
  def rewinds(self) -> bool:
    """Whether the run rewinds weights and optimizer."""
    return bool(self.algorithm.snapshot_count)

  def restore_masks(self) -> None:
    """Writes the masks of the last round, and zeros the pruned weights."""
    if not self.is_inert:
      self.engine.write_masks(self.pruner.masks)

  def on_optimizer_replaced(self, iterations: int) -> None:
    """Adapts the run to another optimizer; its train step is new too."""
    state, engine = self.state, self.engine
    state.shift_iterations(iterations)
    values = engine.read_variables()
    first = len(engine.weights_in(values))
    for snapshot in state.snapshots:
      # A snapshot has no state of the new optimizer: it gets the present one.
      snapshot.replace_from(first, values[first:])
    self.restart_learning_rate()
    self.rounds.continue_ramp()
    self._schedule_next_event()

  def after_restore(self) -> None:
    """Notes that a checkpoint was restored into the model as `fit` began."""
    self.is_restored = True
    self.pruner.load_masks()

  # The run, as Keras's hooks call it.

  def begin_epoch(self, epoch: int) -> None:
    """Begins the run in the first epoch, and applies the masks in others.

    Args:
      epoch: the number of completed epochs.
    """
    if not self._has_begun:
      # By now BackupAndRestore, if there is one, has restored the state.
      self._has_begun = True
      with self._releasing_on_error():
        self._begin(epoch)
        ends_later = self.engine.end_after_other_callbacks(self.end)
        self._ends_after_others = ends_later
    else:
      # Other callbacks may have written weights and masks, as averaging does.
      self.restore_masks()
    self._epoch_begin_step = self.timeline.step_at(epoch)
    self._epoch_batches = 0

  def _begin(self, epoch: int) -> None:
    """Begins or resumes a run, or keeps the masks of a finished ticket."""
    self.pruner.load_masks()
    if not self.is_inert:
      self.engine.arm(self)
      self.apply_masks()
    run_start.resume_or_begin(self, epoch)
    self._is_running = True
    self._schedule_next_event()
    self._run_due_events(0)

  def end_step(self, batches: int) -> None:
    """Ends rounds and runs other events that are due at this step.

    Args:
      batches: the number of batches of the epoch so far.
    """
    self._epoch_batches = batches
    try:
      if self._is_prepared:
        self.engine.check_step()
      if self.step >= self._next_event_step:
        self._run_due_events(self.step)
    except BaseException:
      self.release()
      raise

  def end_epoch(self, epoch: int, logs: MutableMapping[str, Any]) -> None:
    """Checks the weights, ends stage 1 if due, and adds to the epoch logs.

    Args:
      epoch: the number of completed epochs.
      logs: the logs of the epoch.
    """
    state = self.state
    with self._releasing_on_error():
      if not self.is_inert:
        self.engine.check_epoch(logs)
      if not state.steps_per_epoch:
        self._record_steps_per_epoch()
      if not self.is_inert and not self.already_pruned:
        self.engine.check_optimizer_steps(self._epoch_batches)
        self.algorithm.on_epoch(self, epoch, logs)
        self._schedule_next_event()
    state.next_epoch, state.iterations = epoch, self.engine.iterations()
    logs.update(self.pruner.shares)
    logs['stage'] = state.stage
    logs['round'] = state.round
    logs['l2_lambda'] = self.engine.l2_lambda() if self._is_prepared else 0.0

  def _record_steps_per_epoch(self) -> None:
    """Sets the steps per epoch, which the first epoch has counted."""
    state = self.state
    state.steps_per_epoch = self._epoch_batches
    self._epoch_begin_step = 0
    state.decay_steps = self.timeline.steps
    self.restart_learning_rate()
    if not self.is_inert and not self.already_pruned:
      self.rounds.check()

  # Events.

  def _schedule_next_event(self) -> None:
    """Sets the training step of the next event, and the kind of steps."""
    self._next_event_step = NEVER
    if not self.is_inert and not self.already_pruned:
      next_event = self.algorithm.next_event(self)
      self._next_event_step = min(next_event, self.rounds.next_end())
    if self._is_prepared:
      self.rounds.set_step_kind()

  def _run_due_events(self, step: int) -> None:
    while step >= self._next_event_step:
      if self.algorithm.next_event(self) <= self._next_event_step:
        self.algorithm.on_event(self, step)
      else:
        self.rounds.end_round()
      self._schedule_next_event()

  # What algorithms call.

  def apply_masks(self) -> None:
    """Zeros pruned weights and their optimizer slots."""
    self.engine.write_masks(self.pruner.masks)
    self.engine.clear_slots(self.pruner.masks)

  def rewind(self, snapshot: Snapshot) -> None:
    """Restores a snapshot, except for pruned weights, which stay zero.

    Args:
      snapshot: one of `state.snapshots`, which was taken.
    """
    self.engine.write_variables(snapshot.values)
    weights = self.engine.weights_in(snapshot.values)
    self.algorithm.rewind_weights = weights
    self.apply_masks()

  def restart_decay(self, steps: int, done: int = 0) -> None:
    """Restarts the decay of a `StagedLearningRate`.

    Args:
      steps: the training steps that are left of the decay.
      done: the steps that it has behind it.
    """
    self.state.decay_begin = self.engine.iterations() - done
    self.state.decay_steps = steps + done
    self.restart_learning_rate()

  def restart_learning_rate(self) -> None:
    """Passes the decay of the state to a `StagedLearningRate`."""
    self.engine.restart_decay(self.state.decay_begin, self.state.decay_steps)

  # The end.

  def end_training(self) -> None:
    """Ends the run, or disarms it if Keras calls `end` after other callbacks.

    A later callback may raise before the run has ended.
    """
    if self._ends_after_others:
      self.engine.disarm()
    else:
      self.end()

  def end(self) -> None:
    """Restores the masks, prints the last line and releases the model."""
    log = self.algorithm.log
    if not self.is_inert and self.pruner.restore_masks():
      log.add(
        'other weights or masks were put into the model after the last epoch; '
        'the masks are restored, but the weights may be of another epoch'
      )
    if self._is_prepared and self.reached_target:
      log.add(f'done: {self.pruner.result_text}')
    self.release()

  def release(self) -> None:
    """Disarms the model, and warns if the target was not met."""
    self.engine.disarm()
    if not self._is_prepared:
      return
    self._is_prepared = False
    failed = self._is_running and not self.reached_target
    if failed and not self.will_resume:
      message = (
        f'fit ended early and the target was NOT met: {self.pruner.missed_text}'
      )
      self.algorithm.log.add(message)
      self.algorithm.log.flush()
      warn_user(f'{self.algorithm.name}: {message}.')
    self.algorithm.log.flush()

  @contextlib.contextmanager
  def _releasing_on_error(self) -> Iterator[None]:
    try:
      yield
    except BaseException:
      self.release()
      raise

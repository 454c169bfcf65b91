"""CheckpointAndResume: a `fit` that goes on where it was stopped."""

import os
from collections.abc import Mapping
from typing import Any

from tf_unilth.algorithms import fit_checks
from tf_unilth.algorithms.event_log import Messages
from tf_unilth.algorithms.ticket_callback import TicketCallback
from tf_unilth.argument_checks import check_int, check_json, check_option
from tf_unilth.engines.tfmot import (
  data_handler,
  fit_introspection,
  keras_3_errors,
  optimizer_traits,
  tracked_objects,
)
from tf_unilth.engines.tfmot.keras_access import keras
from tf_unilth.files import output_paths
from tf_unilth.resume import (
  checks,
  data_replay,
  random_state,
  run_description,
  training_state,
)
from tf_unilth.resume.checkpoint_file import Checkpoint
from tf_unilth.resume.checkpoint_store import CheckpointDirectory
from tf_unilth.resume.fit_hold import FitHold
from tf_unilth.resume.training_state import TrainingState
from tf_unilth.wording import count


class CheckpointAndResume(keras.callbacks.Callback):
  """Saves a run as it goes; the same `fit` again goes on where it stopped.

  A run that was killed at any moment and started again ends bit for bit as the
  run left alone would have (on a CPU, or with `tf.config.experimental.
  enable_op_determinism`), if it begins with `keras.utils.set_random_seed`. A
  checkpoint holds weights, masks, optimizer, the ticket callback's run and its
  snapshots, the counters of Keras's callbacks, the history, and the state of
  all random numbers; it is one file, written beside, flushed, sealed by a
  SHA-256 and renamed. A damaged one is named and the one before it is used.

  The data are read from the start again, without training, up to where the run
  stopped. To spare that, give `fit` data that are a function of the epoch and
  `initial_epoch=callback.initial_epoch`.

  On SIGTERM and SIGINT, in the main thread, it saves at the end of the step
  and leaves by `SystemExit` with 128 + the signal's number, 143 or 130; a
  second one stops at once. In the first epoch of data that do not tell their
  length it leaves without saving.

  A directory that holds another run is refused with the difference. Compared
  are: layers and their settings, how they are connected, losses, optimizers,
  initial learning rates, monitored metrics, the ticket callback, epochs, steps,
  batch size, seed; the callbacks whose counters a checkpoint holds (those that
  derive from EarlyStopping, ReduceLROnPlateau and ModelCheckpoint) and
  LearningRateScheduler, in order and with their settings; shapes and dtypes of
  the data, and a digest of arrays and of the first batch. Other callbacks may
  come and go. Not compared are: the code of functions and methods (a function
  is known by its name, its defaults, its closure and its numbers), names of
  layers, initializers, metrics that no callback monitors, file paths, and the
  content of data that cannot be read twice without a change: generators, a
  `Sequence`, and in a `tf.data` pipeline what comes after `shuffle`, random or
  Python operations. Large arrays are sampled. Checkpoints of versions before
  these comparisons continue with the comparisons of their time.

  List it after the ticket callback. Layers that draw random numbers get
  generators that can be saved. Under several workers the chief writes.

  Args:
    directory: for the checkpoints of this run alone; it is made.
    config: what the run depends on, as JSON can hold it. A change of it is
      refused; give here what is not compared by itself.
    every_steps: also save when so many steps are done, at least 1. `None`:
      only at the end of each epoch.
    keep: how many of the newest checkpoints are kept, at least 2.
    verbose: 0 is silent, 1 says where the run goes on.

  Raises:
    ValueError: an argument is out of its range.
    CheckpointError: in `fit` too: no checkpoint is intact, or they are of
      another run.
    DirectoryInUseError: in `fit`: another run writes into the directory.
    FloatingPointError: in `fit`: a weight, a slot of the optimizer or the loss
      is not finite; nothing of it is saved.
    OSError: in `fit`: a checkpoint cannot be written; those before are intact.

  >>> keras.utils.set_random_seed(0)
  >>> model = keras.Sequential([keras.layers.Dense(1, input_shape=(4,))])
  >>> model.compile('sgd', 'mse')
  >>> resume = CheckpointAndResume(tempfile.mkdtemp(), verbose=0)
  >>> _ = model.fit(np.ones((8, 4)), np.ones(8), epochs=2, verbose=0,
  ...               callbacks=[resume])
  >>> resume.initial_epoch
  2
  """

  # Keras need not wait for a step's metrics on behalf of our batch hook.
  _supports_tf_logs = True

  def __init__(
    self,
    directory: str | os.PathLike[str],
    config: Mapping[str, Any] | None = None,
    every_steps: int | None = None,
    keep: int = 2,
    verbose: int = 1,
  ):
    super().__init__()
    self._config = check_json('config', {} if config is None else config)
    self._every_steps = check_int('every_steps', every_steps, 1, none=True)
    self._directory = CheckpointDirectory(
      output_paths.check_folder('directory', directory),
      check_int('keep', keep, 2),
    )
    self._messages = Messages(
      type(self).__name__, check_option('verbose', verbose, (0, 1))
    )
    self._pending_restore: Checkpoint | None = None
    newest = self._directory.newest()
    self._epoch, self._step = (
      (0, 0) if newest is None else (newest.epoch, newest.step)
    )

  @property
  def initial_epoch(self) -> int:
    """How many epochs are completed in the newest good checkpoint."""
    return self._epoch

  @property
  def initial_step(self) -> int:
    """How many steps of the next epoch are done, for a loop of your own."""
    return self._step

  # Keras's hooks.

  def set_model(self, model: Any) -> None:
    """Takes the model, before Keras makes its train function."""
    keras_3_errors.check_keras(model, 'model', keras.Model)
    keras_3_errors.check_callbacks_of_fit()
    super().set_model(model)
    if random_state.make_restorable(model):
      model.train_function = None

  def on_train_begin(self, logs: Any = None) -> None:
    fit = fit_introspection.fit_arguments()
    callbacks = fit.get('callbacks', [self])
    checks.check_fit(self, callbacks)
    earlier = getattr(self, '_hold', None)
    if earlier is not None:
      earlier.leave_if_over()
    handler = fit.get('data_handler')
    hold = FitHold(
      self,
      self._directory.path,
      handler,
      fit.get('callback_list'),
      _Last(self),
    )
    writes = self.model.distribute_strategy.extended.should_checkpoint
    if writes:
      self._directory.path.mkdir(parents=True, exist_ok=True)
      hold.lock()
    try:
      self._handler, self._hold, self._writes = handler, hold, writes
      self._has_looked, self._pending_restore = False, None
      self._begin(fit, callbacks)
    except BaseException:
      hold.leave()
      raise

  def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
    self._epoch, self._step = epoch, 0
    if self._pending_restore is not None:
      self._step = self._pending_restore.step
      self._restore_after_begin(self._pending_restore)

  def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
    if not self._is_followed:
      self._after_step(batch + 1)

  def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
    if not self._is_followed:
      self._after_epoch(epoch + 1, logs or {})

  def on_train_end(self, logs: Any = None) -> None:
    if self._pending_restore is not None:  # No epoch was left.
      self._restore_after_begin(self._pending_restore)
    self._hold.leave()

  # Beginning.

  def _begin(self, fit: dict[str, Any], callbacks: Any) -> None:
    if self._writes:
      self._directory.remove_unfinished()
    compiled = tracked_objects.compiled_optimizers(self.model)
    if len(compiled) == 1:
      optimizer_traits.build(compiled[0], self.model)
    self._state = TrainingState(self.model, callbacks)
    newest = self._directory.newest()
    initial_epoch = data_replay.initial_epoch(self._handler)
    self._first_epoch = initial_epoch if newest is None else newest.first_epoch
    self._describe(callbacks, fit, newest, initial_epoch == self._first_epoch)
    if newest is None:
      checks.warn_of_seed(self._run)
    else:
      where = str(self._directory.path)
      checks.check_same(where, newest, self._run, self._state, self._handler)
      self._resume(newest, fit)
    self._is_followed = bool(fit)
    if fit:
      data_handler.wrap_epochs(
        self._handler, self._hold.enter, self._hold.leave
      )
    else:
      self._hold.enter()

  def _describe(
    self,
    callbacks: Any,
    fit: dict[str, Any],
    newest: Checkpoint | None,
    from_start: bool,
  ) -> None:
    """Describes the run, of which the directory may hold checkpoints.

    Data that begin at another epoch begin with another batch.
    """
    reads_data = self._writes and from_start
    run = run_description.describe(
      self.model, callbacks, self.params, self._config, fit, reads_data
    )
    if newest is not None and not reads_data:
      run['data contents'] = newest.run.get('data contents')
    self._run = run_description.at_its_beginning(
      self.model, str(self._directory.path), run, newest is not None
    )

  def _resume(self, newest: Checkpoint, fit: dict[str, Any]) -> None:
    self._state.put_variables(newest.variables)
    self._state.put_states(newest.values)
    for callback in self._state.callbacks:
      if isinstance(callback, TicketCallback):
        callback.after_restore()
    self._pending_restore = newest
    self._epoch, self._step = newest.epoch, newest.step
    after = f' and {count(newest.step, "step")}' if newest.step else ''
    self._messages.say(
      f'the run was finished at epoch {newest.epoch}'
      if newest.finished
      else f'going on after {count(newest.epoch, "epoch")}{after}'
    )
    self._messages.flush()
    if self._handler is not None:
      data_replay.resume(
        self._handler,
        newest.epoch,
        newest.step,
        newest.finished,
        lambda iterator: self._trace(iterator, newest),
        # Before callbacks are told of the end, at which some put weights back.
        lambda: self._restore_after_begin(newest),
      )
      past = range(newest.first_epoch, newest.epoch)
      data_replay.replay_validation(self.model, fit, past)

  def _trace(self, iterator: Any, newest: Checkpoint) -> None:
    """Lets Keras make what only a step makes and is to be put back.

    That is the metrics of an epoch, and what optimizers keep that the model
    was not compiled with.
    """
    late = newest.variables.keys() - self._state.variables().keys()
    if late or (newest.step and not self.model.metrics_names):
      training_state.trace_train_step(self.model, iterator)
    if late:
      self._state.put_variables({n: newest.variables[n] for n in late})
      checks.check_complete(str(self._directory.path), newest, self._state)

  def _restore_after_begin(self, newest: Checkpoint) -> None:
    """Puts back what other callbacks, or reading the data, would reset."""
    self._pending_restore = None
    self._state.put_counters(newest.values)
    if newest.step or newest.finished:  # Else an epoch has just begun.
      self._state.put_metrics(newest.values)
    if not self._replays_generator:
      random_state.put_host_state(newest.values['random'])

  @property
  def _replays_generator(self) -> bool:
    """Whether reading the data again has drawn what they had drawn.

    Generators and Sequences draw ahead, from Python's and NumPy's generators,
    so that the state of those is of no step.
    """
    handler = self._handler
    return (
      handler is not None
      and data_replay.initial_epoch(handler) == self._first_epoch
      and data_handler.reads_generator(handler)
    )

  # Saving.

  def _after_step(self, step: int) -> None:
    done, self._step = step - self._step, step
    if not self._has_looked:
      self._has_looked = True
      checks.warn_of_operations(self.model)
    steps = self._steps_of_epoch()
    if steps and step >= steps:
      return  # Keras cannot go on there; the epoch's end is near.
    due = self._is_due(self._epoch * steps + step, done)
    if steps and (due or self._hold.signals.received is not None):
      self._save(self._epoch, step, {})
    if self._hold.signals.received is not None:
      self._stop()

  def _is_due(self, step: int, done: int) -> bool:
    every = self._every_steps
    return every is not None and step // every > (step - done) // every

  def _steps_of_epoch(self) -> int:
    """Returns how many steps an epoch has, 0 while that is not known."""
    if self._handler is not None:
      return data_replay.steps_of_epoch(self._handler) or 0
    return self.params.get('steps') or 0

  def _after_epoch(self, epoch: int, logs: Mapping[str, Any]) -> None:
    self._epoch, self._step = epoch, 0
    self._save(epoch, 0, logs)
    if self._hold.signals.received is not None:
      self._stop()

  def _save(self, epoch: int, step: int, logs: Mapping[str, Any]) -> None:
    fit_checks.check_finite(self.model, logs)
    if not self._writes:
      return
    last = epoch >= self.params['epochs'] or self.model.stop_training
    self._directory.write(
      Checkpoint(
        epoch,
        step,
        self._first_epoch,
        bool(last and not step),
        self._run,
        self._state.take_variables(),
        self._state.take_values(),
      )
    )

  # Leaving.

  def _stop(self) -> None:
    code = self._hold.signals.exit_code
    self._hold.leave()
    self._messages.say(f'stopped by signal {code - 128}')
    self._messages.flush()
    raise SystemExit(code)


class _Last(keras.callbacks.Callback):
  """Tells a callback of steps and epochs when all others have acted."""

  _supports_tf_logs = True

  def __init__(self, followed: CheckpointAndResume):
    super().__init__()
    self._followed = followed

  def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
    self._followed._after_step(batch + 1)

  def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
    self._followed._after_epoch(epoch + 1, logs or {})

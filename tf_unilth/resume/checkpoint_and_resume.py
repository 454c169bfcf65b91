"""CheckpointAndResume: saves a `fit` and resumes it exactly."""

import os
from collections.abc import Mapping
from typing import Any

from tf_unilth.algorithms.event_log import EventLog
from tf_unilth.algorithms.keras_callback import KerasCallback
from tf_unilth.argument_checks import check_int, check_json, check_option
from tf_unilth.engines import engine_choice
from tf_unilth.files import output_paths
from tf_unilth.resume import resume_checks, training_access
from tf_unilth.resume.checkpoint_store import CheckpointDirectory
from tf_unilth.resume.resumable_fit import (
  Position,
  ResumableFit,
  ResumeOptions,
)


class CheckpointAndResume(KerasCallback):
  """Saves a run as it trains; the same `fit` resumes it where it stopped.

  A run that is killed at any moment and started again ends bit for bit as an
  uninterrupted run does, if it begins with `keras.utils.set_random_seed` (on a
  CPU, or with `tf.config.experimental.enable_op_determinism`). A checkpoint is
  one file with the weights, masks, optimizer, state and snapshots of the ticket
  callback, counters of Keras's callbacks, history, and all random states. It
  is written to a temporary file, flushed, protected by a SHA-256, and renamed.
  If the newest checkpoint is damaged, a warning names it and the one before it
  is used.

  On resume the data are read again from the start, without training, up to the
  position where the run stopped. To avoid that, pass data to `fit` that are a
  function of the epoch, and `initial_epoch=callback.initial_epoch`.

  Models of tf_keras and of Keras 3 are saved, on each backend. On torch, a
  warning names what is not in variables of Keras, such as buffers of torch
  modules; torch's own generators are saved. Optimizers of a Keras 3 model's own
  `train_step` must be built before `fit`.

  On SIGTERM and SIGINT, received in the main thread, the callback saves at the
  end of the step and raises `SystemExit` with 128 + the signal's number: 143 or
  130. A second signal stops at once. In the first epoch of data of unknown
  length it exits without saving.

  If the directory contains checkpoints of another run, `fit` raises an error
  that states the difference. These are compared: layers, their settings and
  connections, losses, optimizers, initial learning rates, monitored metrics,
  the ticket callback, epochs, steps, batch size, seed; class, order and
  settings of the callbacks whose counters are saved (EarlyStopping,
  ReduceLROnPlateau, ModelCheckpoint and their subclasses) and of
  LearningRateScheduler; shapes and dtypes of the data, and a digest of arrays
  and of the first batch. Large arrays are sampled. Other callbacks may be
  added and removed. These are not compared: the code of functions and methods
  (a function is compared by name, defaults, closure and the numbers in it),
  names of layers, initializers, metrics that no callback monitors, file paths,
  and the contents of data that cannot be read twice without side effects:
  generators, a `Sequence`, and the part of a `tf.data` pipeline that follows
  `shuffle`, random or Python operations. Checkpoints of versions before these
  comparisons resume with the comparisons of their time.

  List it after the ticket callback. Layers of tf_keras that draw random numbers
  get generators that can be saved. With several workers, the chief writes.

  Args:
    directory: the directory for the checkpoints of this run alone; it is
      created if it is missing.
    config: what the run depends on, as JSON can hold it; a change raises an
      error. Pass here what is not compared otherwise.
    every_steps: also save each time this many steps are done, at least 1.
      `None`: only at the end of each epoch.
    keep: the number of newest checkpoints to keep, at least 2.
    verbose: 0 is silent, 1 prints where the run resumes.

  Raises:
    ValueError: an argument is out of its range.
    CheckpointError: also in `fit`: no checkpoint is intact, or they are of
      another run.
    DirectoryInUseError: in `fit`: another run writes to the directory.
    FloatingPointError: in `fit`: a weight, an optimizer slot or the loss is not
      finite; no checkpoint of it is saved.
    OSError: in `fit`: a checkpoint cannot be written; earlier ones are intact.

  >>> keras.utils.set_random_seed(0)
  >>> model = keras.Sequential([keras.layers.Dense(1, input_shape=(4,))])
  >>> model.compile('sgd', 'mse')
  >>> resume = CheckpointAndResume(tempfile.mkdtemp(), verbose=0)
  >>> _ = model.fit(np.ones((8, 4)), np.ones(8), epochs=2, verbose=0,
  ...               callbacks=[resume])
  >>> resume.initial_epoch
  2
  """

  def __init__(
    self,
    directory: str | os.PathLike[str],
    config: Mapping[str, Any] | None = None,
    every_steps: int | None = None,
    keep: int = 2,
    verbose: int = 1,
  ):
    super().__init__()
    config = check_json('config', {} if config is None else config)
    every_steps = check_int('every_steps', every_steps, 1, none=True)
    checkpoints = CheckpointDirectory(
      output_paths.check_folder('directory', directory),
      check_int('keep', keep, 2),
    )
    messages = EventLog(
      type(self).__name__, check_option('verbose', verbose, (0, 1))
    )
    self._options = ResumeOptions(checkpoints, config, every_steps, messages)
    newest = checkpoints.newest()
    self._position = (
      Position() if newest is None else Position(newest.epoch, newest.step)
    )
    self._fit: Any = None  # A ResumableFit from on_train_begin on.

  @property
  def initial_epoch(self) -> int:
    """The number of completed epochs in the newest intact checkpoint."""
    return self._position.epoch

  @property
  def initial_step(self) -> int:
    """The number of completed steps of the next epoch, for a custom loop."""
    return self._position.step

  def set_model(self, model: Any) -> None:
    """Prepares the model, before Keras builds its train function.

    Args:
      model: the model of the `fit`.

    Raises:
      TypeError: it is of no Keras, or the `fit` has a callback of another one.
    """
    engine_choice.check_model(model)
    super().set_model(model)
    training_access.access(model).make_restorable()

  def on_train_begin(self, logs: Any = None) -> None:
    """Locks the directory and restores the newest checkpoint."""
    context = training_access.access(self.model).fit()
    callbacks = context.callbacks or (self,)
    resume_checks.check_fit(self, callbacks)
    if self._fit is not None:
      self._fit.release_if_over()
    fit = ResumableFit(self, self._options, self._position, context, callbacks)
    fit.lock()
    self._fit = fit
    fit.begin()

  def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
    """Restores what other callbacks have reset in `on_train_begin`."""
    self._fit.begin_epoch(epoch)

  def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
    """Saves in a custom loop; in `fit` a last callback of ours does."""
    if not self._fit.uses_fit:
      self._fit.after_steps(batch + 1)

  def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
    """Saves in a custom loop; in `fit` a last callback of ours does."""
    if not self._fit.uses_fit:
      self._fit.after_epoch(epoch + 1, logs or {})

  def on_train_end(self, logs: Any = None) -> None:
    """Restores the rest if no epoch was left; releases the directory."""
    self._fit.restore_pending()
    self._fit.release()

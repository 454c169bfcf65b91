"""The ticket callback: Keras's hooks and the public properties and methods."""

from typing import Any

from tf_unilth.algorithms import keras_callback
from tf_unilth.algorithms.algorithm import Algorithm
from tf_unilth.algorithms.keras_callback import KerasCallback
from tf_unilth.algorithms.pruning_run import PruningRun
from tf_unilth.algorithms.pruning_scores import Scores
from tf_unilth.engines import engine_choice
from tf_unilth.schedules.l2_ramp import L2Ramp


class TicketCallback(Algorithm, KerasCallback):
  """Base class of LTH, DLTH, UniLTH and UniDLTH, which are final.

  It replaces tfmot's `UpdatePruningStep`, so one callback is enough. A final
  class passes its scores and its ramp to the constructor, and overrides methods
  of `Algorithm`. Each `fit` gets a `PruningRun`, to which the hooks pass on
  what Keras tells them.

  Args:
    scores: rank the weights.
    ramp: the L2 ramp of each round, `None` for none.
    finetune_fraction: share of the steps of stages 2 and 3 that follows the
      last round, in [0, 1].
    verbose: 0 is silent, 1 prints a line per event, 2 a line per round too.

  Attributes:
    rewind_weights: the weights that `fit` has rewound to, before any of them
      was pruned, in the order of the weights of the model before it was
      wrapped; with `pretrained=True` the weights before `fit`. `None` if
      neither this process has rewound weights, nor the run that a
      `CheckpointAndResume` has restored. The arrays stay on the host until
      another run begins or the callback is deleted. Do not write them.
  """

  # By this the checks of a `fit` know other ticket callbacks.
  is_ticket_callback = True
  # Constructor arguments that `settings` reports besides those set here.
  extra_settings: tuple[str, ...] = ()

  def __init__(
    self,
    scores: Scores,
    ramp: L2Ramp | None,
    finetune_fraction: float,
    verbose: int,
  ):
    KerasCallback.__init__(self)
    Algorithm.__init__(self, scores, ramp, finetune_fraction, verbose)
    self._current_run: PruningRun | None = None

  @property
  def plateau_epoch(self) -> int | None:
    """The (1-based) epoch whose end was the plateau; `None` without one."""
    epoch = self._run.state.plateau_epoch
    return None if epoch < 0 else epoch

  @property
  def rewound_to_epoch(self) -> int | None:
    """The epoch to whose end `fit` was rewound (0: the start), or `None`."""
    epoch = self._run.state.rewound_to_epoch
    return None if epoch < 0 else epoch

  @property
  def rounds(self) -> int:
    """The number of completed pruning rounds."""
    return self._run.state.round

  @property
  def sparsity(self) -> float:
    """The fraction of the wrapped weights that is pruned, in [0, 1)."""
    return self._run.sparsity

  @property
  def reached_target(self) -> bool:
    """Whether the masks have the target sparsity."""
    return self._run.reached_target

  @property
  def seed(self) -> int | None:
    """The seed of a random ticket, `None` for a magnitude ticket."""
    return getattr(self.scores, 'seed', None)

  @property
  def _run(self) -> PruningRun:
    """The run of the current or last `fit`."""
    if self._current_run is None:
      raise RuntimeError(f'{type(self).__name__} has not been used in fit yet.')
    return self._current_run

  def speak_as(self, name: str) -> None:
    """Sets the name that begins each printed line; the default is the class's.

    Args:
      name: the new name.
    """
    self.log.speaker = name

  def penalty(self) -> Any:
    """Returns the ramped penalty, a scalar to add to the loss of a step.

    Only for custom training loops; `fit` adds it automatically. Call it in the
    graph, inside of the gradient tape. It is 0 for a Keras 3 model, whose
    optimizer adds the gradient of the penalty in every loop.
    """
    return 0.0 if self._current_run is None else self._run.engine.penalty()

  def after_step(self) -> None:
    """Applies the masks. Call it after the optimizer's step.

    Only for custom training loops; `fit` applies them automatically.
    """
    if self._current_run is not None:
      self._run.engine.after_step()

  @property
  def settings(self) -> dict[str, Any]:
    """The constructor arguments as text; a resumed run must have the same."""
    names = ('scores', 'ramp', 'finetune_fraction', *self.extra_settings)
    return {name: repr(getattr(self, name)) for name in names}

  def after_restore(self) -> None:
    """Notes that a checkpoint was restored into the model as `fit` began."""
    self._run.after_restore()

  def before_stop(self) -> None:
    """Notes that `fit` stops here, to be resumed from a checkpoint."""
    self._run.will_resume = True

  def set_model(self, model: Any) -> None:
    """Sets the model.

    Args:
      model: the model that the callback is used with.

    Raises:
      TypeError: no engine supports the model, or the `fit` has a callback of
        another Keras.
    """
    engine_choice.check_model(model)
    super().set_model(model)

  def on_train_begin(self, logs: Any = None) -> None:
    """Checks the model and the `fit`, and prepares a run."""
    engine = engine_choice.engine_for(self.model, self)
    epochs, steps = keras_callback.epochs_and_steps(self.params)
    self._current_run = PruningRun(self, engine, epochs, steps)

  def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
    """Begins the run in the first epoch, and applies the masks in others."""
    self.log.flush()
    self._run.begin_epoch(epoch)

  def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
    """Ends rounds and runs other events that are due at this step."""
    self._run.end_step(batch + 1)

  def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
    """Checks the weights, ends stage 1 if due, and adds to the epoch logs."""
    self._run.end_epoch(epoch + 1, {} if logs is None else logs)

  def on_train_end(self, logs: Any = None) -> None:
    """Ends the run, or disarms it if Keras will call its end later."""
    self._run.end_training()

"""TfmotEngine: tf_keras models in tfmot's wrappers, for the algorithms."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tf_unilth.engines import fit_checks
from tf_unilth.engines.engine import RunEvents, StepSizes
from tf_unilth.engines.fit_context import FitContext
from tf_unilth.engines.tfmot import (
  armed_fit,
  channel_plan,
  fit_introspection,
  keras_access,
  model_checks,
  optimizer_traits,
  unpruned_layers,
  variable_bytes,
)
from tf_unilth.engines.tfmot.keras_access import keras
from tf_unilth.engines.tfmot.pruned_kernel import PrunedKernel
from tf_unilth.engines.tfmot.pruned_model import PrunedLayers
from tf_unilth.engines.tfmot.tracked_run import TrackedRun
from tf_unilth.run.run_state import RunState
from tf_unilth.schedules.l2_ramp import L2Ramp
from tf_unilth.selection.channels import Channels


class TfmotEngine:
  """The engine of a wrapped tf_keras model; see `engines/engine.py`.

  Args:
    model: a compiled model with wrapped layers.
    callback: the ticket callback of the `fit` that begins.

  Raises:
    ValueError: a ticket callback cannot prune the model in this `fit`.
  """

  def __init__(self, model: keras.Model, callback: Any):
    self._model = model
    self.fit: FitContext = fit_introspection.fit_context(model)
    armed_fit.end_earlier_run(model, type(callback).__name__)
    model_checks.check_compiled(model)
    if self.fit.is_fit:
      fit_checks.check_callbacks(callback, self.fit.callbacks, keras.callbacks)
    self._layers = PrunedLayers(model)
    self._layers.check()
    unpruned_layers.remind(model)
    kernels = self._layers.kernels
    self._channels = channel_plan.find_channels(model, kernels)
    self._armed = armed_fit.ArmedFit(model, self._layers, self.fit)
    self._ramp: L2Ramp | None = None
    self._run: TrackedRun | None = None

  # Kernels, masks and weights.

  @property
  def kernels(self) -> list[PrunedKernel]:
    """The masked weights of the wrapped layers."""
    return self._layers.kernels

  @property
  def channels(self) -> Channels | None:
    """The units of a model wrapped with `structure='channels'`."""
    return self._channels

  def read_weights(self) -> list[np.ndarray]:
    """Returns the kernels in float32. Do not write them."""
    return self._layers.read_weights()

  def read_masks(self) -> list[np.ndarray]:
    """Returns the masks."""
    return self._layers.read_masks()

  def write_masks(self, masks: Sequence[np.ndarray]) -> None:
    """Sets the masks, and the weights that they prune to zero."""
    self._layers.assign_masks(masks)
    self._layers.set_schedule_sparsities(masks)

  def clear_slots(self, masks: Sequence[np.ndarray]) -> None:
    """Sets the optimizer slots of pruned weights to zero, where it helps."""
    if self._armed.hook is not None:
      self._armed.hook.clear_slots(masks)

  # Snapshots.

  def read_variables(self) -> list[bytes]:
    """Returns the bytes of weights, statistics and optimizer state."""
    return variable_bytes.read(self._variables())

  def write_variables(self, values: Sequence[bytes]) -> None:
    """Restores what `read_variables` returned."""
    variable_bytes.write(self._variables(), values)

  def weights_in(self, values: Sequence[bytes]) -> list[np.ndarray]:
    """Returns the weights and statistics among what `read_variables` returned.

    They are in the order of the weights of the model before it was wrapped, and
    share the memory of `values`.
    """
    return variable_bytes.arrays(self._layers.model_weights, values)

  def _variables(self) -> list[Any]:
    optimizer = self._armed.optimizer
    return [*self._layers.model_weights, *optimizer.variables()]

  # The train step.

  def attach_state(self) -> tuple[RunState, bool]:
    """Returns the state of the run, and whether it is new to this process."""
    first, *others = self._layers.schedules
    is_new = not first.was_attached
    self._run = run = first.attach_to_run(self._model)
    for schedule in others:
      schedule.attach_to_run(self._model, run)
    self._layers.save_run_in_config(run)
    self._layers.disable_tfmot_updates()
    # Creates their variables, into which a checkpoint may be restored.
    self._layers.set_schedule_sparsities(self.read_masks())
    return run.state, is_new

  @property
  def _tracked(self) -> TrackedRun:
    assert self._run is not None
    return self._run

  def prepare(self, ramp: L2Ramp | None) -> None:
    """Creates the variables into which a checkpoint may be restored."""
    self._ramp = ramp
    variables = self._tracked.ramp
    if ramp is not None:
      variables.add_candidates(
        np.zeros(kernel.shape, bool) for kernel in self.kernels
      )
    self._armed.prepare(ramp, variables)

  def arm(self, run: RunEvents) -> None:
    """Makes the model train by masked steps, until `disarm`."""
    self._armed.arm(run)

  def disarm(self) -> None:
    """Restores the training of the model, and releases the data of `fit`."""
    self._armed.disarm()
    self.fit = FitContext()

  def end_after_other_callbacks(self, end: Callable[[], None]) -> bool:
    """Lets Keras call a function after all callbacks when training ends."""
    return self._armed.end_after_other_callbacks(end)

  def set_step_kind(self, ramps: bool, masks: bool) -> None:
    """Sets whether the next steps have a penalty, and any pruned weight."""
    if self._armed.hook is not None:
      self._armed.hook.set_kind(ramps, masks)

  def set_ramp(self, begin: int, steps: int, limit: float) -> None:
    """Sets the penalty of the next steps."""
    self._tracked.ramp.set_numbers(begin, steps, limit)

  def set_candidates(self, chosen: Sequence[np.ndarray]) -> None:
    """Sets the weights that the penalty applies to: True where it does."""
    self._tracked.ramp.set_candidates(chosen)

  def l2_lambda(self) -> float:
    """Returns the penalty coefficient of the next step."""
    if self._ramp is None:
      return 0.0
    iterations = self._armed.optimizer.iterations
    return float(self._tracked.ramp.l2_lambda(self._ramp, iterations))

  def penalty(self) -> Any:
    """Returns the penalty that a custom training loop adds to its loss."""
    hook = self._armed.hook
    return tf.constant(0.0) if hook is None else hook.penalty()

  def after_step(self) -> None:
    """Masks the weights after the optimizer step of a custom loop."""
    if self._armed.hook is not None:
      self._armed.hook.after_step()

  # The optimizer.

  @property
  def steps_per_execution(self) -> int:
    """The training steps between two calls of the callbacks."""
    return keras_access.steps_per_execution(self._model)

  def find_optimizer(self, trains: bool) -> None:
    """Finds the optimizer that trains the kernels, if the run prunes."""
    self._armed.find_optimizer(trains)

  def iterations(self) -> int:
    """Returns the number of steps that the optimizer has done."""
    return self._armed.iterations()

  def step_sizes(self, steps: int) -> StepSizes:
    """Returns how far the optimizer moves weights over the next steps."""
    return optimizer_traits.step_sizes(self._armed.optimizer, steps)

  def learning_rate_schedule(self) -> Any | None:
    """Returns the learning-rate schedule, `None` if the rate is a number."""
    return optimizer_traits.learning_rate_schedule(self._armed.optimizer)

  def restart_decay(self, begin: int, steps: int) -> None:
    """Restarts a `StagedLearningRate`, if the optimizer has one."""
    rate = optimizer_traits.staged_learning_rate(self._armed.optimizer)
    if rate is not None:
      rate.restart(begin, steps)

  # Checks, which raise errors or warn.

  def check_masks(self) -> None:
    """Warns of masks that were set before the weights were loaded."""
    self._layers.warn_of_open_masks()

  def check_new_run(self, epochs: int, rounds_end: int) -> None:
    """Checks that the kernels are trained and no other callback interferes."""
    model_checks.check_not_frozen(self._layers)
    fit_checks.warn_of_misled_callbacks(
      self.fit.callbacks,
      self.learning_rate_schedule(),
      epochs,
      rounds_end,
      keras.callbacks,
    )

  def check_step(self) -> None:
    """Raises if the last training step was not a masked one."""
    self._armed.check_step()

  def check_kernels(self) -> None:
    """Raises if a kernel is not finite."""
    model_checks.check_kernels(self._layers)

  def check_epoch(self, logs: Mapping[str, Any]) -> None:
    """Raises if a weight, an optimizer slot or a loss is not finite."""
    self._armed.restore_written()
    model_checks.check_kernels(self._layers)
    model_checks.check_finite(self._model, logs)

  def check_optimizer_steps(self, batches: int) -> None:
    """Raises if the epoch's batches did not move the optimizer."""
    self._armed.check_optimizer_steps(batches)


def create_engine(model: keras.Model, callback: Any) -> TfmotEngine:
  """Returns the engine of a model for the `fit` that begins.

  Args:
    model: a compiled model.
    callback: the ticket callback of the `fit`.
  """
  return TfmotEngine(model, callback)

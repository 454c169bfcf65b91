"""Keras3Engine: Keras 3 models with a pruning plan, for the algorithms."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from tf_unilth.engines import fit_checks
from tf_unilth.engines.engine import RunEvents, StepSizes
from tf_unilth.engines.fit_context import FitContext
from tf_unilth.engines.keras3 import (
  backend_values,
  dense_layers,
  model_checks,
  optimizer_traits,
  pruning_plan,
)
from tf_unilth.engines.keras3.masked_apply import MaskedApply
from tf_unilth.engines.keras3.pruning_plan import PlannedKernel
from tf_unilth.engines.keras3.run_backup import RunBackup
from tf_unilth.run.run_state import RunState
from tf_unilth.schedules.l2_ramp import L2Ramp


class Keras3Engine:
  """The engine of a Keras 3 model; see `engines/engine.py`.

  Args:
    model: a compiled model with a pruning plan.
    callback: the ticket callback of the `fit` that begins.

  Raises:
    ValueError: a ticket callback cannot prune the model in this `fit`.
  """

  def __init__(self, model: keras.Model, callback: Any):
    self._model = model
    self._plan = pruning_plan.planned(model)
    self._hooks = self._plan.hooks
    self.fit: FitContext = self._hooks.fit
    model_checks.check_no_run(self._hooks, type(callback).__name__)
    model_checks.check_compiled(model)
    if self.fit.is_fit:
      fit_checks.check_callbacks(callback, self.fit.callbacks, keras.callbacks)
    self._plan.check()
    dense_layers.remind(self._plan)
    self._ramp: L2Ramp | None = None
    self._calls = 0
    self._iterations_at_begin: int | None = None
    self._backups = [
      RunBackup(self._plan, other)
      for other in self.fit.callbacks
      if isinstance(other, keras.callbacks.BackupAndRestore)
    ]

  # Kernels, masks and weights.

  @property
  def kernels(self) -> list[PlannedKernel]:
    """The kernels to prune."""
    return self._plan.kernels

  @property
  def channels(self) -> None:
    """`None`: whole channels of Keras 3 models are not pruned."""
    return None

  def read_weights(self) -> list[np.ndarray]:
    """Returns copies of the kernels in float32."""
    return self._plan.read_weights()

  def read_masks(self) -> list[np.ndarray]:
    """Returns the masks."""
    return list(self._plan.masks)

  def write_masks(self, masks: Sequence[np.ndarray]) -> None:
    """Sets the masks, and the weights that they prune to zero."""
    self._plan.set_masks(masks)

  def clear_slots(self, masks: Sequence[np.ndarray]) -> None:
    """Sets the optimizer slots of pruned weights to zero, where it helps."""
    backend_values.sync(self._model)
    self._own_hook.clear_slots(masks)

  @property
  def _own_hook(self) -> MaskedApply:
    """The hook of the model's optimizer."""
    return self._hooks.hook_optimizer()

  # Snapshots.

  def read_variables(self) -> list[bytes]:
    """Returns the bytes of weights, statistics and optimizer state."""
    return backend_values.read_bytes(self._variables())

  def write_variables(self, values: Sequence[bytes]) -> None:
    """Restores what `read_variables` returned."""
    backend_values.write_bytes(self._variables(), values)

  def weights_in(self, values: Sequence[bytes]) -> list[np.ndarray]:
    """Returns the weights and statistics among what `read_variables` returned.

    They are in the order of `get_weights()`, and share the memory of `values`.
    """
    return backend_values.arrays(self._model.weights, values)

  def _variables(self) -> list[Any]:
    backend_values.sync(self._model)
    return [*self._model.weights, *self._own_hook.own_variables()]

  # The train step.

  def attach_state(self) -> tuple[RunState, bool]:
    """Returns the state of the run, and whether it is new to this process."""
    is_new = not self._plan.was_attached
    self._plan.was_attached = True
    return self._plan.state, is_new

  def prepare(self, ramp: L2Ramp | None) -> None:
    """Creates the variables that steps read."""
    self._ramp = ramp
    if ramp is not None:
      with pruning_plan.variable_scope(self._model):
        self._plan.variables.add_candidates()
    self._own_hook.pass_variables()
    for backup in self._backups:
      backup.attach()

  def arm(self, run: RunEvents) -> None:
    """Makes the model train by the steps of the run, until `disarm`."""
    hook = self._own_hook
    hook.ramp = self._ramp
    self._hooks.run, self._hooks.run_is_of_fit = run, self.fit.is_fit
    self._calls = self._hooks.calls
    self._iterations_at_begin = self.iterations()
    if self.fit.is_fit:
      self._model.make_train_function()

  def disarm(self) -> None:
    """Lets the model train on by itself; its masks stay."""
    if self._hooks.run is not None and self._hooks.apply is not None:
      self._hooks.apply.ramp = None
      self._hooks.set_kind(False, self._plan.has_zeros)
    self._hooks.run = None
    self.fit = FitContext()
    for backup in self._backups:
      backup.detach()

  def end_after_other_callbacks(self, end: Callable[[], None]) -> bool:
    """Calls a function after all callbacks when `fit` ends."""
    return self._hooks.end_after_fit(end)

  def set_step_kind(self, ramps: bool, masks: bool) -> None:
    """Sets whether the next steps have a penalty, and any pruned weight."""
    self._hooks.set_kind(ramps and self._ramp is not None, masks)

  def set_ramp(self, begin: int, steps: int, limit: float) -> None:
    """Sets the penalty of the next steps."""
    backend_values.sync(self._model)
    self._plan.variables.set_ramp(begin, steps, limit)

  def set_candidates(self, chosen: Sequence[np.ndarray]) -> None:
    """Sets the weights that the penalty applies to: True where it does."""
    backend_values.sync(self._model)
    self._plan.variables.set_candidates(chosen)

  def l2_lambda(self) -> float:
    """Returns the penalty coefficient of the next step."""
    if self._ramp is None:
      return 0.0
    value = self._plan.variables.l2_lambda(self._ramp, self.iterations())
    return float(keras.ops.convert_to_numpy(value))

  def penalty(self) -> Any:
    """Returns 0: the optimizer's `apply` adds the penalty's gradient itself."""
    return keras.ops.convert_to_tensor(0.0)

  def after_step(self) -> None:
    """Masks the weights after a step, if a custom loop wrote them itself."""
    self._own_hook.apply_masks()

  # The optimizer.

  @property
  def steps_per_execution(self) -> int:
    """The training steps between two calls of the callbacks."""
    return int(self._model.steps_per_execution)

  def find_optimizer(self, trains: bool) -> None:
    """Hooks the model's optimizer."""
    self._hooks.hook_optimizer()

  def iterations(self) -> int:
    """Returns the number of batches that the optimizer was given."""
    backend_values.sync(self._model)
    return optimizer_traits.iterations(self._model.optimizer)

  def step_sizes(self, steps: int) -> StepSizes:
    """Returns how far the optimizer moves weights over the next steps."""
    backend_values.sync(self._model)
    return optimizer_traits.step_sizes(self._model.optimizer, steps)

  def learning_rate_schedule(self) -> Any | None:
    """Returns the learning-rate schedule, `None` if the rate is a number."""
    return optimizer_traits.learning_rate_schedule(self._model.optimizer)

  def restart_decay(self, begin: int, steps: int) -> None:
    """Restarts a `StagedLearningRate`, if the optimizer has one."""
    rate = optimizer_traits.staged_learning_rate(self._model.optimizer)
    if rate is not None:
      backend_values.sync(self._model)
      rate.restart(begin, steps)

  # Checks, which raise errors or warn.

  def check_masks(self) -> None:
    """Warns of masks that are not those of the weights.

    Zeros of a model that was saved in a run become masks.
    """
    model_checks.warn_of_open_masks(self._plan)
    if self.iterations():
      model_checks.take_over_zeros(self._plan)

  def check_new_run(self, epochs: int, rounds_end: int) -> None:
    """Checks that the kernels are trained and no other callback interferes."""
    model_checks.check_not_frozen(self._plan)
    fit_checks.warn_of_misled_callbacks(
      self.fit.callbacks,
      self.learning_rate_schedule(),
      epochs,
      rounds_end,
      keras.callbacks,
    )

  def check_step(self) -> None:
    """Raises if the last training step was not by our train function."""
    if not self.fit.is_fit:
      return
    if self._hooks.calls == self._calls:
      raise ValueError(
        'train_function of the model was replaced during fit by one that '
        'does not apply the masks: it must be made by '
        'model.make_train_function(force=True).'
      )
    self._calls = self._hooks.calls

  def check_kernels(self) -> None:
    """Raises if a kernel is not finite."""
    fit_checks.check_kernels(self.kernels, self.read_weights())

  def check_epoch(self, logs: Mapping[str, Any]) -> None:
    """Raises if a weight, an optimizer slot or a loss is not finite."""
    self.check_kernels()
    slots = self._own_hook.own_variables()
    model_checks.check_finite(self._model, slots, logs)

  def check_optimizer_steps(self, batches: int) -> None:
    """Raises if the optimizer has not moved in a custom training loop."""
    before, self._iterations_at_begin = self._iterations_at_begin, None
    if self.fit.is_fit or before is None or not batches:
      return
    optimizer = self._model.optimizer
    # Loss scaling skips steps whose gradients overflow.
    scales_loss = optimizer is not optimizer_traits.inner(optimizer)
    if self.iterations() == before and not scales_loss:
      raise ValueError(
        f'{type(optimizer).__name__}, the optimizer of the model, has done no '
        'step in this epoch: the training loop must apply it.'
      )


def create_engine(model: keras.Model, callback: Any) -> Keras3Engine:
  """Returns the engine of a model for the `fit` that begins.

  Args:
    model: a compiled model.
    callback: the ticket callback of the `fit`.
  """
  return Keras3Engine(model, callback)

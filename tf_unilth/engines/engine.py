"""The protocol between the algorithms and a framework.

An engine serves one model during one `fit`. It knows nothing of stages and
rounds; a `PruningRun` of `algorithms/` decides, and the engine does. Arrays are
NumPy arrays on the host. Lists of arrays have an entry per kernel, in the order
of `kernels`; a mask is boolean, True where a weight is kept.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from tf_unilth.engines.fit_context import FitContext
from tf_unilth.run.run_state import RunState
from tf_unilth.schedules.l2_ramp import L2Ramp
from tf_unilth.selection.channels import Channels
from tf_unilth.selection.unit import Structure


class Kernel(Protocol):
  """A prunable weight."""

  @property
  def name(self) -> str:
    """The name of its layer, with a suffix if the layer has several."""

  @property
  def shape(self) -> tuple[int, ...]:
    """Its shape."""

  @property
  def schedule(self) -> Any:
    """The `IterativeSparsity` of its layer."""

  @property
  def structure(self) -> Structure:
    """The units in which it is pruned."""


@dataclasses.dataclass(frozen=True, eq=False)
class StepSizes:
  """How far the optimizer moves weights over the next steps.

  Args:
    positions: fractions of the steps, in (0, 1), shape (n,).
    sizes: learning rate / (1 - momentum) at the positions, shape (n,).
    largest_lambda: the largest penalty coefficient that is stable.
  """

  positions: np.ndarray
  sizes: np.ndarray
  largest_lambda: float


class RunEvents(Protocol):
  """What an engine tells a run between the run's own calls."""

  @property
  def needs_training(self) -> bool:
    """Whether the kernels must be trained, since the run prunes or rewinds."""

  @property
  def rewinds(self) -> bool:
    """Whether the run rewinds weights and optimizer."""

  def restore_masks(self) -> None:
    """Called when other code has written kernels."""

  def on_optimizer_replaced(self, iterations: int) -> None:
    """Called when the model was compiled again with another optimizer.

    Args:
      iterations: the iterations of the new optimizer minus those of the old.
    """

  def release(self) -> None:
    """Called when the training has died."""


class Engine(Protocol):
  """What a run needs of a framework, for one model and one `fit`."""

  @property
  def fit(self) -> FitContext:
    """The `fit` around the run."""

  # Kernels, masks and weights.

  @property
  def kernels(self) -> Sequence[Kernel]:
    """The kernels of the wrapped layers.

    With `channels` also the biases, gammas, betas and depthwise kernels that go
    with a unit.
    """

  @property
  def channels(self) -> Channels | None:
    """The units of the model if whole channels are pruned, else `None`."""

  def read_weights(self) -> list[np.ndarray]:
    """Returns the kernels in float32. Do not write them."""

  def read_masks(self) -> list[np.ndarray]:
    """Returns the masks."""

  def write_masks(self, masks: Sequence[np.ndarray]) -> None:
    """Sets the masks, and the weights that they prune to zero."""

  def clear_slots(self, masks: Sequence[np.ndarray]) -> None:
    """Sets the optimizer slots of pruned weights to zero, where it helps."""

  # Snapshots.

  def read_variables(self) -> list[bytes]:
    """Returns the bytes of weights, statistics and optimizer state."""

  def write_variables(self, values: Sequence[bytes]) -> None:
    """Restores what `read_variables` returned."""

  def weights_in(self, values: Sequence[bytes]) -> list[np.ndarray]:
    """Returns the weights and statistics among what `read_variables` returned.

    They are those of the model before it was wrapped, in its order. The arrays
    share the memory of `values`.
    """

  # The train step.

  def attach_state(self) -> tuple[RunState, bool]:
    """Returns the state of the run, which is saved with the model.

    What is saved is restored in place until the first epoch begins.

    Returns:
      The state, and whether no run of this process has used it before.
    """

  def prepare(self, ramp: L2Ramp | None) -> None:
    """Creates the variables into which a checkpoint may be restored."""

  def arm(self, run: RunEvents) -> None:
    """Makes the model train by masked steps, until `disarm`."""

  def disarm(self) -> None:
    """Gives the model its own training back."""

  def end_after_other_callbacks(self, end: Callable[[], None]) -> bool:
    """Lets Keras call a function after all callbacks when training ends.

    Returns:
      Whether it will be called.
    """

  def set_step_kind(self, ramps: bool, masks: bool) -> None:
    """Sets whether the next steps have a penalty, and any pruned weight."""

  def set_ramp(self, begin: int, steps: int, limit: float) -> None:
    """Sets the penalty of the next steps.

    Args:
      begin: the iteration at which the ramp begins.
      steps: the number of steps over which lambda rises, at least 1.
      limit: the largest lambda; 0 for no penalty.
    """

  def set_candidates(self, chosen: Sequence[np.ndarray]) -> None:
    """Sets the weights that the penalty applies to: True where it does."""

  def l2_lambda(self) -> float:
    """Returns the penalty coefficient of the next step."""

  def penalty(self) -> Any:
    """Returns the penalty that a custom training loop adds to its loss."""

  def after_step(self) -> None:
    """Masks the weights after the optimizer step of a custom loop."""

  # The optimizer.

  @property
  def steps_per_execution(self) -> int:
    """The training steps between two calls of the callbacks."""

  def find_optimizer(self, trains: bool) -> None:
    """Finds the optimizer; the one that trains the kernels if the run prunes.

    Args:
      trains: whether the run prunes.
    """

  def iterations(self) -> int:
    """Returns the number of steps that the optimizer has done."""

  def step_sizes(self, steps: int) -> StepSizes:
    """Returns how far the optimizer moves weights over the next steps."""

  def learning_rate_schedule(self) -> Any | None:
    """Returns the learning-rate schedule, `None` if the rate is a number."""

  def restart_decay(self, begin: int, steps: int) -> None:
    """Restarts a `StagedLearningRate`, if the optimizer has one."""

  # Checks, which raise errors or warn.

  def check_masks(self) -> None:
    """Warns, as a new run begins, of masks that are not those of the weights.

    It may set the masks to the zeros of the weights.
    """

  def check_new_run(self, epochs: int, rounds_end: int) -> None:
    """Checks that the kernels are trained and no other callback interferes.

    Args:
      epochs: the number of epochs of the run.
      rounds_end: the (0-based) epoch by which the last round has ended.
    """

  def check_step(self) -> None:
    """Raises if the last training step was not a masked one."""

  def check_kernels(self) -> None:
    """Raises if a kernel is not finite."""

  def check_epoch(self, logs: Mapping[str, Any]) -> None:
    """Raises if a weight, an optimizer slot or a loss is not finite."""

  def check_optimizer_steps(self, batches: int) -> None:
    """Raises if the epoch's batches did not move the optimizer."""

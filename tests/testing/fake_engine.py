"""An engine in NumPy, on which the algorithms run in milliseconds.

Its model is a list of kernels and a bias, each drawn to a fixed goal by SGD
with momentum: a step moves w by -rate * v, where v = momentum * v + (w - goal).
"""

import dataclasses
import itertools
import math
import pickle
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from tf_unilth.algorithms.algorithm import Algorithm
from tf_unilth.algorithms.pruning_run import PruningRun
from tf_unilth.engines.engine import RunEvents, StepSizes
from tf_unilth.engines.fit_context import FitContext
from tf_unilth.run.run_state import RunState
from tf_unilth.schedules.l2_ramp import L2Ramp
from tf_unilth.schedules.staged_learning_rate import StagedLearningRate
from tf_unilth.selection.channels import (
  Channels,
  UnitAxis,
  UnitGroup,
  UnitWeight,
)
from tf_unilth.selection.unit import Single, Structure

SHAPES = ((36, 16), (16, 2))  # As in `toys.dense()`.


@dataclasses.dataclass(frozen=True, eq=False)
class FakeKernel:
  """A kernel; its arrays are those of the model."""

  name: str
  shape: tuple[int, ...]
  schedule: Any
  structure: Structure = dataclasses.field(default_factory=Single)


def fake_channels() -> Channels:
  """The 16 units between the two kernels; a unit costs 100 FLOPs."""
  made = UnitAxis(1, np.arange(16), makes=True)
  read = UnitAxis(0, np.arange(16), makes=False)
  return Channels(
    (UnitGroup('kernel_0', 16),),
    (UnitWeight(SHAPES[0], (made,)), UnitWeight(SHAPES[1], (read,))),
    lambda units: 100 * int(units.sum()) + 400,
    ('kernel_1 (output of the model)',),
  )


class FakeModel:
  """What outlives a `fit`: weights, masks, optimizer and the run's state."""

  def __init__(
    self,
    *schedules: Any,
    rate: Any = 0.05,
    momentum: float = 0.9,
    steps_per_execution: int = 1,
    seed: int = 0,
    by_channels: bool = False,
  ):
    rng = np.random.default_rng(seed)
    shapes = [*SHAPES, (2,)]
    self.weights = [rng.normal(size=s).astype(np.float32) for s in shapes]
    self.goals = [rng.normal(size=s).astype(np.float32) for s in shapes]
    self.slots = [np.zeros(s, np.float32) for s in shapes]
    self.masks = [np.ones(s, bool) for s in SHAPES]
    self.candidates = [np.zeros(s, bool) for s in SHAPES]
    self.schedules = schedules if len(schedules) > 1 else schedules * 2
    self.rate, self.momentum = rate, momentum
    self.steps_per_execution = steps_per_execution
    self.iterations = 0
    self.state = RunState()
    self.is_new = True
    self.by_channels = by_channels

  def copy(self) -> 'FakeModel':
    """Returns what a file of the model would load, for another process."""
    schedules, self.schedules = self.schedules, ()
    loaded = pickle.loads(pickle.dumps(self))
    self.schedules = loaded.schedules = schedules
    loaded.is_new = True
    return loaded

  def variables(self) -> list[np.ndarray]:
    """The weights, the slots and the counter."""
    return [*self.weights, *self.slots, np.array(self.iterations)]


class FakeEngine:
  """The engine of a `FakeModel` for one `fit`."""

  def __init__(self, model: FakeModel, fit: FitContext | None = None):
    self.model = model
    self.fit = FitContext() if fit is None else fit
    self.kernels = [
      FakeKernel(f'kernel_{i}', s, schedule)
      for i, (s, schedule) in enumerate(zip(SHAPES, model.schedules))
    ]
    self._ramp: L2Ramp | None = None
    self._limits = 0, 1, 0.0
    self._run: RunEvents | None = None
    self.has_penalty = False
    self.calls: list[str] = []

  @property
  def channels(self) -> Channels | None:
    return fake_channels() if self.model.by_channels else None

  def train(self) -> None:
    """Does one training step."""
    model = self.model
    rate = self._rates(np.array([model.iterations]))[0]
    for i, (w, v) in enumerate(zip(model.weights, model.slots)):
      gradient = w - model.goals[i]
      if i < len(self.kernels):
        if self._run is not None and self.has_penalty:
          gradient += np.float32(self.l2_lambda()) * model.candidates[i] * w
        if self._run is not None:
          gradient *= model.masks[i]
      v *= model.momentum
      v += gradient
      w -= np.float32(rate) * v
    model.iterations += 1

  def _rates(self, iterations: np.ndarray) -> list[float]:
    rate = self.model.rate
    if isinstance(rate, StagedLearningRate):
      # In NumPy, also where TensorFlow would compute it.
      begin, steps = int(rate._begin), np.float32(int(rate._steps))
      done = np.maximum(iterations - begin, 0).astype(np.float32)
      return rate.rate(np, done, steps).tolist()
    return [float(rate(i)) if callable(rate) else rate for i in iterations]

  # Kernels, masks and weights.

  def read_weights(self) -> list[np.ndarray]:
    """See `Engine`, as all methods."""
    return [w.copy() for w in self.model.weights[: len(self.kernels)]]

  def read_masks(self) -> list[np.ndarray]:
    return [mask.copy() for mask in self.model.masks]

  def write_masks(self, masks: Sequence[np.ndarray]) -> None:
    self.calls.append('write_masks')
    for weight, own, new in zip(self.model.weights, self.model.masks, masks):
      own[...] = new
      weight[~new] = 0

  def clear_slots(self, masks: Sequence[np.ndarray]) -> None:
    for slot, mask in zip(self.model.slots, masks):
      slot[~mask] = 0

  # Snapshots.

  def read_variables(self) -> list[bytes]:
    self.calls.append('read_variables')
    return [variable.tobytes() for variable in self.model.variables()]

  def write_variables(self, values: Sequence[bytes]) -> None:
    self.calls.append('write_variables')
    model = self.model
    *arrays, counter = values
    for array, value in zip(
      [*model.weights, *model.slots], arrays, strict=True
    ):
      array[...] = np.frombuffer(value, np.float32).reshape(array.shape)
    model.iterations = int(np.frombuffer(counter, np.int64)[0])

  def weights_in(self, values: Sequence[bytes]) -> list[np.ndarray]:
    return [
      np.frombuffer(value, np.float32).reshape(weight.shape)
      for weight, value in zip(self.model.weights, values)
    ]

  # The train step.

  def attach_state(self) -> tuple[RunState, bool]:
    is_new, self.model.is_new = self.model.is_new, False
    return self.model.state, is_new

  def prepare(self, ramp: L2Ramp | None) -> None:
    self._ramp = ramp

  def arm(self, run: RunEvents) -> None:
    self._run = run

  def disarm(self) -> None:
    self._run = None

  def end_after_other_callbacks(self, end: Callable[[], None]) -> bool:
    return False

  def set_step_kind(self, ramps: bool, masks: bool) -> None:
    self.has_penalty = ramps and self._ramp is not None

  def set_ramp(self, begin: int, steps: int, limit: float) -> None:
    self._limits = begin, steps, limit

  def set_candidates(self, chosen: Sequence[np.ndarray]) -> None:
    for own, new in zip(self.model.candidates, chosen, strict=True):
      own[...] = new

  def l2_lambda(self) -> float:
    if self._ramp is None:
      return 0.0
    begin, steps, limit = self._limits
    step = max(0, self.model.iterations - begin)
    return float(self._ramp.coefficient(step, limit, steps))

  def penalty(self) -> Any:
    return 0.0

  def after_step(self) -> None:
    pass

  # The optimizer.

  @property
  def steps_per_execution(self) -> int:
    return self.model.steps_per_execution

  def find_optimizer(self, trains: bool) -> None:
    pass

  def iterations(self) -> int:
    return self.model.iterations

  def step_sizes(self, steps: int) -> StepSizes:
    positions = (np.arange(16) + 0.5) / 16
    rates = self._rates(self.iterations() + (positions * steps).astype(int))
    sizes = np.array(rates) / (1 - self.model.momentum)
    highest = max(rates)
    largest = (1 + self.model.momentum) / highest if highest > 0 else 0.0
    return StepSizes(positions, sizes, largest)

  def learning_rate_schedule(self) -> Any | None:
    return self.model.rate if callable(self.model.rate) else None

  def restart_decay(self, begin: int, steps: int) -> None:
    if hasattr(self.model.rate, 'restart'):
      self.model.rate.restart(begin, steps)

  # Checks.

  def check_masks(self) -> None:
    pass

  def check_new_run(self, epochs: int, rounds_end: int) -> None:
    pass

  def check_step(self) -> None:
    self.calls.append('check_step')

  def check_kernels(self) -> None:
    for kernel, weight in zip(self.kernels, self.read_weights()):
      if not np.isfinite(weight).all():
        raise FloatingPointError(f'layer {kernel.name!r} has NaN weights')

  def check_epoch(self, logs: Mapping[str, Any]) -> None:
    self.check_kernels()
    if not math.isfinite(logs.get('loss', 0.0)):
      raise FloatingPointError(f'loss is {logs["loss"]}')

  def check_optimizer_steps(self, batches: int) -> None:
    pass


@dataclasses.dataclass
class Trained:
  """What a `fit` on the fake engine leaves behind, and what it did."""

  run: PruningRun
  engine: FakeEngine
  logs: list[dict[str, Any]] = dataclasses.field(default_factory=list)
  # After each step: masks, kernels, learning rate and what was called.
  masks: list[list[np.ndarray]] = dataclasses.field(default_factory=list)
  weights: list[list[np.ndarray]] = dataclasses.field(default_factory=list)
  rates: list[float] = dataclasses.field(default_factory=list)
  calls: list[list[str]] = dataclasses.field(default_factory=list)

  def log(self, name: str) -> list[Any]:
    """The values of a name in the epoch logs."""
    return [logs.get(name) for logs in self.logs]

  def all_calls(self) -> set[str]:
    """What the run called after steps."""
    return set(itertools.chain.from_iterable(self.calls))

  def zeros(self) -> int:
    """The zeros in the masks."""
    return sum(int((~mask).sum()) for mask in self.engine.model.masks)


def fit(
  model: FakeModel,
  algorithm: Algorithm,
  epochs: int = 8,
  steps: int = 8,
  val_loss: Sequence[float] = (1.0,),
  initial_epoch: int = 0,
  known_steps: bool = True,
  context: FitContext | None = None,
  on_epoch: Callable[[Trained, int, dict[str, Any]], bool] = lambda *_: False,
) -> Trained:
  """Trains a model as Keras's `fit` does.

  Args:
    model: the model.
    algorithm: a ticket callback.
    epochs: the last epoch.
    steps: training steps per epoch.
    val_loss: of the epochs from 0 on; the last one is repeated.
    initial_epoch: the first epoch.
    known_steps: whether the run is told `steps`.
    context: the `fit` that the algorithm sees.
    on_epoch: called with what was trained, the epoch and its logs before the
      algorithm's hook; returns whether to stop after it.
  """
  engine = FakeEngine(model, context)
  run = PruningRun(algorithm, engine, epochs, steps if known_steps else 0)
  result = Trained(run, engine)
  execution = model.steps_per_execution
  for epoch in range(initial_epoch, epochs):
    algorithm.log.flush()
    run.begin_epoch(epoch)
    for end in range(execution, steps + execution, execution):
      end = min(end, steps)
      for _ in range(min(execution, steps)):
        result.rates += engine._rates(np.array([model.iterations]))
        engine.train()
      engine.calls = []
      run.end_step(end)
      result.masks.append(engine.read_masks())
      result.weights.append(engine.read_weights())
      result.calls.append(list(engine.calls))
    logs = {'loss': 0.5, 'val_loss': val_loss[min(epoch, len(val_loss) - 1)]}
    stops = on_epoch(result, epoch, logs)
    run.end_epoch(epoch + 1, logs)
    result.logs.append(logs)
    if stops:
      break
  run.end_training()
  return result

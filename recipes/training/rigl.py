"""RigL: a random ticket whose connections move while it trains."""

import dataclasses
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras as keras

import tf_unilth
from recipes.common.wording import count
from recipes.training.method_settings import (
  GRADUAL_UPDATES,
  Settings,
  TrainingSetup,
)


@dataclasses.dataclass(frozen=True)
class UpdateSchedule:
  """The steps after which connections move, and how many of them.

  The numbers are those of the paper: every 100 steps until 75% of the training,
  a fraction of 0.3 that falls to 0 as a cosine. A short run would have too few
  updates, so it has as many as gradual pruning has, at shorter intervals.

  Args:
    steps: of the whole run, at least 3, as tickets need three epochs.

  >>> UpdateSchedule(100_000).interval, UpdateSchedule(1000).interval
  (100, 12)
  """

  steps: int

  @property
  def end(self) -> int:
    """The step before which updates are done."""
    return int(0.75 * self.steps)

  @property
  def interval(self) -> int:
    """The steps between two updates."""
    return max(1, min(100, self.end // GRADUAL_UPDATES))

  @property
  def updates(self) -> int:
    """The number of updates of the run."""
    return (self.end - 1) // self.interval

  def due(self, before: int, after: int) -> int | None:
    """Returns the step of the update that is due, `None` if none is.

    Args:
      before: the steps that were done before the last call of the train
        function, which does several with `--steps_per_execution`.
      after: the steps that are done now.
    """
    step = after // self.interval * self.interval
    return step if before < step < self.end else None

  def fraction(self, step: int) -> float:
    """Returns the fraction of a layer's connections that move, in [0, 0.3].

    Args:
      step: of the update.
    """
    return 0.3 / 2 * (1 + math.cos(step * math.pi / self.end))


def moved(
  mask: np.ndarray, weight: np.ndarray, gradient: np.ndarray, fraction: float
) -> np.ndarray:
  """Returns the mask of a layer after an update.

  The smallest connections are dropped, and as many are grown, of all that are
  not there now, where the loss depends most on the weight. So one that was just
  dropped may come back. Of equal ones, the first are dropped or grown.

  Args:
    mask: True for the active weights, of any shape.
    weight: the weights, in the same shape.
    gradient: of the loss by all weights, in the same shape.
    fraction: of the active weights, in [0, 1); rounded down.

  >>> moved(np.array([True, True, True, False, False]),
  ...       np.array([3, -1, 2, 0, 0]), np.array([9, 0, 9, 1, -2]), 0.4)
  array([ True, False,  True, False,  True])
  """
  active = np.flatnonzero(mask)
  number = int(fraction * active.size)
  magnitude, slope = np.abs(weight.ravel()), np.abs(gradient.ravel())
  result = mask.ravel().copy()
  result[active[_largest(-magnitude[active], number)]] = False
  inactive = np.flatnonzero(~result)
  result[inactive[_largest(slope[inactive], number)]] = True
  return result.reshape(mask.shape)


def _largest(values: np.ndarray, number: int) -> np.ndarray:
  """Returns the indices of the largest values; of equal ones, the first."""
  if number == 0:
    return np.zeros(0, int)
  least = np.partition(values, -number)[-number]
  above = np.flatnonzero(values > least)
  equal = np.flatnonzero(values == least)[: number - above.size]
  return np.concatenate([above, equal])


@dataclasses.dataclass(frozen=True)
class _Kernel:
  """The variables of a kernel: all but `gradient` are saved with the model.

  Its index is that among the trainable variables of the model.
  """

  index: int
  weight: Any
  mask: Any
  momentum: Any
  gradient: Any


class RigL(keras.callbacks.Callback):
  """Drops and grows connections; list it after the ticket callback.

  All that an update depends on are variables of model and optimizer, and the
  gradient of the same step, so a run that goes on needs no state of its own.

  Args:
    ticket: draws the first masks, and holds zeros in each step.
    schedule: of the updates.
    verbose: whether to print when the updates are.
  """

  def __init__(
    self, ticket: tf_unilth.DLTH, schedule: UpdateSchedule, verbose: bool
  ):
    super().__init__()
    self._ticket, self._schedule, self._verbose = ticket, schedule, verbose

  def on_train_begin(self, logs: Any = None) -> None:
    """Lets the train step, which is traced later, keep its gradients."""
    schedule, optimizer = self._schedule, self.model.optimizer
    if self._verbose:
      print(
        f'rigl: {count(schedule.updates, "update")} of the masks, each after '
        f'{count(schedule.interval, "step")}',
        flush=True,
      )
    with self.model.distribute_strategy.scope():
      self._kernels = sorted(_kernels(self.model), key=lambda k: k.index)
    compute = optimizer.compute_gradients

    def compute_and_keep(*args: Any, **kwargs: Any) -> Any:
      pairs = compute(*args, **kwargs)
      for kernel in self._kernels:
        kernel.gradient.assign(pairs[kernel.index][0])
      return pairs

    # The masked step of the ticket masks what `apply_gradients` gets.
    optimizer.compute_gradients = compute_and_keep

  def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
    """Notes how many steps are done."""
    self._before = int(self.model.optimizer.iterations.numpy())

  def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
    """Updates the masks, if that is due."""
    after = int(self.model.optimizer.iterations.numpy())
    step = self._schedule.due(self._before, after)
    if step is not None:
      self._update(self._schedule.fraction(step))

  def on_train_end(self, logs: Any = None) -> None:
    """Gives the optimizer its own method back."""
    del self.model.optimizer.compute_gradients

  def _update(self, fraction: float) -> None:
    for kernel in self._kernels:
      mask, gradient = kernel.mask.numpy() != 0, kernel.gradient.numpy()
      if not np.isfinite(gradient).all():
        raise FloatingPointError(
          f'the gradient of {kernel.weight.name} is not finite.'
        )
      new = moved(mask, kernel.weight.numpy(), gradient, fraction)
      kernel.mask.assign(new.astype(kernel.mask.dtype.as_numpy_dtype))
      # New connections begin at 0, and dropped ones must not move again. One
      # that came back keeps its weight.
      for variable in (kernel.weight, kernel.momentum):
        variable.assign(np.where(mask & new, variable.numpy(), 0))
    # The ticket holds the masks that it knows: it must read them again.
    self._ticket.after_restore()


def _kernels(model: Any) -> Iterator[_Kernel]:
  """Yields the kernels of the wrapped layers, whose optimizer is built."""
  optimizer = model.optimizer
  # In float16 there is one around it.
  inner = getattr(optimizer, 'inner_optimizer', optimizer)
  # By name, since in mixed precision the objects differ.
  names = [variable.name for variable in model.trainable_variables]
  for layer in model.submodules:
    if isinstance(layer, tf_unilth.PruneLowMagnitude):
      for weight, mask, _ in layer.pruning_vars:
        if names.count(weight.name) != 1:
          raise ValueError(
            f'--method=rigl needs one trainable variable {weight.name!r} in '
            f'the model, but there are {names.count(weight.name)}.'
          )
        index = names.index(weight.name)
        gradient = tf.Variable(
          tf.zeros(weight.shape, weight.dtype),
          trainable=False,
          aggregation=tf.VariableAggregation.MEAN,
        )
        yield _Kernel(index, weight, mask, inner.momentums[index], gradient)


def setup(settings: Settings) -> TrainingSetup:
  """Returns RigL (Evci et al., ICML 2020): `random --scope=erk` that moves.

  The first masks are those of the random ticket with the same seed, and layers
  keep their number of weights (Erdos-Renyi-kernel). One thing differs from the
  authors' code. A step after which connections move also updates the weights;
  theirs does not, which would cost a short run, whose intervals are short, many
  of its steps.

  Args:
    settings: of the run.
  """
  schedule = tf_unilth.IterativeSparsity(settings.target_sparsity, scope='erk')
  ticket = tf_unilth.DLTH(
    ramp=tf_unilth.L2Ramp(limit=0),
    finetune_fraction=1.0,
    seed=settings.seed,
    **settings.callback,
  )
  verbose = bool(settings.callback.get('verbose'))
  mover = RigL(ticket, UpdateSchedule(settings.steps), verbose)
  return TrainingSetup(schedule, [ticket, mover], ticket)

"""Properties of a Keras 3 optimizer that a run depends on."""

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from tf_unilth.engines.engine import StepSizes
from tf_unilth.schedules.staged_learning_rate import StagedLearningRate

optimizers = keras.optimizers
# Under these a weight of 0 stays 0 while its gradient and its slots are 0. Ftrl
# does not do so, since it divides by its slots, nor Muon, since it multiplies
# matrices. Subclasses must declare it.
_PRESERVING_ZEROS = tuple(
  getattr(optimizers, name)
  for name in (
    *('Adadelta', 'Adafactor', 'Adagrad', 'Adam', 'AdamW', 'Adamax', 'Lamb'),
    *('Lion', 'Nadam', 'RMSprop', 'SGD', 'ScheduleFreeAdamW'),
  )
  if hasattr(optimizers, name)
)
# The learning rate is sampled at this many positions of a round.
_SAMPLES = 16


def inner(optimizer: Any) -> Any:
  """Returns the optimizer inside a `LossScaleOptimizer`, else the optimizer."""
  return getattr(optimizer, 'inner_optimizer', optimizer)


def loss_scale(optimizer: Any) -> float | None:
  """Returns the scale of a `LossScaleOptimizer`, `None` without one.

  Also `None` on JAX, where the variables have no values during `fit`.
  """
  if not isinstance(optimizer, optimizers.LossScaleOptimizer):
    return None
  if keras.backend.backend() == 'jax':
    return None
  return _number(optimizer.dynamic_scale)


def penalty_through_gradient(optimizer: Any) -> bool:
  """Returns whether a penalty in the loss shrinks weights at its nominal rate.

  It does under SGD. An adaptive optimizer divides the penalty's gradient by a
  running average of its magnitude, and gradient clipping cuts it.
  """
  optimizer = inner(optimizer)
  clips = ('clipnorm', 'global_clipnorm', 'clipvalue')
  return isinstance(optimizer, optimizers.SGD) and all(
    getattr(optimizer, name, None) is None for name in clips
  )


def preserves_zeros(optimizer: Any) -> bool:
  """Returns whether a weight stays 0 while its gradient and slots are 0.

  It does under most Keras optimizers. A subclass declares it by a class
  attribute, `keeps_zeros = True`, which its own subclasses do not inherit.
  """
  outer, optimizer = optimizer, inner(optimizer)
  if outer is not optimizer and type(outer).__module__.split('.')[0] != 'keras':
    return False
  own = type(optimizer)
  if own.__module__.split('.')[0] == 'keras':
    # On torch, the class is one of Keras's own that derives from the public.
    preserves = isinstance(optimizer, _PRESERVING_ZEROS)
  else:
    preserves = vars(own).get('keeps_zeros', False)
  # Without epsilon, it divides by its slots alone.
  return preserves and getattr(optimizer, 'epsilon', None) != 0


def slots(optimizer: Any, variable: Any) -> Iterator[Any]:
  """Yields the optimizer's slots of a variable that have its shape.

  Args:
    optimizer: a built optimizer.
    variable: the variable. One that it does not train has no slots.
  """
  optimizer = inner(optimizer)
  try:
    index = optimizer._get_variable_index(variable)
  except KeyError:
    return
  trained = optimizer._trainable_variables
  # Each slot kind is a list, in the order of the variables that are trained.
  for name, value in vars(optimizer).items():
    if name in ('_variables', '_trainable_variables'):
      continue
    if isinstance(value, list | tuple) and len(value) == len(trained):
      slot = value[index]
      if isinstance(slot, keras.Variable) and slot.shape == variable.shape:
        yield slot


def momentum(optimizer: Any) -> float:
  """Returns the momentum in [0, 1) that a penalty's gradient is subject to.

  0 if the penalty does not go through the gradient.
  """
  if not penalty_through_gradient(optimizer):
    return 0.0
  return float(getattr(inner(optimizer), 'momentum', 0.0))


def accumulation_steps(optimizer: Any) -> int:
  """Returns over how many batches the optimizer averages gradients."""
  return getattr(inner(optimizer), 'gradient_accumulation_steps', None) or 1


def iterations(optimizer: Any) -> int:
  """Returns the number of batches that an optimizer was given."""
  return _number(inner(optimizer)._iterations.value, int)


def learning_rate_schedule(optimizer: Any) -> Any | None:
  """Returns the learning-rate schedule, `None` if the rate is a number."""
  rate = inner(optimizer)._learning_rate
  is_schedule = isinstance(rate, optimizers.schedules.LearningRateSchedule)
  return rate if is_schedule else None


def staged_learning_rate(optimizer: Any) -> StagedLearningRate | None:
  """Returns the optimizer's `StagedLearningRate`, `None` without one."""
  schedule = learning_rate_schedule(optimizer)
  return schedule if isinstance(schedule, StagedLearningRate) else None


def learning_rate(optimizer: Any, iteration: Any) -> Any:
  """Returns the learning rate at an iteration, a number or a tensor."""
  schedule = learning_rate_schedule(optimizer)
  if schedule is not None:
    return schedule(iteration)
  return inner(optimizer).learning_rate


def step_sizes(optimizer: Any, steps: int) -> StepSizes:
  """Returns how far an optimizer moves weights over the next steps.

  The largest lambda is that at which shrinking is stable. SGD is unstable above
  learning rate * lambda = 2 (1 + momentum); half of that is allowed. A
  decoupled shrink w (1 - learning rate * lambda) reaches 0 at 1.

  Args:
    optimizer: a built optimizer, whose learning rate is sampled.
    steps: the number of steps, at least 1.
  """
  positions = (np.arange(_SAMPLES) + 0.5) / _SAMPLES
  dtype = inner(optimizer)._iterations.dtype
  sampled = iterations(optimizer) + (positions * steps).astype(int)
  rates = [
    _number(
      learning_rate(optimizer, keras.ops.convert_to_tensor(int(i), dtype))
    )
    for i in sampled
  ]
  per_step = 1 - momentum(optimizer)
  sizes = np.array(rates) / per_step
  # Not the highest of `rates`: the last bits would differ.
  highest = float(sizes.max()) * per_step
  largest = _largest_product(optimizer) / highest if highest > 0 else 0.0
  # A weight moves once in as many batches as are accumulated.
  return StepSizes(positions, sizes / accumulation_steps(optimizer), largest)


def _number(value: Any, kind: type = float) -> Any:
  if isinstance(value, int | float):
    return kind(value)
  return kind(keras.ops.convert_to_numpy(value))


def coefficient_cap(optimizer: Any) -> Any | None:
  """Returns the largest stable lambda at the current learning rate.

  `None` for a schedule, whose future rates were known when lambda was chosen.
  If the rate is a number, another callback may have raised it since.
  """
  if learning_rate_schedule(optimizer) is not None:
    return None
  rate = keras.ops.cast(inner(optimizer).learning_rate, 'float32')
  return _largest_product(optimizer) / keras.ops.maximum(rate, 1e-30)


def _largest_product(optimizer: Any) -> float:
  """Returns the largest stable learning rate * lambda."""
  return 1 + momentum(optimizer) if penalty_through_gradient(optimizer) else 1.0

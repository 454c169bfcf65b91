"""Properties of an optimizer that a run depends on.

They cover both families of tf_keras, `keras.optimizers` and
`keras.optimizers.legacy`, and the `LossScaleOptimizer` that wraps an optimizer
under mixed precision.
"""

from typing import Any

import numpy as np
import tensorflow as tf

from tf_unilth.engines.engine import StepSizes
from tf_unilth.engines.tfmot.keras_access import keras
from tf_unilth.engines.tfmot.staged_learning_rate import StagedLearningRate

_LegacyOptimizer = keras.optimizers.legacy.Optimizer
_Schedule = keras.optimizers.schedules.LearningRateSchedule
# Under these a weight of 0 stays 0 while its gradient and its slots are 0. Ftrl
# does not do so, since it divides by its slots. Subclasses must declare it.
_PRESERVING_ZEROS = tuple(
  getattr(family, name)
  for family in (keras.optimizers, keras.optimizers.legacy)
  for name in (
    'Adadelta',
    'Adafactor',
    'Adagrad',
    'Adam',
    'AdamW',
    'Adamax',
    'Lion',
    'Nadam',
    'RMSprop',
    'SGD',
  )
  if hasattr(family, name)
)
# The learning rate is sampled at this many positions of a round.
_SAMPLES = 16


def inner(optimizer: Any) -> Any:
  """Returns the optimizer inside a `LossScaleOptimizer`, else the optimizer."""
  return getattr(optimizer, 'inner_optimizer', optimizer)


def build(optimizer: Any, model: keras.Model) -> None:
  """Creates the optimizer's slots, so that a snapshot can contain them."""
  optimizer = inner(optimizer)
  with model.distribute_strategy.scope():
    if isinstance(optimizer, _LegacyOptimizer):
      optimizer._create_all_weights(model.trainable_variables)
    else:
      optimizer.build(model.trainable_variables)


def penalty_through_gradient(optimizer: Any) -> bool:
  """Returns whether a penalty in the loss shrinks weights at its nominal rate.

  It does under SGD. An adaptive optimizer divides the penalty's gradient by a
  running average of its magnitude, and gradient clipping cuts it.
  """
  optimizer = inner(optimizer)
  clips = ('clipnorm', 'global_clipnorm', 'clipvalue')
  return isinstance(
    optimizer, (keras.optimizers.SGD, keras.optimizers.legacy.SGD)
  ) and all(getattr(optimizer, name, None) is None for name in clips)


def preserves_zeros(optimizer: Any) -> bool:
  """Returns whether a weight stays 0 while its gradient and slots are 0.

  It does under most Keras optimizers. A subclass declares it by a class
  attribute, `keeps_zeros = True`, which its own subclasses do not inherit.
  Other optimizers work too, at the cost of one more product per step.
  """
  outer, optimizer = optimizer, inner(optimizer)
  if outer is not optimizer and not type(outer).__module__.startswith(
    'tf_keras.'
  ):
    return False
  own = type(optimizer)
  if own not in _PRESERVING_ZEROS and not vars(own).get('keeps_zeros', False):
    return False
  # Without epsilon, it divides by its slots alone.
  divides = getattr(optimizer, 'epsilon', None) == 0
  # A user's transformers run after the masks and may change any gradient.
  transforms = bool(getattr(optimizer, 'gradient_transformers', None))
  return not (
    divides
    or transforms
    or _has_patched_method(outer)
    or _has_patched_method(optimizer)
  )


def negates_gradients(optimizer: Any) -> bool:
  """Returns whether an optimizer begins by negating dense gradients.

  The SGD of `keras.optimizers` does so in the graph of `fit`. With
  `jit_compile`, XLA compiles the negation in a separate function.
  """
  return (
    type(optimizer) is keras.optimizers.SGD
    and penalty_through_gradient(optimizer)
    and not optimizer.jit_compile
    and not _has_patched_method(optimizer)
  )


def _has_patched_method(optimizer: Any) -> bool:
  """Returns whether a method was replaced on the instance."""
  own = type(optimizer)
  return any(callable(getattr(own, name, None)) for name in vars(optimizer))


def slots(optimizer: Any, weight: Any) -> list[Any]:
  """Returns the slots of a weight that have the weight's shape."""
  optimizer = inner(optimizer)
  if isinstance(optimizer, _LegacyOptimizer):
    found = _legacy_slots(optimizer, weight)
  else:
    found = _new_slots(optimizer, weight)
  return [slot for slot in found if slot.shape == weight.shape]


def _legacy_slots(optimizer: Any, weight: Any) -> list[Any]:
  try:
    return [optimizer.get_slot(weight, n) for n in optimizer.get_slot_names()]
  except KeyError:  # The optimizer does not train this weight.
    return []


def _new_slots(optimizer: Any, weight: Any) -> list[Any]:
  # Each slot kind is a list, in the order of the weights that are trained.
  index = optimizer._index_dict.get(optimizer._var_key(weight))
  count = len(optimizer._index_dict)
  return [
    value[index]
    for name, value in vars(optimizer).items()
    if index is not None
    and isinstance(value, list)
    and len(value) == count
    and name != '_variables'
    # Excludes the list of names that are exempt from weight decay.
    and isinstance(value[index], tf.Variable)
  ]


def momentum(optimizer: Any) -> float:
  """Returns the momentum in [0, 1) that a penalty's gradient is subject to.

  0 if the penalty does not go through the gradient.
  """
  if not penalty_through_gradient(optimizer):
    return 0.0
  # Read the attribute, since a subclass may lack it in its get_config. In a
  # legacy optimizer it is a variable, which a traced graph must not read.
  with tf.init_scope():
    value = getattr(inner(optimizer), 'momentum', 0.0)
    if isinstance(inner(optimizer), _LegacyOptimizer):
      value = inner(optimizer)._get_hyper('momentum')
    return float(value)


def learning_rate_schedule(optimizer: Any) -> Any | None:
  """Returns the learning-rate schedule, `None` if the rate is a number."""
  optimizer = inner(optimizer)
  if isinstance(optimizer, _LegacyOptimizer):
    rate = optimizer.learning_rate
  else:
    # The public property is the schedule's last value, not the schedule.
    rate = optimizer._learning_rate
  return rate if isinstance(rate, _Schedule) else None


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
  begin = int(optimizer.iterations.numpy())
  iterations = begin + (positions * steps).astype(int)
  rates = [
    float(tf.convert_to_tensor(learning_rate(optimizer, iteration)))
    for iteration in tf.constant(iterations, tf.int64)
  ]
  sizes = np.array(rates) / (1 - momentum(optimizer))
  # Not the highest of `rates`: the last bits would differ.
  highest = float(sizes.max()) * (1 - momentum(optimizer))
  largest = _largest_product(optimizer) / highest if highest > 0 else 0.0
  return StepSizes(positions, sizes, largest)


def coefficient_cap(optimizer: Any) -> tf.Tensor | None:
  """Returns the largest stable lambda at the current learning rate.

  `None` for a schedule, whose future rates were known when lambda was chosen.
  If the rate is a number, another callback may have raised it since.
  """
  if learning_rate_schedule(optimizer) is not None:
    return None
  rate = tf.cast(inner(optimizer).learning_rate, tf.float32)
  return _largest_product(optimizer) / tf.maximum(rate, 1e-30)


def _largest_product(optimizer: Any) -> float:
  """Returns the largest stable learning rate * lambda."""
  return 1 + momentum(optimizer) if penalty_through_gradient(optimizer) else 1.0

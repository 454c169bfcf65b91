"""What a run needs to know of an optimizer, whichever of Keras's it is.

tf_keras has two families, `keras.optimizers` and `keras.optimizers.legacy`,
and wraps either in a `LossScaleOptimizer` under mixed precision.
"""

from typing import Any

import numpy as np
import tensorflow as tf

from tf_unilth.engines.tfmot.keras_access import keras
from tf_unilth.engines.tfmot.staged_learning_rate import StagedLearningRate
from tf_unilth.schedules.l2_ramp import L2Ramp, limit_for

_LegacyOptimizer = keras.optimizers.legacy.Optimizer
_Schedule = keras.optimizers.schedules.LearningRateSchedule
# Under them a weight of 0 stays 0 while its gradient and its slots are 0. Not
# under Ftrl, which divides by its slots, and what others derive must say it.
_KEEPING_ZEROS = tuple(
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
# At how many positions of a round the learning rate is looked at.
_SAMPLES = 16


def inner(optimizer: Any) -> Any:
  """Returns the optimizer inside of a `LossScaleOptimizer`, or itself."""
  return getattr(optimizer, 'inner_optimizer', optimizer)


def build(optimizer: Any, model: keras.Model) -> None:
  """Creates the optimizer's slots now, so that a snapshot can hold them."""
  optimizer = inner(optimizer)
  with model.distribute_strategy.scope():
    if isinstance(optimizer, _LegacyOptimizer):
      optimizer._create_all_weights(model.trainable_variables)
    else:
      optimizer.build(model.trainable_variables)


def penalty_through_gradient(optimizer: Any) -> bool:
  """Returns whether a penalty in the loss shrinks weights as it says.

  It does under SGD. An adaptive optimizer divides the penalty's gradient by its
  own running size, and clipping cuts it.
  """
  optimizer = inner(optimizer)
  clips = ('clipnorm', 'global_clipnorm', 'clipvalue')
  return isinstance(
    optimizer, (keras.optimizers.SGD, keras.optimizers.legacy.SGD)
  ) and all(getattr(optimizer, name, None) is None for name in clips)


def preserves_zeros(optimizer: Any) -> bool:
  """Returns whether what is 0, with its gradient and its slots, stays 0.

  So it does under most of Keras's. A class that derives from them says it of
  itself by a class attribute, `keeps_zeros = True`; what derives from it
  must say it again. Others work as well, at the cost of a product more.
  """
  outer, optimizer = optimizer, inner(optimizer)
  if outer is not optimizer and not type(outer).__module__.startswith(
    'tf_keras.'
  ):
    return False
  own = type(optimizer)
  if own not in _KEEPING_ZEROS and not vars(own).get('keeps_zeros', False):
    return False
  divides = getattr(optimizer, 'epsilon', None) == 0  # By its slots alone.
  # What a user put in comes after the masks, and may change any gradient.
  transforms = bool(getattr(optimizer, 'gradient_transformers', None))
  return not (
    divides or transforms or _is_changed(outer) or _is_changed(optimizer)
  )


def negates_gradients(optimizer: Any) -> bool:
  """Returns whether it negates dense gradients, before all else it does.

  So does the SGD of `keras.optimizers` in `fit`'s graph. One that XLA compiles
  by itself does it in a function of its own.
  """
  return (
    type(optimizer) is keras.optimizers.SGD
    and penalty_through_gradient(optimizer)
    and not optimizer.jit_compile
    and not _is_changed(optimizer)
  )


def _is_changed(optimizer: Any) -> bool:
  """Returns whether a method was replaced on the instance."""
  own = type(optimizer)
  return any(callable(getattr(own, name, None)) for name in vars(optimizer))


def slots(optimizer: Any, weight: Any) -> list[Any]:
  """Returns what an optimizer keeps for a weight, of that weight's shape."""
  optimizer = inner(optimizer)
  if isinstance(optimizer, _LegacyOptimizer):
    found = _legacy_slots(optimizer, weight)
  else:
    found = _new_slots(optimizer, weight)
  return [slot for slot in found if slot.shape == weight.shape]


def _legacy_slots(optimizer: Any, weight: Any) -> list[Any]:
  try:
    return [optimizer.get_slot(weight, n) for n in optimizer.get_slot_names()]
  except KeyError:  # It does not train this weight.
    return []


def _new_slots(optimizer: Any, weight: Any) -> list[Any]:
  # It keeps a list of each kind, in the order of the weights it trains.
  index = optimizer._index_dict.get(optimizer._var_key(weight))
  count = len(optimizer._index_dict)
  return [
    kept[index]
    for name, kept in vars(optimizer).items()
    if index is not None
    and isinstance(kept, list)
    and len(kept) == count
    and name != '_variables'
    and isinstance(kept[index], tf.Variable)  # Or names, without decay.
  ]


def momentum(optimizer: Any) -> float:
  """Returns the momentum that a penalty goes through, 0 where it does not."""
  if not penalty_through_gradient(optimizer):
    return 0.0
  # A subclass may have a short get_config, or none. A legacy optimizer's is a
  # variable, which a graph that is being traced must not read.
  with tf.init_scope():
    value = getattr(inner(optimizer), 'momentum', 0.0)
    if isinstance(inner(optimizer), _LegacyOptimizer):
      value = inner(optimizer)._get_hyper('momentum')
    return float(value)


def learning_rate_schedule(optimizer: Any) -> Any | None:
  """Returns the optimizer's learning-rate schedule, `None` for a number."""
  optimizer = inner(optimizer)
  if isinstance(optimizer, _LegacyOptimizer):
    rate = optimizer.learning_rate
  else:
    # The public property holds the schedule's last value, not the schedule.
    rate = optimizer._learning_rate
  return rate if isinstance(rate, _Schedule) else None


def staged_learning_rate(optimizer: Any) -> StagedLearningRate | None:
  """Returns the optimizer's `StagedLearningRate`, `None` if it has none."""
  schedule = learning_rate_schedule(optimizer)
  return schedule if isinstance(schedule, StagedLearningRate) else None


def learning_rate(optimizer: Any, iteration: Any) -> Any:
  """Returns the learning rate at an iteration, a number or a tensor."""
  schedule = learning_rate_schedule(optimizer)
  if schedule is not None:
    return schedule(iteration)
  return inner(optimizer).learning_rate


def step_sizes(optimizer: Any, steps: int) -> tuple[np.ndarray, np.ndarray]:
  """Samples learning rate / (1 - momentum) over the next `steps` steps.

  Returns:
    The positions, in (0, 1), and the sizes there.
  """
  positions = (np.arange(_SAMPLES) + 0.5) / _SAMPLES
  begin = int(optimizer.iterations.numpy())
  iterations = begin + (positions * steps).astype(int)
  rates = [
    float(tf.convert_to_tensor(learning_rate(optimizer, iteration)))
    for iteration in tf.constant(iterations, tf.int64)
  ]
  return positions, np.array(rates) / (1 - momentum(optimizer))


def ramp_limit(
  optimizer: Any, ramp: L2Ramp, strength: float, steps: int
) -> tuple[float, float]:
  """Returns the limit of a ramp over the next `steps` steps, and its A.

  Args:
    optimizer: whose learning rate and momentum say how far a penalty shrinks.
    ramp: whose own limit counts, if it has one.
    strength: the shrink exponent A that a ramp without a limit gets.
    steps: the length of the round.
  """
  positions, sizes = step_sizes(optimizer, steps)
  shape = ramp.shape(positions, steps)
  limit = ramp.limit
  if limit is None:
    limit = limit_for(strength, sizes, shape, steps)
  limit = min(limit, largest_coefficient(optimizer, sizes))
  return limit, limit * float(np.mean(sizes * shape)) * steps


def largest_coefficient(optimizer: Any, sizes: np.ndarray) -> float:
  """Returns the largest lambda at which the shrinking is stable.

  SGD is unstable above learning rate * lambda = 2 (1 + momentum), of which we
  take half; a decoupled shrink w (1 - learning rate * lambda) is done at 1.
  """
  rate = float(sizes.max()) * (1 - momentum(optimizer))
  return _bound(optimizer) / rate if rate > 0 else 0.0


def coefficient_cap(optimizer: Any) -> tf.Tensor | None:
  """Returns the largest stable lambda at the present learning rate.

  `None` where the rate is a schedule, whose future was known when lambda was
  chosen; a number may have been raised by another callback.
  """
  if learning_rate_schedule(optimizer) is not None:
    return None
  rate = tf.cast(inner(optimizer).learning_rate, tf.float32)
  return _bound(optimizer) / tf.maximum(rate, 1e-30)


def _bound(optimizer: Any) -> float:
  """Returns the largest stable learning rate * lambda."""
  return 1 + momentum(optimizer) if penalty_through_gradient(optimizer) else 1.0

"""Registers our classes with Keras 3, on any backend.

Imports no backend: Keras 3 has imported its own.
"""

from typing import Any

import keras

from tf_unilth.schedules.staged_learning_rate import StagedLearningRate


def _rate(schedule: StagedLearningRate, step: Any) -> Any:
  if keras.backend.backend() == 'tensorflow':
    # Here, because other backends need no TensorFlow.
    from tf_unilth.engines import tensorflow_rate

    return tensorflow_rate.rate(schedule, step)
  ops = keras.ops
  done = ops.maximum(ops.convert_to_tensor(step) - _number(schedule._begin), 0)
  length = ops.cast(_number(schedule._steps), 'float32')
  return schedule.rate(ops, ops.cast(done, 'float32'), length)


def _number(value: Any) -> Any:
  """Returns a number, or the tensor of a variable that JAX passes to a step."""
  return value.value if isinstance(value, keras.Variable) else int(value)


StagedLearningRate.join(
  'keras', keras.optimizers.schedules.LearningRateSchedule, _rate
)
keras.saving.register_keras_serializable(package='tf_unilth')(
  StagedLearningRate
)

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
  step = keras.ops.convert_to_tensor(step)
  done = keras.ops.maximum(step - int(schedule._begin), 0)
  length = keras.ops.cast(int(schedule._steps), 'float32')
  return schedule.rate(keras.ops, keras.ops.cast(done, 'float32'), length)


StagedLearningRate.join(
  'keras', keras.optimizers.schedules.LearningRateSchedule, _rate
)
keras.saving.register_keras_serializable(package='tf_unilth')(
  StagedLearningRate
)

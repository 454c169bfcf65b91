"""The rate of a StagedLearningRate, computed by TensorFlow.

For tf_keras, and for Keras 3 on the TensorFlow backend. The decay is in
variables, so that a compiled train step follows a restart.
"""

from typing import Any

import tensorflow as tf

from tf_unilth.schedules.staged_learning_rate import StagedLearningRate


def rate(schedule: StagedLearningRate, step: Any) -> tf.Tensor:
  """Returns the learning rate at a step, a scalar float32 tensor.

  Args:
    schedule: the schedule.
    step: the optimizer's `iterations`, an integer or a scalar tensor.
  """
  begin, steps = variables(schedule)
  done = tf.maximum(tf.cast(step, tf.int64) - begin, 0)
  return schedule.rate(
    tf, tf.cast(done, tf.float32), tf.cast(steps, tf.float32)
  )


def variables(schedule: StagedLearningRate) -> list[tf.Variable]:
  """Returns the variables with the begin and the length of the decay.

  Args:
    schedule: the schedule, which may have plain numbers until now.
  """
  if not isinstance(schedule._begin, tf.Variable):
    with tf.init_scope():
      schedule._begin = _variable(schedule._begin)
      schedule._steps = _variable(schedule._steps)
  return [schedule._begin, schedule._steps]


def _variable(number: Any) -> tf.Variable:
  return tf.Variable(int(number), trainable=False, dtype=tf.int64)

"""A learning-rate schedule that knows the stage of a ticket run."""

from typing import Any

import numpy as np
import tensorflow as tf

from tf_unilth.compat import keras, register

DECAYS = ('cosine', 'linear', 'constant')


@register
class StagedLearningRate(keras.optimizers.schedules.LearningRateSchedule):
  """A decay over the stage that is running, not over the optimizer's steps.

  With p = (iterations - begin) / steps, clipped to [0, 1]:
  cosine: rate = initial * (1 + cos(pi p)) / 2; linear: initial * (1 - p);
  constant: initial.

  The ticket callbacks restart it: UniLTH and UniDLTH when stage 2 starts, DLTH
  when its finetuning starts, LTH in each round, so that every one of them gets
  a full decay. A schedule over the whole run would leave pruning and
  finetuning to its last, smallest rates. The position follows the stage also
  where a rewind puts the optimizer's iterations back.

  Args:
    initial_learning_rate: the rate at the beginning of each stage, above 0.
    decay: `'cosine'`, `'linear'` or `'constant'`.
    decay_steps: steps over which to decay where no ticket callback says so (a
      dense baseline, say), at least 1. `None`: the callback sets it; before
      one has, the rate is constant. After the last stage it stays at its end.

  Raises:
    ValueError: an argument is out of its range.

  >>> rate = StagedLearningRate(0.1, decay_steps=100)
  >>> [round(float(rate(step)), 3) for step in (0, 50, 100)]
  [0.1, 0.05, 0.0]
  >>> rate.restart(begin=60, steps=40)
  >>> [round(float(rate(step)), 3) for step in (60, 80, 100)]
  [0.1, 0.05, 0.0]

  The restart is our choice, found by measurement; the papers train with a
  schedule per phase without saying more.
  """

  def __init__(
    self,
    initial_learning_rate: float,
    decay: str = 'cosine',
    decay_steps: int | None = None,
  ):
    super().__init__()
    if not 0 < initial_learning_rate < np.inf:
      raise ValueError(
        'initial_learning_rate must be a finite number > 0, but is '
        f'{initial_learning_rate}.'
      )
    if decay not in DECAYS:
      raise ValueError(f'decay must be one of {DECAYS}, but is {decay!r}.')
    if decay_steps is not None and decay_steps < 1:
      raise ValueError(
        f'decay_steps must be None or >= 1, but is {decay_steps}.'
      )
    self.initial_learning_rate = float(initial_learning_rate)
    self.decay = decay
    self.decay_steps = decay_steps
    self._begin = tf.Variable(0, trainable=False, dtype=tf.int64)
    # 0 steps: no length is known yet, the rate stays where it begins.
    self._steps = tf.Variable(decay_steps or 0, trainable=False, dtype=tf.int64)

  def restart(self, begin: int, steps: int) -> None:
    """Starts a new decay.

    Args:
      begin: the optimizer's `iterations` at which the decay starts.
      steps: its length in optimizer steps; 0 keeps the rate constant.
    """
    self._begin.assign(begin)
    self._steps.assign(steps)

  def __call__(self, step: Any) -> tf.Tensor:
    """Returns the learning rate at `step`, the optimizer's iterations."""
    done = tf.cast(tf.cast(step, tf.int64) - self._begin, tf.float32)
    length = tf.cast(tf.maximum(self._steps, 1), tf.float32)
    position = tf.clip_by_value(done / length, 0.0, 1.0)
    position = tf.where(self._steps > 0, position, 0.0)
    if self.decay == 'cosine':
      factor = 0.5 * (1 + tf.cos(np.pi * position))
    elif self.decay == 'linear':
      factor = 1 - position
    else:
      factor = tf.ones_like(position)
    return self.initial_learning_rate * factor

  def get_config(self) -> dict[str, Any]:
    """Returns the constructor's arguments."""
    return {
      'initial_learning_rate': self.initial_learning_rate,
      'decay': self.decay,
      'decay_steps': self.decay_steps,
    }


# HDF5 files and SavedModels name the schedule of an optimizer by its bare name.
keras.utils.get_custom_objects()['StagedLearningRate'] = StagedLearningRate

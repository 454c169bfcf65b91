"""StagedLearningRate: a learning-rate schedule that restarts in each stage."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tf_unilth.argument_checks import (
  check_float,
  check_int,
  check_option,
  format_value,
)
from tf_unilth.engines.tfmot.keras_access import keras, register

DECAYS = ('cosine', 'linear', 'step', 'constant')


@register
class StagedLearningRate(keras.optimizers.schedules.LearningRateSchedule):
  """Decays the learning rate over each stage of a run, not over the whole run.

  With t = iterations - begin and p = t / steps, clipped to [0, 1]:
  cosine: rate = initial * (1 + cos(pi p)) / 2; linear: initial * (1 - p);
  step: initial * factor^n after n of the boundaries; constant: initial.
  Warm-up multiplies the rate by min(1, (t + 1) / (warmup * steps)).

  The ticket callbacks restart the decay, so each stage gets a full one: UniLTH
  and UniDLTH when stage 2 starts, DLTH when its finetuning starts, LTH in each
  round. With a decay over the whole run, pruning and finetuning would use only
  its last, smallest rates. The decay also follows the stage when a rewind
  resets the optimizer's iterations.

  Args:
    initial_learning_rate: the rate at the start of each stage, above 0.
    decay: `'cosine'`, `'linear'`, `'step'` or `'constant'`.
    decay_steps: the length of the decay in optimizer steps without a ticket
      callback (such as in a dense baseline), at least 1. `None` lets the
      callback set it; until then the rate is constant. After the last stage,
      the rate keeps its final value.
    warmup: the fraction of each decay, in [0, 1), in which the rate rises
      linearly (Goyal et al. 2017). Each restart warms up again.
    boundaries: for `'step'`, increasing fractions of each decay, in (0, 1), at
      which the rate drops: (0.5, 0.75) for epochs 80 and 120 of 160.
    factor: for `'step'`, the multiplier of the rate at each boundary, in
      (0, 1).

  Raises:
    ValueError: an argument is out of range.

  >>> rate = StagedLearningRate(0.1, decay_steps=100)
  >>> [round(float(rate(step)), 3) for step in (0, 50, 100)]
  [0.1, 0.05, 0.0]
  >>> rate.restart(begin=60, steps=40)
  >>> [round(float(rate(step)), 3) for step in (60, 80, 100)]
  [0.1, 0.05, 0.0]
  >>> rate = StagedLearningRate(0.1, 'step', 100, 0.04, boundaries=(0.5, 0.75))
  >>> [round(float(rate(step)), 4) for step in (0, 1, 3, 49, 50, 75)]
  [0.025, 0.05, 0.1, 0.1, 0.01, 0.001]

  The restart is this library's choice: gradual pruning gains from it, while the
  gain of UniLTH and UniDLTH is within the noise (docs/comparison.md). The
  papers say only that they train with one schedule per phase.
  """

  def __init__(
    self,
    initial_learning_rate: float,
    decay: str = 'cosine',
    decay_steps: int | None = None,
    warmup: float = 0.0,
    boundaries: Sequence[float] = (),
    factor: float = 0.1,
  ):
    super().__init__()
    self.initial_learning_rate = float(
      check_float('initial_learning_rate', initial_learning_rate, '(0, inf)')
    )
    self.decay = check_option('decay', decay, DECAYS)
    self.decay_steps = check_int('decay_steps', decay_steps, 1, none=True)
    self.warmup = float(check_float('warmup', warmup, '[0, 1)'))
    self.factor = float(check_float('factor', factor, '(0, 1)'))
    self.boundaries = _check_boundaries(self.decay, boundaries)
    self._begin = tf.Variable(0, trainable=False, dtype=tf.int64)
    # 0 steps mean that the length is unknown and the rate constant.
    self._steps = tf.Variable(
      self.decay_steps or 0, trainable=False, dtype=tf.int64
    )

  def restart(self, begin: int, steps: int) -> None:
    """Starts a new decay.

    Args:
      begin: the optimizer's `iterations` at the start of the decay.
      steps: the length in optimizer steps; 0 keeps the rate constant.
    """
    self._begin.assign(begin)
    self._steps.assign(steps)

  def __call__(self, step: Any) -> tf.Tensor:
    """Returns the learning rate at a step.

    Args:
      step: the optimizer's `iterations`, an integer or a scalar tensor.
    """
    done = tf.maximum(tf.cast(step, tf.int64) - self._begin, 0)
    done = tf.cast(done, tf.float32)
    length = tf.cast(self._steps, tf.float32)
    factor = self._decayed(done, length) * self._warmed_up(done, length)
    return self.initial_learning_rate * tf.where(length > 0, factor, 1.0)

  def _decayed(self, done: tf.Tensor, length: tf.Tensor) -> tf.Tensor:
    position = tf.minimum(done / tf.maximum(length, 1.0), 1.0)
    if self.decay == 'cosine':
      return 0.5 * (1 + tf.cos(np.pi * position))
    if self.decay == 'linear':
      return 1 - position
    reached = [
      done >= tf.round(boundary * length) for boundary in self.boundaries
    ]
    drops = tf.reduce_sum(tf.cast(reached, tf.float32)) if reached else 0.0
    return tf.pow(self.factor, drops)

  def _warmed_up(self, done: tf.Tensor, length: tf.Tensor) -> tf.Tensor:
    steps = tf.maximum(self.warmup * length, 1.0)
    return tf.minimum((done + 1) / steps, 1.0)

  def get_config(self) -> dict[str, Any]:
    """Returns the constructor's arguments."""
    return {
      'initial_learning_rate': self.initial_learning_rate,
      'decay': self.decay,
      'decay_steps': self.decay_steps,
      'warmup': self.warmup,
      'boundaries': list(self.boundaries),
      'factor': self.factor,
    }


def _check_boundaries(decay: str, values: Any) -> tuple[float, ...]:
  if not isinstance(values, Iterable) or isinstance(values, str | bytes):
    raise ValueError(
      f'boundaries must be numbers, but are {format_value(values)}.'
    )
  boundaries = tuple(
    float(check_float('boundaries', value, '(0, 1)')) for value in values
  )
  if sorted(set(boundaries)) != list(boundaries):
    raise ValueError(
      f'boundaries must increase within (0, 1), but are {boundaries}.'
    )
  if bool(boundaries) != (decay == 'step'):
    raise ValueError(
      f"boundaries must be given with decay='step' and with no other decay, "
      f'but are {boundaries} with {decay!r}.'
    )
  return boundaries


# HDF5 files and SavedModels store the class name of an optimizer's schedule
# without its package.
keras.utils.get_custom_objects()['StagedLearningRate'] = StagedLearningRate

"""A learning-rate schedule that knows the stage of a ticket run."""

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
  """A decay over the stage that is running, not over the optimizer's steps.

  With t = iterations - begin and p = t / steps, clipped to [0, 1]:
  cosine: rate = initial * (1 + cos(pi p)) / 2; linear: initial * (1 - p);
  step: initial * factor^n after n of the boundaries; constant: initial.
  With a warm-up, all times min(1, (t + 1) / (warmup * steps)).

  The ticket callbacks restart it: UniLTH and UniDLTH when stage 2 starts, DLTH
  when its finetuning starts, LTH in each round, so that every one of them gets
  a full decay. A schedule over the whole run would leave pruning and
  finetuning to its last, smallest rates. The position follows the stage also
  where a rewind puts the optimizer's iterations back.

  Args:
    initial_learning_rate: the rate at the beginning of each stage, above 0.
    decay: `'cosine'`, `'linear'`, `'step'` or `'constant'`.
    decay_steps: steps over which to decay where no ticket callback says so (a
      dense baseline, say), at least 1. `None`: the callback sets it; before
      one has, the rate is constant. After the last stage it stays at its end.
    warmup: share of each decay, in [0, 1), in which the rate first rises
      linearly (Goyal et al. 2017). Each restart warms up again.
    boundaries: for `'step'`, rising shares of each decay, in (0, 1), at which
      the rate falls: (0.5, 0.75) for epochs 80 and 120 of 160.
    factor: for `'step'`, what it is multiplied by there, in (0, 1).

  Raises:
    ValueError: an argument is out of its range.

  >>> rate = StagedLearningRate(0.1, decay_steps=100)
  >>> [round(float(rate(step)), 3) for step in (0, 50, 100)]
  [0.1, 0.05, 0.0]
  >>> rate.restart(begin=60, steps=40)
  >>> [round(float(rate(step)), 3) for step in (60, 80, 100)]
  [0.1, 0.05, 0.0]
  >>> rate = StagedLearningRate(0.1, 'step', 100, 0.04, boundaries=(0.5, 0.75))
  >>> [round(float(rate(step)), 4) for step in (0, 1, 3, 49, 50, 75)]
  [0.025, 0.05, 0.1, 0.1, 0.01, 0.001]

  The restart is our choice: it is what gradual pruning gains from, UniLTH's and
  UniDLTH's own gain is within the noise (docs/comparison.md). The papers train
  with a schedule per phase without saying more.
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
    self.boundaries = _checked_boundaries(self.decay, boundaries)
    self._begin = tf.Variable(0, trainable=False, dtype=tf.int64)
    # 0 steps: no length is known yet, the rate stays where it begins.
    self._steps = tf.Variable(
      self.decay_steps or 0, trainable=False, dtype=tf.int64
    )

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
    passed = [
      done >= tf.round(boundary * length) for boundary in self.boundaries
    ]
    falls = tf.reduce_sum(tf.cast(passed, tf.float32)) if passed else 0.0
    return tf.pow(self.factor, falls)

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


def _checked_boundaries(decay: str, given: Any) -> tuple[float, ...]:
  if not isinstance(given, Iterable) or isinstance(given, str | bytes):
    raise ValueError(
      f'boundaries must be numbers, but are {format_value(given)}.'
    )
  boundaries = tuple(
    float(check_float('boundaries', value, '(0, 1)')) for value in given
  )
  if sorted(set(boundaries)) != list(boundaries):
    raise ValueError(
      f'boundaries must rise within (0, 1), but are {boundaries}.'
    )
  if bool(boundaries) != (decay == 'step'):
    raise ValueError(
      f"boundaries must be given with decay='step', and only there, but are "
      f'{boundaries} with {decay!r}.'
    )
  return boundaries


# HDF5 files and SavedModels name the schedule of an optimizer by its bare name.
keras.utils.get_custom_objects()['StagedLearningRate'] = StagedLearningRate

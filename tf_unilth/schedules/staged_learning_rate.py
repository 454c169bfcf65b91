"""StagedLearningRate: a learning-rate schedule that restarts in each stage."""

import dataclasses
import numbers
from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar

import numpy as np

from tf_unilth.argument_checks import (
  check_float,
  check_int,
  check_option,
  format_value,
)

DECAYS = ('cosine', 'linear', 'step', 'constant')


@dataclasses.dataclass
class _Number:
  """A number with the methods of a variable that a schedule needs."""

  value: int

  def assign(self, value: int) -> None:
    """Sets the number."""
    self.value = int(value)

  def __int__(self) -> int:
    return self.value


class _Schedule:
  """The base class before a Keras is imported.

  Python can replace the bases of a class, but not `object` itself.
  """


class StagedLearningRate(_Schedule):
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

  Optimizers of tf_keras and of Keras 3 accept it, whenever they are imported.
  On the JAX backend, a compiled train step follows a restart if the model was
  passed to `prune_low_magnitude`; otherwise it keeps the decay with which it
  was traced.

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

  # How a Keras computes the rate, by the name of its package. Filled by `join`.
  _computations: ClassVar[dict[str, Callable[[Any, Any], Any]]] = {}

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
    # Replaced by variables where TensorFlow computes the rate.
    self._begin: Any = _Number(0)
    # 0 steps mean that the length is unknown and the rate constant.
    self._steps: Any = _Number(self.decay_steps or 0)
    if 'tf_keras' in self._computations:
      self(0)  # Creates the variables here, outside of any train step.

  @classmethod
  def join(
    cls, package: str, base: type, compute: Callable[[Any, Any], Any]
  ) -> None:
    """Makes all instances, also earlier ones, schedules of a Keras.

    Args:
      package: the name of the Keras, `'tf_keras'` or `'keras'`.
      base: its class `LearningRateSchedule`, which becomes a base class.
      compute: returns the rate of a schedule at a step for this Keras.
    """
    if base not in cls.__bases__:
      cls.__bases__ = (*cls.__bases__, base)
    cls._computations[package] = compute

  def restart(self, begin: int, steps: int) -> None:
    """Starts a new decay.

    Args:
      begin: the optimizer's `iterations` at the start of the decay.
      steps: the length in optimizer steps; 0 keeps the rate constant.
    """
    self._begin.assign(begin)
    self._steps.assign(steps)

  def __call__(self, step: Any) -> Any:
    """Returns the learning rate at a step.

    Args:
      step: the optimizer's `iterations`, an integer or a scalar tensor.

    Returns:
      A number, or a tensor where a Keras is imported.
    """
    packages = {base.__module__.split('.')[0] for base in type(step).__mro__}
    of_tensorflow = isinstance(step, numbers.Number) or (
      'tensorflow' in packages and 'keras' not in packages
    )
    order = ('tf_keras', 'keras') if of_tensorflow else ('keras', 'tf_keras')
    for package in order:
      if package in self._computations:
        return self._computations[package](self, step)
    done = np.float32(max(int(step) - int(self._begin), 0))
    return self.rate(np, done, np.float32(int(self._steps)))

  def rate(self, ops: Any, done: Any, length: Any) -> Any:
    """Returns the learning rate in the course of a decay.

    Args:
      ops: a module with NumPy's functions: `numpy`, `tensorflow` or
        `keras.ops`.
      done: the steps since the decay began, a float32 scalar of `ops`.
      length: the length of the decay in steps, likewise; 0 if unknown.
    """
    factor = self._decayed(ops, done, length) * self._warmed_up(
      ops, done, length
    )
    return self.initial_learning_rate * ops.where(length > 0, factor, 1.0)

  def _decayed(self, ops: Any, done: Any, length: Any) -> Any:
    position = ops.minimum(done / ops.maximum(length, 1.0), 1.0)
    if self.decay == 'cosine':
      return 0.5 * (1 + ops.cos(np.pi * position))
    if self.decay == 'linear':
      return 1 - position
    drops = sum(
      ops.where(done >= ops.round(boundary * length), 1.0, 0.0)
      for boundary in self.boundaries
    )
    return self.factor**drops

  def _warmed_up(self, ops: Any, done: Any, length: Any) -> Any:
    steps = ops.maximum(self.warmup * length, 1.0)
    return ops.minimum((done + 1) / steps, 1.0)

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

  @classmethod
  def from_config(cls, config: dict[str, Any]) -> 'StagedLearningRate':
    """Returns a schedule from the result of `get_config`.

    Args:
      config: the constructor's arguments.
    """
    return cls(**config)


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

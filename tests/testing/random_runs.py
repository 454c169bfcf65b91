"""Random runs of the library: all that a `fit` is given, drawn together."""

from typing import Any

import tf_keras as keras

import tf_unilth
from tests.testing import (
  argument_models,
  argument_values,
  random_arguments,
  toys,
)
from tests.testing.argument_values import value_of
from tests.testing.draw import Draw
from tests.testing.random_calls import Call, draw_values

# The arguments of a run are named for where they belong, as in `fit.epochs`.
_OPTIMIZERS = ('SGD', 'Adam')
_FIT = argument_values.Argument((3, 4, 5, 6, 8), ())


def draw_call(d: Draw) -> Call:
  """Returns a random run."""
  algorithm = d.one(list(random_arguments.CALLBACKS))
  parts = {
    'IterativeSparsity': (random_arguments.SCHEDULE, ('target_sparsity',)),
    'wrap': (random_arguments.WRAPPING, ()),
    algorithm: (random_arguments.CALLBACKS[algorithm], ()),
    'StagedLearningRate': (random_arguments.RATE, ('initial_learning_rate',)),
    'CheckpointAndResume': (random_arguments.RESUME, ('directory',)),
    'fit': ({'epochs': _FIT}, ('epochs',)),
  }
  if d.chance(0.5):
    parts.pop('CheckpointAndResume')
  arguments = {
    f'{part}.{name}': argument
    for part, (table, required) in parts.items()
    for name, argument in table.items()
    # Few at once, or hardly any would go together.
    if name in required or d.chance(0.5)
  }
  required = [f'{part}.{name}' for part, (_, n) in parts.items() for name in n]
  few = d.one([0, 0, 1])
  given, bad = draw_values(d, arguments, tuple(required), few)
  given['optimizer.name'] = d.one(_OPTIMIZERS)
  return Call(f'a run with {algorithm}', given, bad)


class Run:
  """A run, made of its arguments; raises as the library does.

  Args:
    call: drawn by `draw_call`.
  """

  def __init__(self, call: Call):
    self._call = call
    algorithm = call.subject.split()[-1]
    self.schedule = self._of('IterativeSparsity')
    schedule = tf_unilth.IterativeSparsity(**self.schedule)
    self.targets = {schedule.target_sparsity}
    self.callbacks = [getattr(tf_unilth, algorithm)(**self._of(algorithm))]
    rate = tf_unilth.StagedLearningRate(**self._of('StagedLearningRate'))
    if self._of('CheckpointAndResume'):
      resume = self._of('CheckpointAndResume')
      self.callbacks.append(tf_unilth.CheckpointAndResume(**resume))
    keras.utils.set_random_seed(0)
    wrap = self._of('wrap')
    self.structure = wrap.get('structure')
    self.model = tf_unilth.prune_low_magnitude(
      argument_models.toy(), schedule, **wrap
    )
    self.targets |= set((wrap.get('targets') or {}).values())
    optimizer = getattr(keras.optimizers, call.arguments['optimizer.name'])
    toys.compiled_for_labels(self.model, optimizer(rate))

  def _of(self, part: str) -> dict[str, Any]:
    """Returns the arguments of a part."""
    return {
      name.partition('.')[2]: value_of(value)
      for name, value in self._call.arguments.items()
      if name.partition('.')[0] == part
    }

  def fit(self) -> None:
    """Trains it on the toy data."""
    toys.fit(self.model, *self.callbacks, **self._of('fit'))

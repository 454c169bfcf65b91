"""Checks of the arguments of a search."""

import types
from collections.abc import Mapping, Sequence
from typing import Any

import keras_tuner
from keras_tuner.src.engine import hypermodel as hypermodels

from tf_unilth.argument_checks import argument_error, check_int, format_value
from tf_unilth.run import budget
from tf_unilth.tuner.errors import SearchError
from tf_unilth.tuner.objectives import AccuracyAtSparsity, TicketObjective

# `keras.utils.set_random_seed` takes 32 bits. The oracle's seed is one higher.
_SEED_END = 2**32 - 1


def check_objective(objective: Any) -> TicketObjective:
  """Returns the objective, by default `AccuracyAtSparsity()`.

  Raises:
    TypeError: `objective` is not a `TicketObjective`.
  """
  if objective is None:
    return AccuracyAtSparsity()
  if not isinstance(objective, TicketObjective):
    raise TypeError(
      'objective must be an AccuracyAtSparsity, a SparsestWithin or a Front, '
      f'but is {format_value(objective)}.'
    )
  return objective


def check_hypermodel(hypermodel: Any) -> keras_tuner.HyperModel:
  """Returns a `HyperModel`; a function becomes one.

  Raises:
    TypeError: `hypermodel` is neither a `HyperModel` nor callable.
  """
  if not callable(hypermodel) and not isinstance(
    hypermodel, keras_tuner.HyperModel
  ):
    raise TypeError(
      'hypermodel must be a HyperModel, or a function of hp that returns a '
      f'model, but is {format_value(hypermodel)}.'
    )
  return hypermodels.get_hypermodel(hypermodel)


def check_seed(seed: Any) -> int:
  """Returns a seed in [0, 2^32 - 1).

  Raises:
    ValueError: `seed` is out of range.
  """
  number = check_int('seed', seed, 0)
  if number >= _SEED_END:
    raise argument_error('seed', 'a whole number in [0, 2^32 - 1)', seed)
  return number


def check_epochs(epochs: Any, max_epochs: int | None) -> int:
  """Returns the epochs of a trial.

  Args:
    epochs: argument of `search`.
    max_epochs: epochs of Hyperband's longest trials, `None` for other tuners.

  Raises:
    SearchError: `epochs` is too small, or contradicts `max_epochs`.
  """
  if max_epochs is not None:
    if epochs not in (None, max_epochs):
      raise SearchError(
        f'epochs must be None or max_epochs={max_epochs}, but is '
        f'{format_value(epochs)}.'
      )
    epochs = max_epochs
  try:
    return check_int('epochs', epochs, budget.MIN_EPOCHS)
  except ValueError as error:
    raise SearchError(str(error)) from None


def check_data(args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
  """Raises `SearchError` if an argument of `fit` can be read only once."""
  if any(isinstance(a, types.GeneratorType) for a in (*args, *kwargs.values())):
    raise SearchError(
      'data must be arrays, a tf.data.Dataset or a Sequence, since each trial '
      'reads them, but are a generator, which can be read only once.'
    )

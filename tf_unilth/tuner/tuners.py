"""The tuners: keras-tuner's four searches, over tickets of tf_keras models."""

import functools
from typing import Any

import numpy as np

from tf_unilth.run import budget
from tf_unilth.tuner import oracles
from tf_unilth.tuner.search import TicketTuner
from tf_unilth.tuner.spaces import Space


class RandomSearch(TicketTuner):
  """Tries random values.

  Args:
    hypermodel: as of `TicketTuner`.
    space: as of `TicketTuner`.
    max_trials: how many trials, at least 1; may grow from one `search` in a
      directory to the next.
    **search: the other arguments of `TicketTuner`.

  Raises:
    TypeError: as of `TicketTuner`.
    ValueError: as of `TicketTuner`.

  >>> def build(hp):
  ...   model = keras.Sequential([keras.layers.Dense(8, input_shape=(4,)),
  ...                             keras.layers.Dense(2)])
  ...   rate = hp.Float('learning_rate', 0.01, 1, sampling='log', default=0.1)
  ...   loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
  ...   model.compile(keras.optimizers.SGD(rate), loss, metrics=['accuracy'])
  ...   return model
  >>> tuner = RandomSearch(build, TicketSpace(0.5), max_trials=2, verbose=0,
  ...                      directory=tempfile.mkdtemp() + '/search')
  >>> x = np.random.default_rng(0).normal(size=(64, 4))
  >>> y = x.sum(1) > 0
  >>> tuner.search(x, y, validation_data=(x, y), epochs=5)
  >>> best, = tuner.get_best_tickets()
  >>> best.ticket.sparsity, sparsity_summary(best.model).zeros
  (0.5, 24)
  """

  def __init__(
    self, hypermodel: Any, space: Space, max_trials: int = 10, **search: Any
  ):
    _check_whole('max_trials', max_trials)
    super().__init__(
      hypermodel,
      space,
      functools.partial(oracles.RandomSearchOracle, max_trials=max_trials),
      **search,
    )


class BayesianOptimization(TicketTuner):
  """Tries what a Gaussian process expects most of; needs scikit-learn.

  Args:
    hypermodel: as of `TicketTuner`.
    space: as of `TicketTuner`.
    max_trials: as of `RandomSearch`.
    num_initial_points: how many trials are random, with the defaults as the
      first, at least 2. `None`: as many as there are hyperparameters.
    **search: the other arguments of `TicketTuner`.

  Raises:
    TypeError: as of `TicketTuner`.
    ValueError: as of `TicketTuner`.

  >>> tuner = BayesianOptimization(
  ...   build, TicketSpace(0.5, fixed={'pace': 'cubic'}), max_trials=20,
  ...   directory=tempfile.mkdtemp() + '/search')

  keras-tuner's own default is three random trials per hyperparameter: with
  nine of them a search of 20 trials would be a random one.
  """

  def __init__(
    self,
    hypermodel: Any,
    space: Space,
    max_trials: int = 10,
    num_initial_points: int | None = None,
    **search: Any,
  ):
    _check_whole('max_trials', max_trials)
    if num_initial_points is not None:
      _check_whole('num_initial_points', num_initial_points, 2)
    super().__init__(
      hypermodel,
      space,
      functools.partial(
        oracles.BayesianOptimizationOracle,
        max_trials=max_trials,
        num_initial_points=num_initial_points,
      ),
      **search,
    )


class GridSearch(TicketTuner):
  """Tries all combinations, of what varies without steps ten values.

  Args:
    hypermodel: as of `TicketTuner`.
    space: as of `TicketTuner`.
    max_trials: at most so many trials, at least 1; `None` for all.
    **search: the other arguments of `TicketTuner`.

  Raises:
    TypeError: as of `TicketTuner`.
    ValueError: as of `TicketTuner`.

  >>> tuner = GridSearch(build, TicketSpace(0.5, 'dlth'), max_trials=6,
  ...                    directory=tempfile.mkdtemp() + '/search')
  """

  def __init__(
    self,
    hypermodel: Any,
    space: Space,
    max_trials: int | None = None,
    **search: Any,
  ):
    if max_trials is not None:
      _check_whole('max_trials', max_trials)
    super().__init__(
      hypermodel,
      space,
      functools.partial(oracles.GridSearchOracle, max_trials=max_trials),
      **search,
    )


class Hyperband(TicketTuner):
  """Tries many tickets in few epochs, and the best of them in more.

  A ticket's stages and rounds follow from its epochs, so none goes on from the
  weights of one with fewer: each begins at epoch 0.

  Args:
    hypermodel: as of `TicketTuner`.
    space: as of `TicketTuner`.
    max_epochs: of the longest trials, at least 3.
    factor: by how much the epochs grow, and the trials become fewer, at
      least 2.
    max_trials: at most so many trials, at least 1; `None` for all that there
      are in one pass through the brackets.
    **search: the other arguments of `TicketTuner`.

  Raises:
    TypeError: as of `TicketTuner`.
    ValueError: as of `TicketTuner`.

  >>> tuner = Hyperband(build, TicketSpace(0.5), max_epochs=60,
  ...                   directory=tempfile.mkdtemp() + '/search')

  From Li et al. (2018), "Hyperband".
  """

  def __init__(
    self,
    hypermodel: Any,
    space: Space,
    max_epochs: int = 60,
    factor: int = 3,
    max_trials: int | None = None,
    **search: Any,
  ):
    _check_whole('max_epochs', max_epochs, budget.MIN_EPOCHS)
    _check_whole('factor', factor, 2)
    if max_trials is not None:
      _check_whole('max_trials', max_trials)
    super().__init__(
      hypermodel,
      space,
      functools.partial(
        oracles.HyperbandOracle,
        max_epochs=max_epochs,
        factor=factor,
        max_trials=max_trials,
      ),
      **search,
    )


def _check_whole(name: str, value: Any, least: int = 1) -> None:
  if not isinstance(value, int | np.integer) or value < least:
    raise ValueError(
      f'{name} must be a whole number >= {least}, but is {value!r}.'
    )

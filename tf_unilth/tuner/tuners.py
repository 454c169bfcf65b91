"""keras-tuner's four tuners, for tickets of models of either Keras."""

import functools
from typing import Any

from tf_unilth.argument_checks import check_int
from tf_unilth.run import budget
from tf_unilth.tuner import search_algorithms
from tf_unilth.tuner.search import TicketTuner
from tf_unilth.tuner.spaces import Space


class RandomSearch(TicketTuner):
  """Random search.

  Args:
    hypermodel: see `TicketTuner`.
    space: see `TicketTuner`.
    max_trials: number of trials, at least 1. A later search in the same
      directory may have more.
    **search: further arguments of `TicketTuner`.

  Raises:
    TypeError: an argument has the wrong type; see `TicketTuner`.
    ValueError: an argument is out of range; see `TicketTuner`.

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
    max_trials = check_int('max_trials', max_trials, 1)
    super().__init__(
      hypermodel,
      space,
      functools.partial(
        search_algorithms.RandomSearchOracle, max_trials=max_trials
      ),
      **search,
    )


class BayesianOptimization(TicketTuner):
  """Bayesian optimization with a Gaussian process; needs scikit-learn.

  Args:
    hypermodel: see `TicketTuner`.
    space: see `TicketTuner`.
    max_trials: see `RandomSearch`.
    num_initial_points: number of random trials at the start, including the
      one with the defaults, at least 2. `None`: the number of hyperparameters.
    **search: further arguments of `TicketTuner`.

  Raises:
    TypeError: an argument has the wrong type; see `TicketTuner`.
    ValueError: an argument is out of range; see `TicketTuner`.

  >>> tuner = BayesianOptimization(
  ...   build, TicketSpace(0.5, fixed={'pace': 'cubic'}), max_trials=20,
  ...   directory=tempfile.mkdtemp() + '/search')

  keras-tuner's own default is three random trials per hyperparameter. With nine
  hyperparameters, a search of 20 trials would then be a random search.
  """

  def __init__(
    self,
    hypermodel: Any,
    space: Space,
    max_trials: int = 10,
    num_initial_points: int | None = None,
    **search: Any,
  ):
    max_trials = check_int('max_trials', max_trials, 1)
    num_initial_points = check_int(
      'num_initial_points', num_initial_points, 2, none=True
    )
    super().__init__(
      hypermodel,
      space,
      functools.partial(
        search_algorithms.BayesianOptimizationOracle,
        max_trials=max_trials,
        num_initial_points=num_initial_points,
      ),
      **search,
    )


class GridSearch(TicketTuner):
  """Grid search: all combinations, with ten values of each range without steps.

  Args:
    hypermodel: see `TicketTuner`.
    space: see `TicketTuner`.
    max_trials: largest number of trials, at least 1; `None` for all.
    **search: further arguments of `TicketTuner`.

  Raises:
    TypeError: an argument has the wrong type; see `TicketTuner`.
    ValueError: an argument is out of range; see `TicketTuner`.

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
    max_trials = check_int('max_trials', max_trials, 1, none=True)
    super().__init__(
      hypermodel,
      space,
      functools.partial(
        search_algorithms.GridSearchOracle, max_trials=max_trials
      ),
      **search,
    )


class Hyperband(TicketTuner):
  """Hyperband: many trials with few epochs, the best again with more.

  The stages and rounds of a ticket depend on its number of epochs, so a longer
  trial cannot continue a shorter one: each starts at epoch 0.

  Args:
    hypermodel: see `TicketTuner`.
    space: see `TicketTuner`.
    max_epochs: epochs of the longest trials, at least 3.
    factor: factor by which epochs grow and trials decrease from one step of a
      bracket to the next, at least 2.
    max_trials: largest number of trials, at least 1; `None` for one pass
      through all brackets.
    **search: further arguments of `TicketTuner`.

  Raises:
    TypeError: an argument has the wrong type; see `TicketTuner`.
    ValueError: an argument is out of range; see `TicketTuner`.

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
    max_epochs = check_int('max_epochs', max_epochs, budget.MIN_EPOCHS)
    factor = check_int('factor', factor, 2)
    max_trials = check_int('max_trials', max_trials, 1, none=True)
    super().__init__(
      hypermodel,
      space,
      functools.partial(
        search_algorithms.HyperbandOracle,
        max_epochs=max_epochs,
        factor=factor,
        max_trials=max_trials,
      ),
      **search,
    )

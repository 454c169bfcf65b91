"""The four oracles: keras-tuner's search algorithms as ticket oracles."""

import functools
import warnings
from typing import Any

import keras_tuner

from tf_unilth.run import budget
from tf_unilth.tuner.oracles import TicketOracle


class RandomSearchOracle(TicketOracle, keras_tuner.oracles.RandomSearchOracle):
  """Proposes random values, without duplicates."""


class BayesianOptimizationOracle(
  TicketOracle, keras_tuner.oracles.BayesianOptimizationOracle
):
  """Proposes values by a Gaussian process, after some random trials."""

  num_initial_points: int | None

  def populate_space(self, trial_id: str) -> dict[str, Any]:
    """Returns the status and the values of a new trial."""
    # A dependency of scikit-learn, which only Bayesian optimization needs.
    import threadpoolctl

    if self.num_initial_points is None:
      self.num_initial_points = max(2, len(self._nonfixed_space()))
    # The matrices are tiny: several threads would only wait for each other, on
    # a busy machine for minutes.
    with warnings.catch_warnings(), threadpoolctl.threadpool_limits(1):
      # scikit-learn warns of a length scale at its bound, which is normal for
      # a hyperparameter without effect.
      warnings.simplefilter('ignore')
      return super().populate_space(trial_id)


class GridSearchOracle(TicketOracle, keras_tuner.oracles.GridSearchOracle):
  """Proposes all combinations, in order."""

  _ordered_ids: Any

  def set_state(self, state: dict[str, Any]) -> None:
    """Sets the state; the trials give the position in the grid."""
    super().set_state(state)
    key = functools.cmp_to_key(
      lambda a, b: self._compare(state['values'][a], state['values'][b])
    )
    self._ordered_ids = type(self._ordered_ids)()
    for trial_id in sorted(self.start_order, key=key):
      self._ordered_ids.insert(trial_id)
    # keras-tuner skips those whose next combination was tried.
    self._populate_next = list(self.start_order)


class HyperbandOracle(TicketOracle, keras_tuner.oracles.HyperbandOracle):
  """Proposes many short trials, and repeats the best with more epochs.

  Args:
    max_trials: largest number of trials, at least 1; `None` for all trials of
      the brackets.
    **kwargs: arguments of keras-tuner's oracle.
  """

  def __init__(self, max_trials: int | None = None, **kwargs: Any):
    super().__init__(**kwargs)
    self.max_trials = max_trials
    # A ticket needs this many epochs. keras-tuner's constructor has started
    # brackets with fewer, which are replaced.
    self.min_epochs = budget.MIN_EPOCHS
    self._current_bracket = self._get_num_brackets() - 1
    self._brackets: list[dict[str, Any]] = []
    self._start_new_bracket()

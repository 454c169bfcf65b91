"""Hyperparameter search for tickets, with keras-tuner's four tuners.

`import tf_unilth` does not import it. It needs `pip install tf_unilth[tuner]`.
"""

try:
  import keras_tuner as keras_tuner
except ModuleNotFoundError as error:
  raise ModuleNotFoundError(
    'tf_unilth.tuner needs keras-tuner: pip install tf_unilth[tuner].'
  ) from error
else:
  from tf_unilth.engines import private_name_check as _private_name_check

  _private_name_check.check('tuner', of=('keras_tuner',))

from tf_unilth.tuner.errors import SearchError
from tf_unilth.tuner.machines import role
from tf_unilth.tuner.objectives import (
  AccuracyAtSparsity,
  Front,
  Outcome,
  SparsestWithin,
  TicketObjective,
  front,
)
from tf_unilth.tuner.search import TicketTuner
from tf_unilth.tuner.spaces import METHODS, TicketSpace
from tf_unilth.tuner.trial_rows import trial_rows
from tf_unilth.tuner.trial_runner import BestTicket
from tf_unilth.tuner.tuners import (
  BayesianOptimization,
  GridSearch,
  Hyperband,
  RandomSearch,
)

__all__ = [
  'METHODS',
  'AccuracyAtSparsity',
  'BayesianOptimization',
  'BestTicket',
  'Front',
  'GridSearch',
  'Hyperband',
  'Outcome',
  'RandomSearch',
  'SearchError',
  'SparsestWithin',
  'TicketObjective',
  'TicketSpace',
  'TicketTuner',
  'front',
  'role',
  'trial_rows',
]

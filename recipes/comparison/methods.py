"""The methods of a comparison, and the flags of their runs."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from recipes.training.recipe import Recipe

Hyperparameters = Mapping[str, Any]

# The fraction of the remaining weights that a round prunes, as in LTH.
_FULL_COST_PRUNE_FRACTION = 0.2


@dataclasses.dataclass(frozen=True)
class MethodConfig:
  """A method of a comparison, and the hyperparameters of its runs.

  Args:
    hyperparameters: flags of the run, `method` among them. `learning_rate` is a
      factor to that of the recipe or the command line, `warmup_epochs` a
      fraction of the epochs.
    search_space: hyperparameters that the search tries in their place, equally
      many for each method.
    sparse: whether it depends on the target sparsity.
    full_cost: whether each round trains for all epochs, as in the LTH paper;
      the rounds of the other methods share the epochs.
  """

  hyperparameters: Hyperparameters
  search_space: tuple[Hyperparameters, ...] = ()
  sparse: bool = True
  full_cost: bool = False

  @property
  def settings(self) -> tuple[Hyperparameters, ...]:
    """Its own hyperparameters, and those that the search tries."""
    return ({}, *self.search_space)

  def flags(
    self, tried: Hyperparameters, sparsity: float, epochs: int, recipe: Recipe
  ) -> dict[str, Any]:
    """Returns the flags of its runs, without the seed.

    Args:
      tried: one of `settings`.
      sparsity: the target, in [0, 1).
      epochs: of a run at equal cost.
      recipe: that runs.
    """
    flags = {'epochs': epochs, **self.hyperparameters, **tried}
    if 'learning_rate' in flags:
      flags['learning_rate'] *= recipe.learning_rate
    if 'warmup_epochs' in flags:
      flags['warmup_epochs'] *= epochs
    flags['target_sparsity'] = sparsity if self.sparse else 0.0
    if self.full_cost:
      rounds = full_cost_rounds(sparsity)
      flags |= {'rounds': rounds, 'epochs': (rounds + 1) * epochs}
    return flags


def in_words(tried: Hyperparameters) -> str:
  """Returns hyperparameters in words, as the CSV files have them.

  >>> in_words({'rounds': 4, 'limit': 0.1})
  'rounds=4 limit=0.1'
  """
  return ' '.join(f'{name}={value}' for name, value in tried.items())


def full_cost_rounds(sparsity: float) -> int:
  """Returns how many rounds of a fifth of the survivors reach a sparsity.

  >>> full_cost_rounds(0.9), full_cost_rounds(0.99)
  (11, 21)
  """
  rounds = math.log(1 - sparsity) / math.log(1 - _FULL_COST_PRUNE_FRACTION)
  return max(1, math.ceil(rounds - 1e-9))


def _values(name: str, *values: Any) -> tuple[Hyperparameters, ...]:
  return tuple({name: value} for value in values)


_RATES = _values('learning_rate', 0.5, 1.5, 2.0)
_CUTS = _values('begin_fraction', 0.2, 0.35, 0.7)


def _spans(*shares: tuple[float, float]) -> tuple[Hyperparameters, ...]:
  names = 'begin_fraction', 'end_fraction'
  return tuple(dict(zip(names, pair)) for pair in shares)


_SPANS = _spans((0.0, 0.5), (0.2, 0.5), (0.3, 0.8))
# A restart at the first step would have no effect.
_RESTARTED_SPANS = _spans((0.1, 0.5), (0.2, 0.5), (0.3, 0.8))
# Its last lambda, and when its penalty begins and ends.
_PENALTIES = (
  *_values('limit', 1e-3, 1e-1),
  {'begin_fraction': 0.2, 'end_fraction': 0.5},
)
_ROUNDS = _values('rounds', 1, 2, 3)
# A random ticket may profit from a high learning rate; warmup keeps its first
# steps from damaging the dense network.
_WARMED_UP = (
  {'learning_rate': 2.0, 'warmup_epochs': 0.2},
  {'learning_rate': 3.0, 'warmup_epochs': 0.07},
)
_FROM_SCRATCH = ({'learning_rate': 2.0}, *_WARMED_UP)
_LONG = {'finetune_fraction': 0.7}
_AT_ONCE = (_LONG, *({**_LONG, **warmed_up} for warmed_up in _WARMED_UP))
_FIND = (
  {'finetune_fraction': 0.4},
  {'max_dense_fraction': 0.1},
  {'finetune_fraction': 0.75, 'max_dense_fraction': 0.1},
)
_SHORT = {'rounds': 4, 'finetune_fraction': 0.95, 'max_dense_fraction': 0.07}
_TRANSFORM = (_SHORT, *({**_SHORT, **warmed_up} for warmed_up in _WARMED_UP))
# After the first steps, in which larger networks have no winning tickets yet.
_LATE = 100


def _ablations(method: str) -> dict[str, MethodConfig]:
  """Returns variants of a unified method that change one of its parts."""
  changed: dict[str, Hyperparameters] = {
    'no_plateau': {'patience': 0},
    'no_rewind': {'rewind_epochs': 0},
    'no_ramp': {'limit': 0.0},
    'no_restart': {'lr_restart': False},
    'one_round': {'rounds': 1},
    'power_0': {'power': 0.0},
    'power_2': {'power': 2.0},
    'power_3': {'power': 3.0},
    'limit_0.03': {'limit': 0.03},
    'limit_0.3': {'limit': 0.3},
    'limit_3': {'limit': 3.0},
    'geometric': {'pace': 'geometric'},
    'layer': {'scope': 'layer'},
  }
  return {
    f'{method}_{name}': MethodConfig({'method': method, **values})
    for name, values in changed.items()
  }


METHODS: dict[str, MethodConfig] = {
  'dense': MethodConfig({'method': 'dense'}, _RATES, sparse=False),
  'oneshot': MethodConfig({'method': 'oneshot'}, _CUTS),
  'oneshot_restart': MethodConfig(
    {'method': 'oneshot', 'lr_restart': True}, _CUTS
  ),
  'gmp': MethodConfig({'method': 'gmp'}, _SPANS),
  'gmp_restart': MethodConfig(
    {'method': 'gmp', 'lr_restart': True}, _RESTARTED_SPANS
  ),
  'gmp_global': MethodConfig({'method': 'gmp_global'}, _SPANS),
  'gmp_global_restart': MethodConfig(
    {'method': 'gmp_global', 'lr_restart': True}, _RESTARTED_SPANS
  ),
  'lr_rewind': MethodConfig({'method': 'lr_rewind'}, _ROUNDS),
  # The same learning rates, without the rounds.
  'cyclic': MethodConfig({'method': 'cyclic'}, _ROUNDS),
  'hypersparse': MethodConfig({'method': 'hypersparse'}, _PENALTIES),
  'lth': MethodConfig({'method': 'lth'}, _ROUNDS),
  'lth_late': MethodConfig({'method': 'lth', 'rewind_step': _LATE}, _ROUNDS),
  'unilth': MethodConfig({'method': 'unilth'}, _FIND),
  'random': MethodConfig({'method': 'random'}, _FROM_SCRATCH),
  # Random tickets whose small layers keep more, as UniDLTH's do.
  'random_erk': MethodConfig(
    {'method': 'random', 'scope': 'erk'}, _FROM_SCRATCH
  ),
  # The same ticket, whose connections move.
  'rigl': MethodConfig({'method': 'rigl'}, _FROM_SCRATCH),
  'random_cut': MethodConfig({'method': 'dlth', 'limit': 0.0}, _AT_ONCE),
  'dlth': MethodConfig({'method': 'dlth'}, _AT_ONCE),
  'dlth_erk': MethodConfig({'method': 'dlth', 'scope': 'erk'}, _AT_ONCE),
  'dlth_iter': MethodConfig({'method': 'dlth', 'rounds': 4}, _AT_ONCE),
  'unidlth': MethodConfig({'method': 'unidlth'}, _TRANSFORM),
  # Last, since it takes ten to twenty times as long.
  'lth_full': MethodConfig({'method': 'lth'}, full_cost=True),
}
# Twice as many rounds as by default; begun as early as gradual pruning may.
_MANY_ROUNDS = {'method': 'unilth', 'prune_fraction': 0.1}
_EARLY = {'max_dense_fraction': 0.1, 'finetune_fraction': 0.55}
ABLATIONS: dict[str, MethodConfig] = {
  **_ablations('unilth'),
  'unilth_many_rounds': MethodConfig(_MANY_ROUNDS),
  'unilth_early': MethodConfig({**_MANY_ROUNDS, **_EARLY}),
  'unilth_early_no_ramp': MethodConfig(
    {**_MANY_ROUNDS, **_EARLY, 'limit': 0.0}
  ),
  **_ablations('unidlth'),
}
# Ways to extrude a random ticket, which the paper of UniDLTH leaves open: after
# a dense epoch or from the first step, over a short ramp or a long one, in four
# rounds or in fewer. All but the last have the learning rate that the searches
# chose; that one may be what UniDLTH does by default.
_FAST = _WARMED_UP[0]
_SLOW = {'rounds': 1, 'finetune_fraction': 0.5}
_FROM_THE_START = {'method': 'dlth', 'scope': 'erk', **_FAST}
_AFTER_AN_EPOCH = {'method': 'unidlth', **_SHORT, **_FAST}
_REWOUND = {'max_dense_fraction': 0.4, 'patience': 1, 'rewind_epochs': 2}
EXTRUSIONS: dict[str, MethodConfig] = {
  name: MethodConfig(values)
  for name, values in {
    'random_erk_fast': {'method': 'random', 'scope': 'erk', **_FAST},
    'unidlth_short': _AFTER_AN_EPOCH,
    'unidlth_two_rounds': {
      **_AFTER_AN_EPOCH,
      **{'rounds': 2, 'finetune_fraction': 0.75},
    },
    'unidlth_slow': {**_AFTER_AN_EPOCH, **_SLOW},
    'unidlth_rewound': {**_AFTER_AN_EPOCH, **_REWOUND},
    'dlth_erk_short': {
      **_FROM_THE_START,
      **{'rounds': 4, 'finetune_fraction': 0.95},
    },
    'dlth_erk_slow': {**_FROM_THE_START, **_SLOW},
    'unidlth_brief': {'method': 'unidlth', 'finetune_fraction': 0.95},
  }.items()
}
METHOD_CONFIGS = {**METHODS, **ABLATIONS, **EXTRUSIONS}

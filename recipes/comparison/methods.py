"""The methods of a comparison: which flags of a run stand behind each name."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from recipes.training.recipe import Recipe

Knobs = Mapping[str, Any]

# Of the survivors in each round, as in LTH.
_FULL_COST_PRUNE_FRACTION = 0.2


@dataclasses.dataclass(frozen=True)
class Entrant:
  """A method, with all that a run of it is told.

  Args:
    knobs: flags of the run, `method` among them; `learning_rate` here is a
      factor to the recipe's, or to the one that is given, and `warmup_epochs`
      a share of the epochs.
    tries: knobs that the search tries in their place, as many for each method.
    sparse: whether it depends on the target sparsity.
    full_cost: whether each round is a training of all the epochs (LTH's own
      cost), where the others share them.
  """

  knobs: Knobs
  tries: tuple[Knobs, ...] = ()
  sparse: bool = True
  full_cost: bool = False

  @property
  def settings(self) -> tuple[Knobs, ...]:
    """Its own knobs, and those that the search tries."""
    return ({}, *self.tries)

  def flags(
    self, tried: Knobs, sparsity: float, epochs: int, recipe: Recipe
  ) -> dict[str, Any]:
    """Returns the flags of its runs, without the seed.

    Args:
      tried: one of `settings`.
      sparsity: the target, in [0, 1).
      epochs: of a run at equal cost.
      recipe: that runs.
    """
    flags = {'epochs': epochs, **self.knobs, **tried}
    if 'learning_rate' in flags:
      flags['learning_rate'] *= recipe.learning_rate
    if 'warmup_epochs' in flags:
      flags['warmup_epochs'] *= epochs
    flags['target_sparsity'] = sparsity if self.sparse else 0.0
    if self.full_cost:
      rounds = full_cost_rounds(sparsity)
      flags |= {'rounds': rounds, 'epochs': (rounds + 1) * epochs}
    return flags


def full_cost_rounds(sparsity: float) -> int:
  """Returns how many rounds of a fifth of the survivors reach a sparsity.

  >>> full_cost_rounds(0.9), full_cost_rounds(0.99)
  (11, 21)
  """
  rounds = math.log(1 - sparsity) / math.log(1 - _FULL_COST_PRUNE_FRACTION)
  return max(1, math.ceil(rounds - 1e-9))


def _values(name: str, *values: Any) -> tuple[Knobs, ...]:
  return tuple({name: value} for value in values)


_RATES = _values('learning_rate', 0.5, 1.5, 2.0)
_CUTS = _values('begin_fraction', 0.2, 0.35, 0.7)


def _spans(*shares: tuple[float, float]) -> tuple[Knobs, ...]:
  names = 'begin_fraction', 'end_fraction'
  return tuple(dict(zip(names, pair)) for pair in shares)


_SPANS = _spans((0.0, 0.5), (0.2, 0.5), (0.3, 0.8))
# A restart at the first step would be none.
_RESTARTED_SPANS = _spans((0.1, 0.5), (0.2, 0.5), (0.3, 0.8))
_ROUNDS = _values('rounds', 1, 2, 3)
# A random ticket may gain from a high learning rate, whose first steps must not
# wreck the network that is yet to be cut.
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
# Past the first steps, where larger networks have no winning tickets yet.
_LATE = 100


def _ablations(method: str) -> dict[str, Entrant]:
  """Returns a unified method without one of its parts, or with another."""
  changed: dict[str, Knobs] = {
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
    f'{method}_{name}': Entrant({'method': method, **knobs})
    for name, knobs in changed.items()
  }


METHODS: dict[str, Entrant] = {
  'dense': Entrant({'method': 'dense'}, _RATES, sparse=False),
  'oneshot': Entrant({'method': 'oneshot'}, _CUTS),
  'oneshot_restart': Entrant({'method': 'oneshot', 'lr_restart': True}, _CUTS),
  'gmp': Entrant({'method': 'gmp'}, _SPANS),
  'gmp_restart': Entrant(
    {'method': 'gmp', 'lr_restart': True}, _RESTARTED_SPANS
  ),
  'lr_rewind': Entrant({'method': 'lr_rewind'}, _ROUNDS),
  'lth': Entrant({'method': 'lth'}, _ROUNDS),
  'lth_late': Entrant({'method': 'lth', 'rewind_step': _LATE}, _ROUNDS),
  'unilth': Entrant({'method': 'unilth'}, _FIND),
  'random': Entrant({'method': 'random'}, _FROM_SCRATCH),
  # Random tickets whose small layers keep more, as UniDLTH's do.
  'random_erk': Entrant({'method': 'random', 'scope': 'erk'}, _FROM_SCRATCH),
  'random_cut': Entrant({'method': 'dlth', 'limit': 0.0}, _AT_ONCE),
  'dlth': Entrant({'method': 'dlth'}, _AT_ONCE),
  'dlth_erk': Entrant({'method': 'dlth', 'scope': 'erk'}, _AT_ONCE),
  'dlth_iter': Entrant({'method': 'dlth', 'rounds': 4}, _AT_ONCE),
  'unidlth': Entrant({'method': 'unidlth'}, _TRANSFORM),
  # Last: it takes ten to twenty times as long.
  'lth_full': Entrant({'method': 'lth'}, full_cost=True),
}
ABLATIONS: dict[str, Entrant] = {
  **_ablations('unilth'),
  **_ablations('unidlth'),
}
ENTRANTS = {**METHODS, **ABLATIONS}

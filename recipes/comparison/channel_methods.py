"""The methods of a comparison of whole channels, and what each tries.

Each tries five settings beside its own. Those of the unified methods are one
change of each kind: the strength of the ramp, its share of the round (with a
constant penalty it acts in all of it), fewer rounds, the layers that are ranked
together.
"""

from collections.abc import Mapping

from recipes.comparison.methods import (
  ABLATIONS,
  METHOD_CONFIGS,
  METHODS,
  Hyperparameters,
  MethodConfig,
)

_LAYER, _ERK = {'scope': 'layer'}, {'scope': 'erk'}
_RESTART = {'lr_restart': True}
_RATES = (
  *METHODS['dense'].search_space,
  {'warmup_epochs': 0.07},
  {'learning_rate': 2.0, 'warmup_epochs': 0.2},
)
# Largest lambdas with which a unit shrinks by some exp(-15) in a round of LeNet
# on 5,000 images of MNIST, of 11 rounds and of a single one. By default it is
# exp(-3).
_STRONG, _STRONG_AND_LONG = {'limit': 1.2}, {'limit': 0.12}
_UNILTH = (
  _STRONG,
  {'power': 0.0},
  {'rounds': 4},
  {'rounds': 1, **_STRONG_AND_LONG},
  _LAYER,
)
_NO_RAMP = (
  {'finetune_fraction': 0.4},
  {'max_dense_fraction': 0.1},
  {'rounds': 4},
  {'rounds': 1},
  _LAYER,
)
_SHORT = METHODS['unidlth'].search_space[0]
_LONG = METHODS['dlth'].search_space[0]


def _with_more(name: str, *more: Hyperparameters) -> MethodConfig:
  """Returns a method that tries more than it does on single weights."""
  known = METHODS[name]
  return MethodConfig(known.hyperparameters, (*known.search_space, *more))


CHANNEL_METHODS: dict[str, MethodConfig] = {
  'dense': MethodConfig({'method': 'dense'}, _RATES, sparse=False),
  # The same FLOPs from the first step on.
  'small_dense': MethodConfig({'method': 'small_dense'}, _RATES),
  'oneshot_global': MethodConfig(
    {'method': 'oneshot_global'},
    (*METHODS['oneshot'].search_space, _LAYER, _RESTART),
  ),
  'gmp_global': _with_more('gmp_global', _LAYER, _RESTART),
  'lr_rewind': _with_more('lr_rewind', _LAYER, _ERK),
  'unilth': MethodConfig({'method': 'unilth'}, _UNILTH),
  'unilth_no_ramp': MethodConfig({'method': 'unilth', 'limit': 0.0}, _NO_RAMP),
  'unilth_no_ramp_no_plateau': MethodConfig(
    {'method': 'unilth', 'limit': 0.0, 'patience': 0}, _NO_RAMP
  ),
  'random': _with_more('random', _ERK, {**_ERK, 'learning_rate': 2.0}),
  'dlth': _with_more('dlth', _ERK, {**_LONG, **_ERK}),
  # The ramp that it tries is three times as strong as its own, exp(-30).
  'unidlth': _with_more(
    'unidlth', {**_SHORT, **_LAYER}, {**_SHORT, 'limit': 6.0}
  ),
}
CHANNEL_CONFIGS = {**ABLATIONS, **CHANNEL_METHODS}


def configs(structure: str) -> Mapping[str, MethodConfig]:
  """Returns the methods that can be compared, by name.

  Args:
    structure: `'channels'`, or `''` for single weights.

  >>> 'gmp' in configs(''), 'gmp' in configs('channels')
  (True, False)
  """
  return CHANNEL_CONFIGS if structure == 'channels' else METHOD_CONFIGS

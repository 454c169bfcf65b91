"""The methods that a comparison is asked for, some of them as a group."""

from collections.abc import Iterable, Iterator

from recipes.comparison import tables
from recipes.comparison.channel_methods import CHANNEL_METHODS, configs
from recipes.comparison.methods import ABLATIONS, METHODS, MethodConfig
from recipes.training.methods import OF_TF_KERAS

NAMES = ('all', 'ablations')


def chosen(asked: Iterable[str], structure: str, keras: str) -> Iterator[str]:
  """Yields the methods that are asked for.

  Args:
    asked: their names, and those of groups.
    structure: what is pruned: `'channels'`, or `''` for single weights.
    keras: of the models.

  Raises:
    ValueError: one of them cannot prune that.

  >>> [*chosen(['dense', 'small_dense'], 'channels', 'tf_keras')]
  ['dense', 'small_dense']
  """
  known = configs(structure)
  groups = {
    'all': tuple(CHANNEL_METHODS if structure else METHODS),
    'ablations': (*tables.BASELINES, *ABLATIONS),
  }
  for given in asked:
    if given in groups:
      # Those of tf_keras are left out of a group for Keras 3, refused by name.
      yield from (n for n in groups[given] if _is_known(known[n], keras))
    elif given in known:
      yield given
    else:
      raise ValueError(
        f'--methods={given} cannot be compared with --structure='
        f'{structure or None}, only {", ".join(known)}.'
      )


def _is_known(method: MethodConfig, keras: str) -> bool:
  """Returns whether models of a Keras can be pruned by a method."""
  name = method.hyperparameters['method']
  return keras == 'tf_keras' or name not in OF_TF_KERAS

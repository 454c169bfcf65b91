"""The settings that the search of another comparison chose."""

import csv
import pathlib
from collections.abc import Iterable, Mapping

from recipes.comparison import channel_methods
from recipes.comparison.methods import MethodConfig, in_words


def read(
  path: pathlib.Path, methods: Iterable[str], structure: str
) -> dict[str, int]:
  """Returns the index of each method's setting, among its `settings`.

  Args:
    path: `comparison.csv` of a comparison whose search is finished.
    methods: names of `channel_methods.configs(structure)`.
    structure: what is pruned: `'channels'`, or `''` for single weights.

  Raises:
    OSError: the file cannot be read.
    ValueError: it does not say which setting a method has.
  """
  with path.open(newline='') as file:
    rows = [
      row
      for row in csv.DictReader(file)
      if row.get('structure', '') == structure
    ]
  configs = channel_methods.configs(structure)
  return {name: _index(path, name, configs[name], rows) for name in methods}


def _index(
  path: pathlib.Path,
  method: str,
  config: MethodConfig,
  rows: Iterable[Mapping[str, str]],
) -> int:
  """Returns the index of the setting that a search chose for a method."""
  known = [in_words(tried) for tried in config.settings]
  own = [row for row in rows if row['method'] == method]
  chosen = {row['knobs'] for row in own if row['chosen'] == '1'}
  if not chosen:
    raise ValueError(
      f'--settings_from={path} has no chosen run of {method}: name methods '
      'that it compares in --methods.'
    )
  (setting,) = chosen
  if setting not in known:
    raise ValueError(
      f'--settings_from={path} has the setting {setting!r} of {method}, but '
      f'this version tries only {known}.'
    )
  searched = {row['knobs'] for row in own if row['searched'] == '1'}
  left = [words for words in known if words not in searched]
  if config.search_space and left:
    raise ValueError(
      f'--settings_from={path} has not searched {method} to its end: a run '
      f'with {left[0] or "its own setting"} is missing.'
    )
  return known.index(setting)

"""The settings that the search of another comparison chose."""

import csv
import pathlib
from collections.abc import Iterable

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
    rows = [row for row in csv.DictReader(file) if row.get('chosen') == '1']
  chosen = {
    row['method']: row['knobs']
    for row in rows
    if row.get('structure', '') == structure
  }
  configs = channel_methods.configs(structure)
  return {
    name: _index(path, name, configs[name], chosen.get(name))
    for name in methods
  }


def _index(
  path: pathlib.Path, method: str, config: MethodConfig, chosen: str | None
) -> int:
  known = [in_words(tried) for tried in config.settings]
  if chosen is None:
    raise ValueError(
      f'--settings_from={path} has no chosen run of {method}: name methods '
      'that it compares in --methods.'
    )
  if chosen not in known:
    raise ValueError(
      f'--settings_from={path} has the setting {chosen!r} of {method}, but '
      f'this version tries only {known}.'
    )
  return known.index(chosen)

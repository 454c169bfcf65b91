"""The runs of a comparison, and their results."""

import dataclasses
import itertools
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from recipes.common import files, provenance
from recipes.comparison import channel_methods
from recipes.comparison.methods import Hyperparameters, MethodConfig, in_words
from recipes.comparison.parallel_runs import Job
from recipes.training import run_directory
from recipes.training.recipe import Recipe

# What the results of a run must have.
_RESULTS = (
  'epochs',
  'steps',
  'sparsity',
  'rounds',
  'plateau_epoch',
  'rewound_to_epoch',
  'validation_accuracy',
  'test_accuracy',
  'seconds',
  'versions',
)
# Columns that files of 0.1.0 do not have.
LATER_COLUMNS = ('structure', 'flops')
COLUMNS = (
  *('recipe', 'method', 'structure', 'target_sparsity', 'seed'),
  *('knobs', 'searched', 'chosen', 'flops'),
  *_RESULTS,
)
Row = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Trial:
  """One run: a method with hyperparameters, at a sparsity, with a seed.

  Args:
    method: a name of `configs(structure)`.
    setting: index into the `settings` of the method.
    sparsity: the target, in [0, 1).
    seed: of the run.
    structure: what is pruned: `'channels'`, or `''` for single weights.
  """

  method: str
  setting: int
  sparsity: float
  seed: int
  structure: str = ''

  @property
  def config(self) -> MethodConfig:
    """Its method."""
    return channel_methods.configs(self.structure)[self.method]

  @property
  def tried(self) -> Hyperparameters:
    """The hyperparameters that are not the method's own."""
    return self.config.settings[self.setting]

  @property
  def hyperparameters(self) -> str:
    """The same in words; the CSV files have it as `knobs`."""
    return in_words(self.tried)

  @property
  def name(self) -> str:
    """The name of its directory."""
    return directory_name(
      self.method, self.hyperparameters, self.sparsity, self.seed
    )

  def flags(self, recipe: Recipe, epochs: int) -> dict[str, Any]:
    """Returns the flags of the run, with the seed."""
    flags = self.config.flags(self.tried, self.sparsity, epochs, recipe)
    return {**flags, 'seed': self.seed}


def directory_name(
  method: str, hyperparameters: str, sparsity: float, seed: int
) -> str:
  """Returns the name of a run's directory.

  >>> directory_name('gmp', 'begin_fraction=0.2 end_fraction=0.5', 0.9, 1)
  'gmp-begin_fraction=0.2-end_fraction=0.5-0.9-seed1'
  """
  parts = method, *hyperparameters.split(), sparsity, f'seed{seed}'
  return '-'.join(map(str, parts))


@dataclasses.dataclass(frozen=True)
class Grid:
  """All runs of a comparison.

  Each method is tried with each of its settings at one sparsity, the middle
  one, on some seeds; the setting with the highest mean validation accuracy
  then runs at all sparsities with all seeds.

  Args:
    recipe: that runs.
    methods: names of `configs(structure)`.
    sparsities: targets, in [0, 1).
    seeds: how many seeds are compared.
    search_seeds: how many the search uses, from 0 on; 0 is no search.
    epochs: of a run at equal cost.
    directory: of the comparison.
    common: flags that are given to all runs.
    structure: what is pruned: `'channels'`, or `''` for single weights.
    of: what `sparsities` are shares of, if `structure` is given.
    first_seed: of those that are compared.
    settings: index of the setting of each method that is given one, and not
      searched.
  """

  recipe: Recipe
  methods: Sequence[str]
  sparsities: Sequence[float]
  seeds: int
  search_seeds: int
  epochs: int
  directory: pathlib.Path
  common: tuple[str, ...] = ()
  structure: str = ''
  of: str | None = None
  first_seed: int = 0
  settings: Mapping[str, int] = dataclasses.field(default_factory=dict)

  def search(self) -> list[Trial]:
    """Returns the runs of the search, seed by seed."""
    middle = sorted(self.sparsities)[len(self.sparsities) // 2]
    return [
      self._trial(method, setting, middle, seed)
      for seed in range(self.search_seeds)
      for method in self.methods
      if self._configs[method].search_space and method not in self.settings
      for setting in range(len(self._configs[method].settings))
    ]

  def comparison(self) -> list[Trial]:
    """Returns the runs that are compared; the search must be finished.

    They are in the order of seeds, so that an unfinished comparison has runs of
    all methods.
    """
    chosen = self.chosen()
    seeds = range(self.first_seed, self.first_seed + self.seeds)
    trials = (
      self._trial(method, chosen[method], sparsity, seed)
      for seed, sparsity, method in itertools.product(
        seeds, self.sparsities, self.methods
      )
    )
    cheap_first = sorted(trials, key=lambda trial: trial.config.full_cost)
    return list(dict.fromkeys(cheap_first))

  def chosen(self) -> dict[str, int]:
    """Returns the setting of each method: given, the best found, or 0."""
    scores: dict[tuple[str, int], list[float]] = {}
    for trial in self.search():
      results = self.results(trial)
      score = results['validation_accuracy'] if results else -np.inf
      scores.setdefault((trial.method, trial.setting), []).append(score)
    means = {key: float(np.mean(values)) for key, values in scores.items()}
    return {
      # Of equal settings the first, the method's own.
      method: max(
        (s for m, s in means if m == method),
        key=lambda setting: means[method, setting],
        default=self.settings.get(method, 0),
      )
      for method in self.methods
    }

  def job(self, trial: Trial) -> Job:
    """Returns the job of a trial."""
    flags = trial.flags(self.recipe, self.epochs)
    if self.structure and trial.config.sparse:
      flags = {'structure': self.structure, 'of': self.of, **flags}
    words = [f'--{name}={value}' for name, value in flags.items()]
    return Job(self._directory(trial), (*self.common, *words))

  def cost(self, trial: Trial) -> int:
    """Returns the epochs of a trial."""
    return trial.flags(self.recipe, self.epochs)['epochs']

  def results(self, trial: Trial) -> dict[str, Any] | None:
    """Returns the results of a trial, `None` if it is not finished."""
    path = self._directory(trial) / 'results.json'
    return run_directory.read_json(path, _RESULTS) if path.exists() else None

  def rows(self) -> list[Row]:
    """Returns a row per finished run, of the search too."""
    searched, compared = self.search(), self.comparison()
    return [
      {
        'recipe': self.recipe.name,
        'method': trial.method,
        'structure': trial.structure,
        'target_sparsity': trial.sparsity,
        'seed': trial.seed,
        'knobs': trial.hyperparameters,
        'searched': int(trial in searched),
        'chosen': int(trial in compared),
        'flops': results.get('flops'),
        **{name: results[name] for name in _RESULTS},
        'versions': provenance.version_words(results['versions']),
      }
      for trial in dict.fromkeys([*compared, *searched])
      if (results := self.results(trial)) is not None
    ]

  def _directory(self, trial: Trial) -> pathlib.Path:
    return self.directory / 'runs' / trial.name

  @property
  def _configs(self) -> Mapping[str, MethodConfig]:
    return channel_methods.configs(self.structure)

  def _trial(
    self, method: str, setting: int, sparsity: float, seed: int
  ) -> Trial:
    """Returns a trial; at no sparsity if the method does not depend on it."""
    target = sparsity if self._configs[method].sparse else 0.0
    return Trial(method, setting, target, seed, self.structure)


def csv_text(rows: Iterable[Row]) -> str:
  """Returns rows as CSV, with a line for the columns."""
  return files.csv_text(COLUMNS, rows)

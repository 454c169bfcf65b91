"""The search of `recipes.pretrained`, and the runs that it compares."""

from collections.abc import Iterator, Sequence

from recipes.comparison.pretrained_rows import Row, rows_of
from recipes.comparison.pretrained_trials import OPTIMIZERS, Trial

SEARCH_SEEDS = (10,)


OURS, BASELINE = 'unilth', 'polynomial_decay'


Settings = tuple[tuple[str, float], ...]


def _tries(*tries: dict[str, float]) -> tuple[Settings, ...]:
  return tuple(tuple(settings.items()) for settings in tries)


# By method and optimizer; the baseline has one more. The first of UniLTH has
# the library's defaults and the learning rate of the recipe.
TRIES: dict[tuple[str, str], tuple[Settings, ...]] = {
  (OURS, 'adam'): _tries({}, {'finetune_fraction': 0.75}),
  (OURS, 'sgd'): _tries({}, {'rate': 0.3}),
  (BASELINE, 'adam'): _tries(
    {'begin': 0.0, 'end': 0.5},
    {'begin': 0.0, 'end': 0.3},
    {'begin': 0.2, 'end': 0.7},
  ),
  (BASELINE, 'sgd'): _tries(
    {'begin': 0.0, 'end': 0.5},
    {'begin': 0.2, 'end': 0.7},
    {'begin': 0.0, 'end': 0.5, 'rate': 0.3},
  ),
}


def searched(tasks: Sequence[str]) -> Iterator[Trial]:
  """Yields the runs of the search on these tasks."""
  for task in tasks:
    for seed in SEARCH_SEEDS:
      for (method, optimizer), tries in TRIES.items():
        for settings in tries:
          yield Trial(task, optimizer, method, seed, settings)


def compared(
  search: Sequence[Row],
  tasks: Sequence[str],
  methods: Sequence[str],
  seed_count: int,
) -> Iterator[Trial]:
  """Yields the runs that are compared, with the settings of the search.

  Args:
    search: the rows of the search.
    tasks: names of `TASKS`.
    methods: names of `METHODS`.
    seed_count: runs of each, with seeds from 0 on.
  """
  for task in tasks:
    for seed in range(seed_count):
      for method in methods:
        for optimizer in OPTIMIZERS:
          settings = chosen(search, task, optimizer, method)
          yield Trial(task, optimizer, method, seed, settings)


def chosen(
  search: Sequence[Row], task: str, optimizer: str, method: str
) -> Settings:
  """Returns the settings with the best mean validation accuracy.

  Where two are equal, the first. Methods without a search take the learning
  rate of ours.
  """
  if (method, optimizer) not in TRIES:
    ours = chosen(search, task, optimizer, OURS)
    return tuple(pair for pair in ours if pair[0] in ('rate', 'warmup'))

  def score(settings: Settings) -> float:
    words = Trial(task, optimizer, method, 0, settings).words
    values = [
      float(row['validation_accuracy'])
      for row in rows_of(search, task, optimizer, method)
      if row['settings'] == words
    ]
    return sum(values) / len(values) if values else 0.0

  return max(TRIES[method, optimizer], key=score)

"""Compares methods that prune trained networks in five epochs.

  python -m recipes.pretrained --data_dir=/data
  python -m recipes.pretrained --tasks=digits_cnn --pruned_by=unilth,unidlth

Trains each network dense, as its recipe does, then prunes it from the same
weights with each method, under Adam at 1e-3 and under the recipe's SGD with a
cosine over the five epochs: the network of `recipes.digits_cnn` to 90%, that of
`recipes.mnist_lenet` to 95%. `polynomial_decay` is tfmot's, which prunes each
layer to the target, as `unilth_layer`, UniLTH with `scope='layer'`, does.

First, polynomial_decay and unilth try some settings on a seed that is not
compared, and take those with the best validation accuracy. The others take
unilth's learning rate. In the output directory it writes `search.csv` and
`pretrained.csv`, a line per run as they finish, and `report.md`. The same
command goes on where it stopped.

How to prune a network that is trained already:

  model = tf_unilth.prune_low_magnitude(
    trained, tf_unilth.IterativeSparsity(0.9))
  model.compile(...)
  model.fit(x, y, epochs=5, callbacks=[tf_unilth.UniLTH(pretrained=True)])

What it found stands in
recipes/results/comparison/digits_and_mnist/pretrained/report.md: on both
networks UniLTH ends above PolynomialDecay under both optimizers. The network of
the digits keeps its accuracy; LeNet at 95% loses about a tenth of a point. Most
of the lead on the digits comes from ranking all layers together: with
scope='layer' UniLTH loses points there too. Five epochs of the digits are 195
steps, in which the moving averages of batch normalisation lag behind, and
random tickets have no time to learn.
"""

import pathlib
from collections.abc import Iterable, Sequence

from absl import app, flags

from recipes.common import files, provenance
from recipes.comparison.pretrained_report import report
from recipes.comparison.pretrained_rows import Table
from recipes.comparison.pretrained_search import compared, searched
from recipes.comparison.pretrained_trials import (
  EPOCHS,
  METHODS,
  TASKS,
  Bench,
  Trial,
)
from recipes.training import command_line

FLAGS = flags.FLAGS

_COMPARISON = 'Comparison'
_TASKS = flags.DEFINE_list(
  'tasks',
  list(TASKS),
  f'Networks to prune, of {", ".join(TASKS)}.',
  module_name=_COMPARISON,
)
_PRUNED_BY = flags.DEFINE_list(
  'pruned_by',
  list(METHODS),
  f'Methods to compare, of {", ".join(METHODS)}.',
  module_name=_COMPARISON,
)
_SEED_COUNT = flags.DEFINE_integer(
  'seed_count',
  5,
  'Number of runs of each, with seeds from 0 on.',
  1,
  module_name=_COMPARISON,
)


@flags.validator('tasks', f'must be of {", ".join(TASKS)}')
def _are_tasks(value: list[str]) -> bool:
  return set(value) <= set(TASKS)


@flags.validator('pruned_by', f'must be of {", ".join(METHODS)}')
def _are_methods(value: list[str]) -> bool:
  return set(value) <= set(METHODS)


def run(
  trials: Iterable[Trial],
  table: Table,
  directory: pathlib.Path,
  data_dir: str | None,
) -> None:
  """Does the runs that are not in a table yet, and adds them.

  Args:
    trials: what to run.
    table: of the finished runs.
    directory: keeps the weights of the dense networks.
    data_dir: where the data of MNIST are.
  """
  bench, made_for = None, None
  versions = provenance.version_words(provenance.versions())
  for trial in trials:
    if table.has(trial):
      continue
    if made_for != (trial.task, trial.seed):
      made_for = trial.task, trial.seed
      bench = Bench(*made_for, data_dir, directory / 'weights')
    assert bench is not None
    found = bench.run(trial)
    table.add(
      {
        'recipe': trial.task,
        'optimizer': trial.optimizer,
        'method': trial.method,
        'settings': trial.words,
        'seed': trial.seed,
        'target_sparsity': TASKS[trial.task].sparsity,
        'epochs': EPOCHS,
        'versions': versions,
        **{f'dense_{name}': value for name, value in bench.dense.items()},
        **found,
      }
    )
    print(
      f'{trial.task} {trial.optimizer} {trial.method} {trial.words} seed '
      f'{trial.seed}: {found["validation_accuracy"]:.4f} in validation',
      flush=True,
    )


def _parse(arguments: Sequence[str]) -> list[str]:
  return command_line.parse(arguments, [_COMPARISON])


def _main(arguments: Sequence[str]) -> str | None:
  """Returns an error's one line, `None` if all went well."""
  try:
    command_line.reject_positional_arguments(arguments)
    directory = pathlib.Path(FLAGS.output_dir or 'runs/pretrained')
    directory.mkdir(parents=True, exist_ok=True)
    search = Table(directory / 'search.csv')
    run(searched(_TASKS.value), search, directory, FLAGS.data_dir)
    table = Table(directory / 'pretrained.csv')
    trials = compared(
      search.rows, _TASKS.value, _PRUNED_BY.value, _SEED_COUNT.value
    )
    run(trials, table, directory, FLAGS.data_dir)
    text = report(table.rows, search.rows)
    files.write_text(directory / 'report.md', text)
    print(text)
  except command_line.expected_errors() as error:
    return command_line.error_line(error)
  return None


if __name__ == '__main__':
  app.run(_main, flags_parser=_parse)

"""Comparisons of whole channels: their grid, their rows, a real small one."""

import csv

import pytest
from absl import flags
from absl.testing import flagsaver

from recipes import compare
from recipes.common import figures
from recipes.comparison import (
  channel_methods,
  parallel_runs,
  plot,
  runner,
  tables,
  trials,
)
from recipes.training import experiment, pruning_setup, smaller_network
from tests.testing import tiny_recipe

_TIMES = dict.fromkeys(('dense_seconds', 'seconds', 'ratio'), 1.0)
_TIMES |= {'least_ratio': 1.0, 'largest_ratio': 1.0}


def _grid(directory, **given):
  return trials.Grid(
    **{
      'recipe': tiny_recipe.RECIPE,
      'methods': list(channel_methods.CHANNEL_METHODS),
      'sparsities': [0.5, 0.75],
      'seeds': 2,
      'search_seeds': 1,
      'epochs': 5,
      'directory': directory,
      'common': ('--verbose=0', '--noplots', '--export='),
      'structure': 'channels',
      'of': 'flops',
      'first_seed': 10,
      **given,
    }
  )


def _compare(directory, *given):
  """Returns the line of an error, `None` without one."""
  arguments = ['', '--recipe=digits_cnn', f'--output_dir={directory}', *given]
  with flagsaver.flagsaver():
    return tiny_recipe.error_of(
      lambda: compare._main(compare._parse(arguments))
    )


def test_each_method_is_searched_as_much_and_its_runs_are_accepted(tmp_path):
  grid = _grid(tmp_path)
  found = {name: set() for name in grid.methods}
  tiny_recipe.parse_flags()
  for trial in grid.search():
    words = grid.job(trial).flags
    found[trial.method].add(words)
    config = compare.command_line.config_of(grid.recipe, words)
    pruning_setup.check(config.pruning, config.keras_module)
  assert {len(flags) for flags in found.values()} == {6}


def test_seeds_of_the_tables_have_chosen_nothing(tmp_path):
  grid = _grid(tmp_path)
  assert {trial.seed for trial in grid.search()} == {0}
  assert {trial.seed for trial in grid.comparison()} == {10, 11}


def test_runs_prune_channels_but_for_the_dense_network(tmp_path):
  grid = _grid(tmp_path)
  for trial in grid.comparison():
    given = {*grid.job(trial).flags} & {'--structure=channels', '--of=flops'}
    assert len(given) == (0 if trial.method == 'dense' else 2), trial


@pytest.mark.parametrize(
  ('given', 'message'),
  [
    (
      ['--structure=channels', '--of=flops', '--methods=unilth,gmp'],
      '--methods=gmp cannot be compared with --structure=channels, only ',
    ),
    (
      ['--methods=small_dense'],
      '--methods=small_dense cannot be compared with --structure=None',
    ),
    (
      ['--structure=channels', '--methods=small_dense'],
      '--method=small_dense needs --structure=channels --of=flops',
    ),
  ],
)
def test_methods_that_cannot_do_it_are_refused_by_name(
  given, message, tmp_path
):
  directory = tmp_path / 'none'
  said = _compare(directory, *given)
  assert message in said and '\n' not in said and not directory.exists()


def test_a_dry_run_has_dense_networks_beside_pruned_ones(tmp_path, capsys):
  given = ['--structure=channels', '--of=flops', '--methods=dense,unilth']
  given += ['--sparsities=0.5', '--seeds=1', '--search_seeds=0', '--dry_run']
  assert _compare(tmp_path, *given) is None
  dense, unilth = capsys.readouterr().out.splitlines()[-2:]
  assert 'dense, seed 0: ' in dense and 'channels' not in dense
  assert '--structure=channels --of=flops --epochs=60 ' in unilth


def _run_here(recipe, jobs, slots):
  """Runs jobs as `parallel_runs.run` does, but in this process."""
  for job in jobs:
    with flagsaver.flagsaver():
      words = ['', *job.flags, f'--output_dir={job.directory}']
      yield job, experiment.main(tiny_recipe.RECIPE, words)


@pytest.mark.long
def test_a_comparison_names_the_structure_and_has_equal_flops(
  monkeypatch, tmp_path
):
  monkeypatch.setattr(parallel_runs, 'run', _run_here)
  monkeypatch.setattr(smaller_network, '_latency', lambda *given: _TIMES)
  methods = ['small_dense', 'unilth']
  grid = _grid(
    tmp_path,
    methods=methods,
    sparsities=[0.75],
    seeds=1,
    search_seeds=0,
    epochs=3,
  )
  with flagsaver.flagsaver():
    flags.FLAGS(['', '--recipe=digits_cnn'])
    slots = [parallel_runs.DeviceSlot(None, 1)]
    runner.Runner(grid, slots, 'command').run(grid.comparison(), 'comparison')
  rows = list(csv.DictReader((tmp_path / 'comparison.csv').open()))
  assert [row['method'] for row in rows] == methods
  # Of 16 hidden units 4 are left, of each 64 + 10 products.
  assert {(row['structure'], row['flops']) for row in rows} == {
    ('channels', str(2 * 4 * 74))
  }
  assert [float(row['sparsity']) for row in rows] == [0.0, 0.75]
  report = (tmp_path / 'report.md').read_text()
  assert '| method (channels) | 75% |' in report
  assert '| unilth against (channels) | 75% |' in report
  assert 'The columns are the FLOPs removed by whole channels.' in report


def _row(method, seed, accuracy, **more):
  return {
    **dict.fromkeys(set(trials.COLUMNS) - set(trials.LATER_COLUMNS), 0),
    **{'method': method, 'seed': seed, 'test_accuracy': accuracy},
    **{'target_sparsity': 0.9, 'validation_accuracy': accuracy, 'chosen': 1},
    **more,
  }


def test_rows_of_older_files_are_read():
  rows = [_row('unilth', 0, 0.9), _row('gmp', 0, 0.8)]
  assert tables.accuracy_table(rows)[0] == '| method | 90% |'
  assert '| gmp | +10.00 (1) |' in tables.difference_table(rows, 'unilth')


def test_a_setting_is_marked_that_was_chosen_on_other_seeds():
  rows = [
    _row('unilth', 0, 0.9, searched=1, chosen=0, knobs='rounds=4'),
    _row('unilth', 0, 0.8, searched=1, chosen=0, knobs=''),
    _row('unilth', 10, 0.9, knobs='rounds=4'),
  ]
  *_, best, own = tables.search_table(rows)
  assert best == '| unilth | rounds=4 | 90.00 (1) | chosen |'
  assert own == '| unilth | its own | 80.00 (1) |  |'


def test_a_plot_says_what_its_targets_are_shares_of(monkeypatch, tmp_path):
  axes = []
  monkeypatch.setattr(
    figures, 'save', lambda plt, figure, path: axes.extend(figure.axes)
  )
  rows = [_row('unilth', 0, 0.9), _row('small_dense', 0, 0.8)]
  plot.draw(tmp_path / 'a.png', 'a', rows, 'FLOPs removed by whole channels')
  assert axes[0].get_xlabel() == 'FLOPs removed by whole channels: 90%'
  (labels,) = {tuple(t.get_text() for t in axes[0].get_xticklabels())}
  assert labels == ('unilth', 'small_dense')
  assert len(axes) == 1  # The control makes no panel by itself.

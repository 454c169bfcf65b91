"""The comparison: its grid, its search, its tables, and a real small one."""

import csv
import json
import pathlib
import subprocess
import sys

import pytest
from absl import flags
from absl.testing import flagsaver

from recipes import compare, digits_cnn
from recipes.common import figures
from recipes.comparison import (
  methods,
  parallel_runs,
  plot,
  report,
  runner,
  tables,
  trials,
)
from tests.testing import pictures, tiny_recipe

pytestmark = pytest.mark.long

_ROOT = pathlib.Path(__file__).parents[3]
_NAMES = (
  'dense oneshot gmp lr_rewind lth lth_late lth_full dlth dlth_iter random '
  'random_cut unilth unidlth'
)


def _grid(directory, **given):
  return trials.Grid(
    **{
      'recipe': digits_cnn.RECIPE,
      'methods': ['dense', 'gmp', 'unilth', 'lth_full'],
      'sparsities': [0.9, 0.95, 0.98],
      'seeds': 2,
      'search_seeds': 1,
      'epochs': 10,
      'directory': directory,
      **given,
    }
  )


def _finish(grid, trial, accuracy):
  """Writes what a run of it would leave."""
  directory = grid.job(trial).directory
  directory.mkdir(parents=True)
  results = dict.fromkeys(trials._RESULTS, 0)
  results['versions'] = {'tensorflow': '2.21.0', 'tf_unilth': '0.1.0'}
  results |= {'validation_accuracy': accuracy, 'test_accuracy': accuracy / 2}
  (directory / 'results.json').write_text(json.dumps(results))


def _row(method, sparsity, seed, accuracy, **more):
  row = dict.fromkeys(trials.COLUMNS, 0)
  given = {
    'method': method,
    'target_sparsity': sparsity,
    'seed': seed,
    'test_accuracy': accuracy,
    'chosen': 1,
  }
  return {**row, **given, **more}


def test_the_methods_of_the_table_are_there():
  assert set(_NAMES.split()) <= set(methods.METHODS)


def test_each_method_is_searched_as_much_as_the_others(tmp_path):
  searched = [name for name, e in methods.METHODS.items() if not e.full_cost]
  grid = _grid(tmp_path, methods=searched)
  found = {name: set() for name in searched}
  for trial in grid.search():
    found[trial.method].add(grid.job(trial).flags)
  # As many runs of each, no two of them with the same flags.
  assert {len(flags) for flags in found.values()} == {4}
  assert len(grid.search()) == 4 * len(searched)


def test_all_methods_train_for_equally_many_epochs_but_lth_full(tmp_path):
  grid = _grid(tmp_path, methods=list(methods.METHOD_CONFIGS))
  for trial in [*grid.search(), *grid.comparison()]:
    rounds = methods.full_cost_rounds(trial.sparsity)
    full = trial.method == 'lth_full'
    assert grid.cost(trial) == (10 * (rounds + 1) if full else 10), trial


def test_the_grid_has_each_run_once_and_the_dear_ones_last(tmp_path):
  found = _grid(tmp_path).comparison()
  assert len(found) == len(set(found)) == 2 * (1 + 3 * 3)
  assert [trial.method for trial in found[-6:]] == ['lth_full'] * 6
  assert {trial.seed for trial in found[:7]} == {0}


def test_the_search_is_at_the_middle_sparsity_and_its_best_is_compared(
  tmp_path,
):
  grid = _grid(tmp_path)
  searched = grid.search()
  assert {t.sparsity for t in searched} == {0.0, 0.95}
  for trial in searched:
    best = {'gmp': 2, 'unilth': 1}.get(trial.method, 0)
    _finish(grid, trial, 0.9 if trial.setting == best else 0.5)
  chosen = grid.chosen()
  assert chosen == {'dense': 0, 'gmp': 2, 'unilth': 1, 'lth_full': 0}
  compared = grid.comparison()
  assert {t.setting for t in compared if t.method == 'gmp'} == {2}
  done = [trial for trial in compared if grid.results(trial)]
  assert len(done) == 3  # Those of the search are not run again.
  (row,) = (r for r in grid.rows() if r['method'] == 'gmp' and r['chosen'])
  assert row['versions'] == 'tensorflow=2.21.0 tf_unilth=0.1.0'
  assert row['knobs'] == 'begin_fraction=0.2 end_fraction=0.5'
  assert row['searched']


def test_a_setting_that_is_not_better_is_not_chosen(tmp_path):
  grid = _grid(tmp_path)
  for trial in grid.search():
    _finish(grid, trial, 0.7)
  assert set(grid.chosen().values()) == {0}


def _write_chosen(path, more=(), **chosen):
  """Writes a comparison whose search is finished.

  Args:
    path: of the CSV file.
    more: rows.
    **chosen: the words of the setting that a method has.
  """
  rows = [
    _row(name, 0.9, 0, 0.5, knobs=words, chosen=int(words == best), searched=1)
    for name, best in chosen.items()
    for words in {
      *map(methods.in_words, methods.METHOD_CONFIGS[name].settings),
      best,
    }
  ]
  rows = [{**row, 'structure': ''} for row in [*rows, *more]]
  path.write_text(trials.csv_text(rows))


def test_the_settings_of_another_comparison_need_no_search(tmp_path, capsys):
  chosen = tmp_path / 'comparison.csv'
  channels = _row('unilth', 0.9, 0, 0.5, knobs='rounds=4')
  _write_chosen(chosen, unilth='finetune_fraction=0.4', unilth_no_ramp='')
  with chosen.open('a') as file:  # Of channels, which are another comparison.
    file.write(
      trials.csv_text([{**channels, 'structure': 'channels'}]).split('\n')[1]
    )
  given = f'--settings_from={chosen}', '--methods=unilth,unilth_no_ramp'
  assert _compare_here(tmp_path / 'a', *given, '--dry_run') is None
  said = capsys.readouterr().out
  assert 'search: 0 runs' in said
  listed = [line for line in said.splitlines() if '--method=' in line]
  assert len(listed) == 2 * 5 * 3
  for line in listed:
    is_set = '--finetune_fraction=0.4' in line
    assert is_set == ('unilth (finetune_fraction=0.4) at' in line), line
  assert sum('--finetune_fraction=0.4' in line for line in listed) == 5 * 3


def test_a_report_has_the_settings_that_were_given(tmp_path):
  grid = _grid(tmp_path, methods=['unilth'], settings={'unilth': 1})
  assert grid.search() == []
  for trial in grid.comparison():
    _finish(grid, trial, 0.9)
  report.write(grid, 'command', 1, {})
  told = _report(tmp_path)
  assert '## Settings\n' in told and '## Search' not in told
  assert '| unilth | finetune_fraction=0.4 |' in told


@pytest.mark.parametrize(
  ('given', 'word'),
  [
    ('--methods=gmp,lth', 'has no chosen run of gmp: name methods'),
    ('--methods=unidlth', "has the setting 'rounds=77' of unidlth, but this"),
    ('--methods=lr_rewind', 'has not searched lr_rewind to its end: a run wi'),
    ('--search_seeds=2', '--search_seeds=2 is of no use: --settings_from'),
    ('--settings_from=/nowhere.csv', 'nowhere.csv'),
  ],
)
def test_settings_that_are_not_there_are_an_error(given, word, tmp_path):
  chosen = tmp_path / 'comparison.csv'
  unfinished = _row('lr_rewind', 0.9, 0, 0.5, knobs='rounds=1', searched=1)
  _write_chosen(chosen, [unfinished], unidlth='rounds=77')
  from_it = f'--settings_from={chosen}', '--dry_run'
  said = _compare_here(tmp_path / 'a', *from_it, given) or 'no error'
  assert word in said and '\n' not in said
  assert not (tmp_path / 'a').exists()


def test_a_learning_rate_is_a_factor_to_the_recipes():
  trial = trials.Trial('dense', 1, 0.0, 5)
  flags = trial.flags(digits_cnn.RECIPE, 3)
  assert flags['learning_rate'] == pytest.approx(0.05)
  assert flags['seed'] == 5 and flags['target_sparsity'] == 0.0


def test_a_warm_up_is_a_share_of_the_epochs():
  tries = [
    t.get('warmup_epochs')
    for t in methods.METHOD_CONFIGS['random'].search_space
  ]
  number = 1 + tries.index(0.2)
  flags = trials.Trial('random', number, 0.9, 0).flags(digits_cnn.RECIPE, 30)
  assert flags['warmup_epochs'] == pytest.approx(6)


def test_tables_have_means_deviations_and_differences_by_seed():
  rows = [
    _row('dense', 0.0, 0, 0.98),
    _row('unilth', 0.9, 0, 0.97),
    _row('unilth', 0.9, 1, 0.95),
    _row('gmp', 0.9, 0, 0.96),
    _row('gmp', 0.9, 1, 0.92),
    _row('gmp', 0.9, 2, 0.10),
    _row('unilth_no_ramp', 0.9, 1, 0.94),
    _row('gmp', 0.9, 0, 0.99, chosen=0, knobs='begin_fraction=0.5'),
  ]
  table = tables.accuracy_table(rows)
  assert table[0] == '| method | 90% |'
  assert '| dense | 98.00 (1) |' in table
  assert '| unilth | 96.00 ± 1.41 (2) |' in table
  line, ablation = tables.difference_table(rows, 'unilth')[2:]
  assert ablation == '| unilth_no_ramp | +1.00 (1) |'
  # Seed 2 has no partner.
  assert line == '| gmp | +2.00 ± 12.71 (2), not told apart |'
  assert tables.difference_table(rows, 'unidlth') == []


def test_csv_has_a_line_per_run():
  text = trials.csv_text([_row('gmp', 0.9, 0, 0.5, plateau_epoch=None)])
  (row,) = csv.DictReader(text.splitlines())
  assert row['method'] == 'gmp' and row['test_accuracy'] == '0.5'
  assert row['plateau_epoch'] == ''


def test_a_run_that_fails_is_reported_and_the_others_go_on(
  tmp_path, monkeypatch, capsys
):
  grid = _grid(tmp_path)

  by_directory = {grid.job(t).directory: t for t in grid.comparison()}

  def run(recipe, jobs, places):
    for job in jobs:
      trial = by_directory[job.directory]
      failed = trial.method == 'gmp' and trial.seed == 1
      if not failed:
        _finish(grid, trial, 0.9)
      yield job, 'it diverged' if failed else None

  monkeypatch.setattr(parallel_runs, 'run', run)
  with flagsaver.flagsaver():
    flags.FLAGS(['', '--recipe=digits_cnn'])
    for _ in range(2):  # When it goes on, too.
      run_all = runner.Runner(grid, parallel_runs.slots(2), 'command')
      run_all.run(grid.comparison(), 'comparison')
  assert len(run_all.failed) == 3
  assert 'seed 1: it diverged (runs/gmp-0.95-seed1/' in capsys.readouterr().out
  report = (tmp_path / 'report.md').read_text()
  assert '| gmp | 45.00 (1) | 45.00 (1) | 45.00 (1) |' in report
  assert '- gmp at 95%, seed 1: it diverged (runs/gmp' in report
  assert str(tmp_path) not in report


def test_a_first_run_that_fails_ends_it_and_tells_where(tmp_path, monkeypatch):
  grid = _grid(tmp_path)
  monkeypatch.setattr(
    parallel_runs, 'run', lambda recipe, jobs, places: [(jobs[0], 'no data')]
  )
  run_all = runner.Runner(grid, parallel_runs.slots(2), 'command')
  with pytest.raises(ValueError, match=f'failed, in {tmp_path}: no data'):
    run_all.run(grid.comparison(), 'comparison')


@pytest.fixture
def drawn(monkeypatch):
  """Returns the axes of the plots that are saved."""
  axes = []
  monkeypatch.setattr(
    figures, 'save', lambda plt, figure, path: axes.extend(figure.axes)
  )
  return axes


@pytest.mark.parametrize('sparsities', [(0.9,), (0.9, 0.95)])
@pytest.mark.parametrize('accuracies', [(1.0, 0.9), (0.9, 1.0), (0.2, 0.1)])
def test_a_plot_shows_the_best_and_our_worst(
  accuracies, sparsities, drawn, tmp_path
):
  ours, other = accuracies
  rows = [_row('unilth', s, 0, ours) for s in sparsities]
  rows += [_row('gmp', s, 0, other) for s in sparsities]
  plot.draw(tmp_path / 'a.png', 'a', rows)
  low, high = drawn[0].get_ylim()
  assert 0 <= low < 100 * ours
  assert 100 * max(ours, other) <= high + 0.01  # Above that all is the same.


def test_a_plot_of_one_sparsity_tells_what_is_below_it(drawn, tmp_path):
  rows = [_row('unilth', 0.9, 0, 0.99), _row('gmp', 0.9, 0, 0.5)]
  plot.draw(tmp_path / 'a.png', 'a', rows)
  assert [text.get_text() for text in drawn[0].texts] == ['50.0']


def test_places_share_the_cores(monkeypatch):
  monkeypatch.setattr(parallel_runs.os, 'sched_getaffinity', lambda _: range(8))
  assert [p.threads for p in parallel_runs.slots(None)] == [1] * 8
  assert [p.threads for p in parallel_runs.slots(2)] == [4, 4]
  assert len(parallel_runs.slots(20)) == 20


def _compare(directory, *flags):
  finished = subprocess.run(
    [
      sys.executable,
      '-m',
      'recipes.compare',
      '--recipe=digits_cnn',
      f'--output_dir={directory}',
      *flags,
    ],
    capture_output=True,
    text=True,
    check=False,
    cwd=_ROOT,
  )
  return finished.returncode, finished.stdout + finished.stderr


def _compare_here(directory, *given):
  """Returns the line of an error; nothing that is to run must be missing."""
  with flagsaver.flagsaver():
    arguments = ['', '--recipe=digits_cnn', f'--output_dir={directory}', *given]
    return tiny_recipe.error_of(
      lambda: compare._main(compare._parse(arguments))
    )


def _report(directory):
  return (directory / 'report.md').read_text()


def test_a_comparison_runs_and_goes_on(tmp_path, capsys):
  directory = tmp_path / 'new' / 'folder'
  small = (
    '--epochs=3',
    '--batch_size=512',
    '--search_seeds=0',
    '--methods=gmp,unilth',
    '--sparsities=0.9',
    '--seeds=1',
  )
  code, said = _compare(directory, *small)
  assert code == 0, said
  assert 'comparison: 2 runs, 0 of them done' in said
  written = (directory / 'comparison.csv').read_text()
  rows = list(csv.DictReader(written.splitlines()))
  assert {row['method'] for row in rows} == {'gmp', 'unilth'}
  assert all(0.89 < float(row['sparsity']) < 0.91 for row in rows)
  assert '| unilth against | 90% |' in _report(directory)
  assert pictures.coloured_share(directory / 'comparison.png') > 0.0003
  assert not list(directory.glob('runs/*/checkpoints'))

  assert _compare_here(directory, *small) is None
  assert '2 runs, 2 of them done' in capsys.readouterr().out
  assert _compare_here(directory, *small, '--methods=gmp') is None
  (line,) = csv.DictReader((directory / 'comparison.csv').open())
  assert line['method'] == 'gmp' and '| unilth' not in _report(directory)
  said = _compare_here(directory, *small, '--learning_rate=0.2')
  assert 'another configuration' in said and 'learning_rate=0.2' in said


@pytest.mark.parametrize(
  ('flag', 'word'),
  [
    ('--methods=gmp,sgd', "--methods=['gmp', 'sgd']: must be all, ablations"),
    ('--sparsities=0.9,1', "'1']: must be numbers above 0 and below 1"),
    ('--seed=3', '--seed is set by the comparison'),
    ('--rounds=3', '--rounds is not read by --method=dense'),
  ],
)
def test_bad_flags_are_refused_before_the_first_run(flag, word, tmp_path):
  said = _compare_here(tmp_path / 'none', flag)
  assert word in said and '\n' not in said
  assert not (tmp_path / 'none').exists()


def test_a_learning_rate_that_is_given_is_what_the_search_varies(
  tmp_path, capsys
):
  given = '--methods=dense', '--learning_rate=0.02', '--dry_run'
  assert _compare_here(tmp_path / 'none', *given) is None
  lines = capsys.readouterr().out.splitlines()
  (half,) = (line for line in lines if '(learning_rate=0.5)' in line)
  assert half.endswith('--seed=0') and ' --learning_rate=0.01 ' in half
  (own, *_) = (line for line in lines if 'dense, seed 0' in line)
  assert ' --learning_rate=0.02 ' in own


def test_a_dry_run_lists_and_does_nothing(tmp_path, capsys):
  given = '--methods=unilth', '--seeds=2', '--dry_run'
  assert _compare_here(tmp_path / 'none', *given) is None
  said = capsys.readouterr().out
  assert 'search: 4 runs, 240 epochs' in said
  assert 'comparison: 10 runs, 600 epochs' in said
  assert 'unilth at 99%, seed 1: ' in said and '--seed=1' in said
  assert not (tmp_path / 'none').exists()

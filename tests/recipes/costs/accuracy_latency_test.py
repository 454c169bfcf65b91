"""recipes.costs.accuracy_latency: files of runs, their accuracy and times."""

import json

import pytest
from absl import flags
from absl.testing import flagsaver

from recipes.comparison import trials
from recipes.costs import accuracy_latency, accuracy_latency_report
from recipes.training import catalogue
from tests.testing import pictures, tiny_recipe

_EXPORT = 'saved_model,tflite'


def _write_comparison(directory, rows):
  blank = dict.fromkeys(trials.COLUMNS, '')
  text = trials.csv_text([{**blank, 'chosen': 1, **row} for row in rows])
  (directory / 'comparison.csv').write_text(text)


def _row(method, target, structure='', knobs='', seed=0):
  return {
    'method': method,
    'structure': structure,
    'target_sparsity': target,
    'seed': seed,
    'knobs': knobs,
  }


@pytest.fixture(scope='module')
def comparison(tmp_path_factory):
  """The output of a comparison, with two runs that are compared."""
  directory = tmp_path_factory.mktemp('comparison')
  common = {'export': _EXPORT.split(','), 'plots': False, 'epochs': 5}
  runs = directory / 'runs'
  tiny_recipe.run(runs / 'dense-0.0-seed0', method='dense', **common)
  tiny_recipe.run(
    runs / 'gmp_global-end_fraction=0.5-0.75-seed0',
    method='gmp_global',
    end_fraction=0.5,
    target_sparsity=0.75,
    structure='channels',
    **common,
  )
  _write_comparison(
    directory,
    [
      _row('dense', 0.0),
      _row('gmp_global', 0.75, 'channels', 'end_fraction=0.5'),
      {**_row('gmp_global', 0.75, 'channels'), 'chosen': 0, 'searched': 1},
    ],
  )
  return directory


@pytest.mark.long
def test_each_file_has_the_accuracy_of_its_run_and_is_timed(
  comparison, tmp_path, monkeypatch, capsys
):
  monkeypatch.setattr(catalogue, 'load', lambda name: tiny_recipe.RECIPE)
  given = f'--comparisons={comparison}', f'--output={tmp_path / "found.json"}'
  with flagsaver.flagsaver():
    flags.FLAGS(['', '--recipe=digits_cnn', *given])
    assert accuracy_latency._main(['']) is None
  rows = json.loads((tmp_path / 'found.json').read_text())['files']
  assert [(row['method'], row['weights']) for row in rows] == [
    ('dense', 'float32'),
    ('gmp_global', 'float32'),
    ('dense', 'int8'),
  ]
  dense, smaller, quantized = rows
  for row, name in (
    (dense, 'dense-0.0-seed0'),
    (smaller, 'gmp_global-end_fraction=0.5-0.75-seed0'),
  ):
    path = comparison / 'runs' / name / 'results.json'
    results = json.loads(path.read_text())
    assert row['test_accuracy'] == pytest.approx(results['test_accuracy'])
  assert abs(quantized['test_accuracy'] - dense['test_accuracy']) < 0.05
  assert max(smaller['bytes'], quantized['bytes']) < dense['bytes']
  for row in rows:
    assert list(row['seconds']) == ['1 thread, batch 1', '1 thread, batch 32']
    assert all(len(times) == 5 for times in row['seconds'].values())
  table = (tmp_path / 'found.md').read_text()
  assert table in capsys.readouterr().out
  assert '| gmp_global, channels, 75% |' in table
  assert pictures.coloured_share(tmp_path / 'found.png') > 0.0005


def _file(method, seed, accuracy, seconds, target=0.0, **more):
  return {
    'method': method,
    'structure': 'channels' if target else '',
    'target': target,
    'seed': seed,
    'weights': 'float32',
    'bytes': 1000,
    'test_accuracy': accuracy,
    'seconds': {'1 thread, batch 1': [seconds, 2 * seconds]},
    **more,
  }


def test_times_are_beside_the_dense_network_of_the_seed():
  rows = [
    _file('dense', 0, 0.9, 4.0),
    _file('dense', 1, 0.8, 8.0),
    _file('dense', 0, 0.7, 1.0, weights='int8', bytes=300),
    _file('unilth', 0, 0.6, 1.0, target=0.9),
    _file('unilth', 1, 0.5, 4.0, target=0.9),
    _file('unilth', 0, 0.4, 1.0, target=0.98, structure=''),
    _file('small_dense', 0, 0.5, 1.0, target=0.9),
  ]
  assert accuracy_latency_report.table(rows).splitlines() == [
    '| network | bytes | test accuracy, % | 1 thread, batch 1 |',
    '|---|---|---|---|',
    '| dense | 1,000 | 85.00 ± 7.07 (2) | 1.00 (1.00 to 1.00) |',
    '| dense, int8 | 300 | 70.00 (1) | 0.25 |',
    '| unilth, channels, 90% | 1,000 | 55.00 ± 7.07 (2) | '
    '0.38 (0.25 to 0.50) |',
    '| unilth, single weights, 98% | 1,000 | 40.00 (1) | 0.25 |',
    '| small_dense, 90% | 1,000 | 50.00 (1) | 0.25 |',
  ]


def test_a_run_without_a_file_is_named(tmp_path):
  _write_comparison(tmp_path, [_row('unilth', 0.9)])
  with pytest.raises(ValueError, match=r'unilth-0.9-seed0 has no model.tfl'):
    accuracy_latency.networks(tmp_path)


@pytest.mark.parametrize(
  ('networks', 'word'),
  [
    ([('dense', 0.0, 0), ('unilth', 0.9, 3)], 'no dense network of seed 3'),
    ([('unilth', 0.9, 3)] * 2, 'have unilth at 90%, seed 3, twice'),
  ],
)
def test_networks_that_cannot_be_compared_are_an_error(
  networks, word, tmp_path
):
  found = [
    accuracy_latency.Network(method, '', target, seed, tmp_path)
    for method, target, seed in networks
  ]
  with pytest.raises(ValueError, match=word):
    accuracy_latency.measure(tiny_recipe.RECIPE, tiny_recipe.config(), found)

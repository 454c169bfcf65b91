"""recipes.costs.accuracy_latency: files of runs, their accuracy and times."""

import dataclasses
import json

import numpy as np
import pytest
import tf_keras as keras
from absl import flags
from absl.testing import flagsaver

import tf_unilth
from recipes.comparison import trials
from recipes.costs import (
  accuracy_latency,
  accuracy_latency_report,
  file_calls,
)
from recipes.training import catalogue
from tests.testing import pictures, tiny_recipe

_EXPORT = 'saved_model,tflite'


def _write_comparison(directory, rows):
  blank = dict.fromkeys(trials.COLUMNS, '')
  text = trials.csv_text([{**blank, 'chosen': 1, **row} for row in rows])
  (directory / 'comparison.csv').write_text(text)


def _row(method, target, structure='', knobs='', seed=0):
  return {
    'recipe': 'tiny_recipe',
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
    of='flops',
    **common,
  )
  compared = [
    _row('dense', 0.0, 'channels'),
    _row('gmp_global', 0.75, 'channels', 'end_fraction=0.5'),
  ]
  for row in compared:
    name = trials.directory_name(
      *(row[key] for key in ('method', 'knobs', 'target_sparsity', 'seed'))
    )
    results = json.loads((runs / name / 'results.json').read_text())
    row['test_accuracy'] = results['test_accuracy']
  searched = {
    **_row('gmp_global', 0.75, 'channels'),
    **{'chosen': 0, 'searched': 1},
  }
  _write_comparison(directory, [*compared, searched])
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
  # A dense network is the same one in a comparison of single weights.
  assert [row['structure'] for row in rows] == ['', 'channels', '']
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
  assert '| gmp_global, channels, 75% of the FLOPs |' in table
  assert pictures.coloured_share(tmp_path / 'found.png') > 0.0005


def _file(method, seed, accuracy, seconds, target=0.0, **more):
  return {
    'method': method,
    'structure': 'channels' if target else '',
    'of': 'flops' if target else 'weights',
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
    _file('unilth', 0, 0.4, 1.0, target=0.98, structure='', of='weights'),
    _file('small_dense', 0, 0.5, 1.0, target=0.9),
  ]
  assert accuracy_latency_report.table(rows).splitlines() == [
    '| network | bytes | test accuracy, % | 1 thread, batch 1 |',
    '|---|---|---|---|',
    '| dense | 1,000 | 85.00 ± 7.07 (2) | 1.00 (1.00 to 1.00) |',
    '| dense, int8 | 300 | 70.00 (1) | 0.25 |',
    '| unilth, channels, 90% of the FLOPs | 1,000 | 55.00 ± 7.07 (2) | '
    '0.38 (0.25 to 0.50) |',
    '| unilth, single weights, 98% of the weights | 1,000 | 40.00 (1) | 0.25 |',
    '| small_dense, 90% of the FLOPs | 1,000 | 50.00 (1) | 0.25 |',
  ]


def test_a_run_without_a_file_is_named(tmp_path):
  run = tmp_path / 'runs' / 'unilth-0.9-seed0'
  run.mkdir(parents=True)
  (run / 'config.json').write_text('{}')
  _write_comparison(tmp_path, [{**_row('unilth', 0.9), 'test_accuracy': 0.5}])
  with pytest.raises(ValueError, match=r'unilth-0.9-seed0 has no model.tfl'):
    accuracy_latency.networks(tmp_path, 'tiny_recipe')


def test_a_comparison_of_another_recipe_is_an_error(tmp_path):
  _write_comparison(tmp_path, [_row('unilth', 0.9)])
  with pytest.raises(ValueError, match='is of --recipe=tiny_recipe, not of'):
    accuracy_latency.networks(tmp_path, 'digits_cnn')


@pytest.mark.long
def test_files_that_are_not_as_good_as_their_runs_are_an_error(comparison):
  found = [
    dataclasses.replace(network, test_accuracy=0.3)
    for network in accuracy_latency.networks(comparison, 'tiny_recipe')
  ]
  with pytest.raises(ValueError, match=r'its run of 30.00%: give the --data'):
    accuracy_latency.measure(tiny_recipe.RECIPE, tiny_recipe.config(), found)


def test_the_inputs_of_a_file_must_be_numbers_as_they_are(tmp_path):
  model = keras.Sequential([keras.layers.Dense(3, input_shape=(4,))])
  path = str(tmp_path / 'model.tflite')
  inputs = np.random.default_rng(0).random((8, 4), np.float32)
  tf_unilth.export_tflite(model, path)
  outputs = file_calls.tflite_function(path)
  for batch in (inputs[:5], inputs[5:]):
    np.testing.assert_allclose(outputs(batch), model(batch), rtol=1e-5)
  tf_unilth.export_tflite(
    *(model, path, 'int8'),
    representative_data=inputs,
    inference_input_type='int8',
    overwrite=True,
  )
  with pytest.raises(ValueError, match='takes int8, but must take float32'):
    file_calls.tflite_function(path)


@pytest.mark.parametrize(
  ('networks', 'word'),
  [
    ([('dense', 0.0, 0), ('unilth', 0.9, 3)], 'no dense network of seed 3'),
    ([('unilth', 0.9, 3)] * 2, 'have unilth at 90%, seed 3, twice'),
    ([('dense', 0.0, 3)] * 2, 'have dense at 0%, seed 3, twice'),
  ],
)
def test_networks_that_cannot_be_compared_are_an_error(
  networks, word, tmp_path
):
  found = [
    accuracy_latency.Network(method, '', 'weights', target, seed, 0.5, tmp_path)
    for method, target, seed in networks
  ]
  with pytest.raises(ValueError, match=word):
    accuracy_latency.measure(tiny_recipe.RECIPE, tiny_recipe.config(), found)

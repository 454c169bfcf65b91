"""Recipes: each method runs, writes what the report needs, and ends well."""

import csv
import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras
from absl import flags
from absl.testing import flagsaver

from recipes import digits_cnn, model_zoo
from recipes.common import figures
from recipes.training import methods, plots, report
from tests.testing import tiny_recipe

pytestmark = pytest.mark.long

_RESULTS = {
  'method',
  'dataset',
  'model',
  'seed',
  'target_sparsity',
  'sparsity',
  'nonzero_weights',
  'total_weights',
  'test_accuracy',
  'dense_parameters_bytes',
  'export_bytes',
  'epochs',
  'steps',
  'seconds',
  'rounds',
  'plateau_epoch',
  'rewound_to_epoch',
  'versions',
}


@pytest.fixture(autouse=True, scope='module')
def parsed_flags():
  flags.FLAGS(['test'])


@pytest.fixture(autouse=True)
def no_plots(monkeypatch):
  monkeypatch.setattr(figures, 'available', lambda: False)  # They take time.


def _run(directory, recipe=digits_cnn.RECIPE, **given):
  defaults = {
    'epochs': 4,
    'batch_size': 128,
    'learning_rate': 0.05,
    'verbose': 0,
  }
  return tiny_recipe.run(directory, recipe, **{**defaults, **given})


# Of these a file of their own trains some.
_TESTED_APART = (
  'gmp_global',
  'oneshot_global',
  'cyclic',
  'rigl',
  'hypersparse',
)


@pytest.mark.parametrize(
  'method',
  [
    pytest.param(
      name, marks=[pytest.mark.long] if name in _TESTED_APART else []
    )
    for name in methods.METHODS
  ],
)
def test_each_method_runs_to_its_target(method, tmp_path):
  # Ours have convolutions in the other tests.
  theirs = method == 'random'
  recipe = digits_cnn.RECIPE if theirs else tiny_recipe.RECIPE
  is_small = method == 'small_dense'
  units = {'structure': 'channels', 'of': 'flops'} if is_small else {}
  results = _run(tmp_path, recipe, method=method, target_sparsity=0.9, **units)
  assert results.keys() >= _RESULTS
  written = json.loads((tmp_path / 'results.json').read_text())
  assert written == {**results, 'format_version': 1}
  rows = list(csv.DictReader((tmp_path / 'history.csv').open()))
  assert [row['epoch'] for row in rows] == ['1', '2', '3', '4']
  loaded = tf.saved_model.load(str(tmp_path / 'saved_model'))
  assert loaded.serve(tf.zeros((3, 8, 8, 1))).shape == (3, 10)
  assert results['export_difference'] == 0
  target = 0.0 if method in methods.DENSE else 0.9
  zeros = results['total_weights'] - results['nonzero_weights']
  # tfmot rounds each layer by itself.
  slack = 2 if method in ('gmp', 'oneshot') else 0
  assert abs(zeros - round(target * results['total_weights'])) <= slack
  assert method in report.table(results)
  assert results['shrunk'] is None
  width = 1 if is_small else 16
  assert theirs or results['flops'] == 2 * width * (64 + 10)
  assert f'{results["flops"]:,} for a sample' in report.table(results)


@pytest.mark.parametrize('method', ['gmp', 'oneshot'])
def test_lr_restart_restarts_the_baselines(method, tmp_path):
  losses = []
  for lr_restart in (None, True):
    directory = tmp_path / str(lr_restart)
    _run(
      directory,
      tiny_recipe.RECIPE,
      method=method,
      seed=3,
      lr_restart=lr_restart,
    )
    rows = list(csv.DictReader((directory / 'history.csv').open()))
    losses.append([float(row['loss']) for row in rows])
  plain, restarted = losses
  # Alike until pruning begins, in the first epoch (gmp) or the third.
  same = 0 if method == 'gmp' else 2
  assert plain[:same] == pytest.approx(restarted[:same], rel=1e-3)
  assert abs(plain[-1] - restarted[-1]) > 1e-3 * plain[-1]


@pytest.mark.parametrize('method', ['dlth', 'unilth'])
def test_no_lr_restart_is_one_decay_over_the_run(method, tmp_path):
  _run(
    tmp_path,
    tiny_recipe.RECIPE,
    method=method,
    lr_restart=False,
    rewind_epochs=None if method == 'dlth' else 0,
  )
  rows = list(csv.DictReader((tmp_path / 'history.csv').open()))
  rates = [float(row['learning_rate']) for row in rows]
  # At the last step of each epoch.
  steps = json.loads((tmp_path / 'results.json').read_text())['steps']
  last = np.arange(1, len(rates) + 1) * steps / len(rates) - 1
  cosine = 0.5 * (1 + np.cos(np.pi * last / steps))
  highest = json.loads((tmp_path / 'config.json').read_text())['learning_rate']
  assert rates == pytest.approx(list(highest * cosine), rel=1e-4)


def test_flags_reach_the_library(tmp_path):
  results = _run(
    tmp_path,
    tiny_recipe.RECIPE,
    method='unilth',
    rounds=7,
    patience=1,
    epochs=6,
  )
  assert results['rounds'] == 7


def test_layers_and_structure_are_chosen_by_flags(tmp_path):
  keras.backend.clear_session()  # So that layers have their plain names.
  results = _run(
    tmp_path,
    method='dlth',
    target_sparsity=0.5,
    sparsity_m_by_n=['2', '4'],
    skip=['conv2d', 'dense_1'],
  )
  # Without the first convolution, which has one channel, and the head.
  weights = 3 * 3 * 16 * 32 + 512 * 64
  assert results['total_weights'] == weights
  assert results['nonzero_weights'] == weights // 2


def test_a_binary_with_everything_on_runs_and_leaves(tmp_path):
  finished = subprocess.run(
    [
      sys.executable,
      '-m',
      'recipes.digits_cnn',
      '--epochs=3',
      '--batch_size=256',
      '--export=saved_model,tflite,ticket',
      '--tensorboard',
      f'--output_dir={tmp_path}',
    ],
    capture_output=True,
    text=True,
    check=False,
    cwd=pathlib.Path(__file__).parents[2],
  )
  assert finished.returncode == 0, finished.stderr
  assert 'sparsity             90.000% (3,816 of 38,160' in finished.stdout
  assert 'epoch 3/3' in finished.stdout and 'accuracy' in finished.stdout
  assert '<Ticket unilth' in finished.stdout
  left = {path.name for path in tmp_path.iterdir()}
  assert left >= {'saved_model', 'model.tflite', 'ticket', 'tensorboard'}
  assert left >= {'report.md', *plots.FILES}


def test_the_default_run_rewinds_and_ends_exactly(tmp_path):
  results = _run(
    tmp_path,
    epochs=digits_cnn.RECIPE.epochs,
    batch_size=digits_cnn.RECIPE.batch_size,
    learning_rate=digits_cnn.RECIPE.learning_rate,
  )
  assert isinstance(results['plateau_epoch'], int)
  assert isinstance(results['rewound_to_epoch'], int)
  assert results['rewound_to_epoch'] < results['plateau_epoch']
  zeros = results['total_weights'] - results['nonzero_weights']
  assert zeros == round(0.9 * results['total_weights'])
  assert results['test_accuracy'] > 0.95


@pytest.mark.parametrize('name', ['preprocessing', 'Transformer', 'subclassed'])
def test_models_of_every_kind_are_pruned_exactly(name):
  row = model_zoo.try_model(name)
  assert row['exact']
  assert row['stripped_difference'] == row['reloaded_difference'] == 0
  assert row['exported_difference'] < 1e-5


def test_the_table_of_models_goes_on_where_it_stopped(tmp_path, capsys):
  output = tmp_path / 'models.csv'
  arguments = {'models': ['custom_layer'], 'csv': str(output)}
  with flagsaver.flagsaver(**arguments):
    model_zoo.main([])
    first, time = output.read_text(), output.stat().st_mtime_ns
    model_zoo.main([])
  assert output.read_text() == first and output.stat().st_mtime_ns == time
  one, other = [
    line
    for line in capsys.readouterr().out.splitlines()
    if line.startswith('| custom_layer')
  ]
  assert one == other and '| yes | 0 |' in one


def test_a_table_of_models_of_before_gets_the_new_columns(tmp_path):
  model_zoo._write(tmp_path / 'models.csv', [{'model': 'LSTM'}])
  with (tmp_path / 'models.csv').open(newline='') as file:
    (row,) = csv.DictReader(file)
  assert row['model'] == 'LSTM' and row['versions'] == ''

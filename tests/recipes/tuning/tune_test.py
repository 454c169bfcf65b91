"""recipes.tune: a search from its flags to its report."""

import csv
import json
import os
import pathlib
import re
import subprocess
import sys

import pytest
import tensorflow as tf
from absl import flags
from absl.testing import flagsaver

from recipes import tune
from tests.testing import tiny_recipe

pytestmark = pytest.mark.long

_QUICK = {
  'method': 'dlth',
  'epochs': 3,
  'max_trials': 2,
  'tuner': 'random',
  'target_sparsity': 0.8,
  'verbose': 0,
}


def _run(directory, **given):
  if not flags.FLAGS.is_parsed():
    flags.FLAGS(['test'])
  recipe, given = tiny_recipe.RECIPE, {'output_dir': str(directory), **given}
  with flagsaver.flagsaver(**{**_QUICK, **given}):
    return tune.run(recipe, *tune.read_flags(recipe))


def _main(*arguments):
  if not flags.FLAGS.is_parsed():
    flags.FLAGS(['test'])
  with flagsaver.flagsaver():
    return tiny_recipe.error_of(lambda: tune.main(['tune', *arguments]))


@pytest.fixture(scope='module')
def searched(tmp_path_factory):
  """Returns the directory and the summary of a finished search."""
  directory = tmp_path_factory.mktemp('tune') / 'runs'
  return directory, _run(directory, tensorboard=True)


def test_a_search_writes_its_report(searched):
  directory, summary = searched
  rows = list(csv.DictReader((directory / 'trials.csv').open()))
  assert [row['trial'] for row in rows] == ['0', '1']
  assert {row['status'] for row in rows} == {'completed'}
  sparsities = [float(row['sparsity']) for row in rows]
  assert sparsities == pytest.approx([0.8] * 2, abs=1e-3)
  best = max(rows, key=lambda row: float(row['accuracy']))
  assert best['on_front'] == 'True'
  lines = summary.splitlines()
  assert lines[1].startswith(best['trial'])
  assert re.search(r'best: trial \d, test accuracy \d', summary)
  assert 'defaults: trial 0, test accuracy' in summary
  assert 'none: the defaults' in summary
  results = json.loads((directory / 'results.json').read_text())
  assert results['best']['trial'] == best['trial']
  assert results['best']['validation_accuracy'] == float(best['accuracy'])
  for name in ('best', 'defaults'):
    share = results[name]['test_accuracy']
    assert f'{name}: trial {results[name]["trial"]}, ' in summary
    assert f'test accuracy {share:.2%}' in summary
  assert results['versions']['tf_unilth']
  assert summary in (directory / 'report.md').read_text()
  assert (directory / 'front.png').read_bytes()[:4] == b'\x89PNG'


def test_the_best_is_exported(searched):
  loaded = tf.saved_model.load(str(searched[0] / 'saved_model'))
  assert loaded.serve(tf.zeros((3, 8, 8, 1))).shape == (3, 10)


def test_tensorboard_shows_hyperparameters_and_results(searched):
  found = b''.join(
    path.read_bytes()
    for path in (searched[0] / 'tensorboard').glob('*/events*')
  )
  for name in (b'learning_rate', b'finetune_fraction', b'accuracy'):
    assert name in found


def test_the_same_command_again_trains_nothing(searched):
  directory, summary = searched
  search = directory / 'search' / 'trial_0' / 'trial.json'
  before = search.stat().st_mtime_ns
  assert _run(directory) == summary
  assert search.stat().st_mtime_ns == before


def test_other_flags_are_refused_in_its_directory(searched):
  with pytest.raises(ValueError, match=r'config.batch_size was 256 and is now'):
    _run(searched[0], batch_size=128)


def test_what_a_flag_says_is_not_searched(tmp_path):
  given = {'learning_rate': 0.2, 'finetune_fraction': 0.5, 'max_trials': 2}
  _run(tmp_path / 'runs', **given)
  rows = list(csv.DictReader((tmp_path / 'runs' / 'trials.csv').open()))
  assert not {'learning_rate', 'finetune_fraction'} & rows[0].keys()
  assert {'limit', 'power'} <= rows[0].keys()


def test_the_sparsest_within_a_loss_of_the_dense(tmp_path):
  given = {'objective': 'sparsest', 'max_loss': 0.5, 'max_trials': 2}
  given |= {'sparsity_range': ['0.5', '0.9']}
  _run(tmp_path / 'runs', **given)
  dense = tmp_path / 'runs' / 'dense.json'
  before = dense.stat().st_mtime_ns
  _run(tmp_path / 'runs', **given)
  assert dense.stat().st_mtime_ns == before
  rows = list(csv.DictReader((tmp_path / 'runs' / 'trials.csv').open()))
  assert len({row['target_sparsity'] for row in rows}) == 2


@pytest.mark.parametrize(
  'arguments, match',
  [
    (['--method=gmp'], '--method must be one of .* but is gmp'),
    (
      ['--objective=front'],
      'flags objective=front, sparsity_range=None: .*front need --sparsity_ran',
    ),
    (
      ['--sparsity_range=0.5,0.9'],
      'flags objective=accuracy, .*with accuracy, the least sparse ticket',
    ),
    (
      ['--objective=front', '--sparsity_range=0.9'],
      r"flag --sparsity_range=\['0.9'\]: must be LOWEST,HIGHEST",
    ),
    (
      ['--objective=front', '--sparsity_range=0.9,0.5'],
      'target_sparsity must be in',
    ),
    (['--strategy=mirrored'], '--strategy is not read'),
    (['--nolr_restart'], '--lr_restart is not read'),
    (['--structure=channels'], '--structure is not read'),
    (['--epochs=2'], 'epochs must be a whole number >= 3'),
    (['--patience=-1'], 'flag --patience=-1: -1 is not a non-negative integer'),
    (['bayesian'], "'bayesian' is no flag"),
  ],
)
def test_bad_flags_are_one_line(arguments, match, tmp_path):
  directory = tmp_path / 'runs'
  error = _main(*arguments, f'--output_dir={directory}')
  assert re.match(f'error: {match}', error) and '\n' not in error
  assert not directory.exists()


_PROGRAM = """
import sys
{first}
from tests.testing import tuned
import tf_keras
made = tuned.search(sys.argv[1], max_trials=1)
tuned.run(made)
(best,) = made.get_best_tickets()
assert isinstance(best.model, tf_keras.Model)
print('sparsity', best.ticket.sparsity)
"""


@pytest.mark.parametrize('first, legacy', [('', '1'), ('import keras', None)])
def test_any_keras_may_come_first(first, legacy, tmp_path):
  environment = {n: v for n, v in os.environ.items() if 'KERAS' not in n}
  if legacy:
    environment['TF_USE_LEGACY_KERAS'] = legacy
  finished = subprocess.run(
    [sys.executable, '-c', _PROGRAM.format(first=first), tmp_path / 'search'],
    capture_output=True,
    text=True,
    check=False,
    env=environment,
    cwd=pathlib.Path(__file__).parents[3],
  )
  assert finished.returncode == 0, finished.stderr
  assert 'sparsity 0.5' in finished.stdout

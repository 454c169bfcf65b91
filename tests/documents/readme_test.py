"""README: short, and its programs run as they stand."""

import pathlib
import re
import subprocess
import sys

import keras
import pytest
import tensorflow as tf

import tf_unilth

_ROOT = pathlib.Path(__file__).parents[2]
_README = (_ROOT / 'README.md').read_text()


def _run(number, directory):
  """Runs a program of the README in an empty folder; returns what it prints."""
  program = re.findall(r'```python\n(.*?)```', _README, re.S)[number]
  finished = subprocess.run(
    [sys.executable, '-c', program],
    capture_output=True,
    text=True,
    cwd=directory,
    check=False,
  )
  assert finished.returncode == 0, finished.stderr
  return finished.stdout.splitlines()


def test_it_is_one_page():
  lines = _README.splitlines()
  assert len(lines) <= 150 and len(_README.split()) <= 1500
  assert sum(len(line) > 140 for line in lines) <= 12


def test_the_first_program_stands_early():
  before, program = re.match(
    r'(.*?)```python\n(.*?)```', _README, re.S
  ).groups()
  assert before.count('\n') + program.count('\n') < 25
  assert 'import keras, tf_unilth' in program


@pytest.mark.long
def test_the_program_for_keras_3_runs(tmp_path):
  printed = _run(0, tmp_path)
  (shown,) = re.findall(r'```text\n(.*?)```', _README, re.S)
  # Other processors round otherwise, so a layer's zeros may differ.
  for line in shown.splitlines():
    assert line in printed or line.startswith('dense')
  model = keras.saving.load_model(tmp_path / 'ticket.keras')
  assert 'SGD' in type(model.optimizer).__name__
  summary = tf_unilth.sparsity_summary(model)
  assert summary.zeros == round(0.95 * summary.total_weights)


@pytest.mark.long
def test_the_program_for_tf_keras_runs(tmp_path):
  *_, total, _, _, _, outputs = _run(1, tmp_path)
  assert total.startswith('total') and '95.000%' in total
  assert outputs.startswith('outputs differ by at most 0 ')
  model = tf.saved_model.load(str(tmp_path / 'export'))
  assert model.serve(tf.zeros((3, 64))).shape == (3, 10)


def test_ci_runs_the_command_that_the_readme_gives():
  (command,) = re.findall(r"^pip install '\.\[test\]'.*$", _README, re.M)
  ci = (_ROOT / '.ci' / 'run').read_text()
  bodies = dict(re.findall(r'^(\w+)\(\) {\n(.*?)\n}$', ci, re.M | re.S))
  install, suite = command.split(' && ')
  assert install in bodies['install'].split('\n  ')
  assert suite == bodies['suite'].strip()
  # Both are among the steps that run where none is named.
  steps = re.search(r'steps=\((\w[^)]*)\)', ci)[1].split()
  assert steps[:2] == ['install', 'suite'] and set(steps) == set(bodies)

"""A short form of `tests.stress.torture`: one real SIGKILL, some damage."""

import json
import pathlib
import subprocess
import sys

import keras
import pytest

pytestmark = pytest.mark.long

_ROOT = pathlib.Path(__file__).parents[2]


def test_the_short_form_finds_no_fault():
  command = [
    sys.executable,
    '-m',
    'tests.stress.torture',
    '--kills=1',
    '--rounds=0',
  ]
  done = subprocess.run(command, capture_output=True, text=True, cwd=_ROOT)
  assert done.returncode == 0, done.stdout + done.stderr
  killed = (
    '| recipe: SIGKILL at a random moment | ends bit-identical | 1 of 1 |'
  )
  assert killed in done.stdout
  assert 'the one before it used | 200 of 200 |' in done.stdout


@pytest.mark.keras3
def test_the_short_form_finds_no_fault_with_keras_3(tmp_path):
  output = tmp_path / 'torture.json'
  command = [sys.executable, '-m', 'tests.stress.torture', '--kills=1']
  done = subprocess.run(
    [*command, '--keras=keras', f'--output={output}'],
    capture_output=True,
    text=True,
    cwd=_ROOT,
  )
  assert done.returncode == 0, done.stdout + done.stderr
  killed = 'Keras 3: SIGKILL at a random moment | ends bit-identical | 1 of 1'
  assert killed in done.stdout
  written = json.loads(output.read_text())
  assert written['versions']['backend'] == keras.backend.backend()
  assert written['trials'][0]['well'] == 1

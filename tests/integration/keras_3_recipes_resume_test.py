"""Recipes on Keras 3 that were stopped end bit for bit as those left alone."""

import dataclasses
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import keras
import pytest

from recipes.common import figures
from recipes.training import exports, progress
from tests.testing import tiny_recipe

_BACKEND = keras.backend.backend()
pytestmark = pytest.mark.keras3


class Died(Exception):
  """A run that died."""


def _die(*arguments):
  raise Died


def _terminate():
  os.kill(os.getpid(), signal.SIGTERM)


@pytest.fixture(autouse=True)
def no_plots(monkeypatch):
  monkeypatch.setattr(figures, 'available', lambda: False)  # They take time.


@pytest.fixture(autouse=True)
def compiled_once(tmp_path):
  """On JAX, where compiling takes longest, runs share what is compiled."""
  if _BACKEND != 'jax':
    yield
    return
  import jax

  name, before = (
    'jax_compilation_cache_dir',
    jax.config.jax_compilation_cache_dir,
  )
  jax.config.update(name, str(tmp_path / 'compiled'))
  yield
  jax.config.update(name, before)


def _build(keras, image_shape, classes):
  """Returns the tiny network, with dropout before it."""
  return keras.Sequential(
    [
      keras.layers.Input(image_shape),
      keras.layers.Dropout(0.2),
      *tiny_recipe.build(keras, image_shape, classes).layers,
    ]
  )


_RECIPE = dataclasses.replace(tiny_recipe.RECIPE, build=_build)


def _run(directory, **given):
  keras.utils.clear_session()  # So that layers have their plain names.
  given = {'keras': 'keras', 'export': ['ticket'], **given}
  return tiny_recipe.run(directory, _RECIPE, **given)


def _stop_at(step, do, monkeypatch):
  """Does something at the end of a step, from 1, of the runs that follow."""
  steps = iter(range(1, 1000))

  def at_end(self, batch, logs=None):
    if next(steps) == step:
      do()

  monkeypatch.setattr(progress.Progress, 'on_train_batch_end', at_end)


def _left(directory):
  """Returns what a run has left that must be the same in each."""
  results = json.loads((directory / 'results.json').read_text())
  del results['seconds']
  *_, newest = sorted((directory / 'checkpoints').glob('*.checkpoint'))
  files = newest, directory / 'history.csv', directory / 'ticket'
  return results, *(path.read_bytes() for path in files)


@pytest.mark.long
def test_a_run_that_was_stopped_ends_bit_identical(
  tmp_path, monkeypatch, capsys
):
  whole, stopped = tmp_path / 'whole', tmp_path / 'stopped'
  _run(whole, verbose=2)
  per_epoch = json.loads((whole / 'results.json').read_text())['steps'] // 5
  assert per_epoch > 3 and 'resuming' not in capsys.readouterr().out
  with monkeypatch.context() as patched:
    _stop_at(2, _terminate, patched)
    with pytest.raises(SystemExit, match='143'):
      _run(stopped)
  error = tiny_recipe.main(
    *('--keras=keras', '--export=ticket', '--verbose=0', '--epochs=6'),
    f'--output_dir={stopped}',
    recipe=_RECIPE,
  )
  assert 'another configuration' in error and 'epochs: 5 there' in error
  with monkeypatch.context() as patched:
    _stop_at(2 * per_epoch + 1, _die, patched)
    with pytest.raises(Died):
      _run(stopped, verbose=2)
  assert 'resuming after 0 epochs and 2 steps' in capsys.readouterr().out
  with monkeypatch.context() as patched:
    patched.setattr(exports, 'write', _die)  # Trained, but not finished.
    with pytest.raises(Died):
      _run(stopped, verbose=2)
  assert 'resuming after 2 epochs' in capsys.readouterr().out
  _run(stopped, verbose=2)
  assert 'the run was finished at epoch 5' in capsys.readouterr().out
  assert _left(stopped) == _left(whole)
  _run(stopped)
  assert 'finished before' in capsys.readouterr().out


_PROGRAM = """
import sys
from tests.testing import tiny_recipe
sys.exit(tiny_recipe.main(*sys.argv[1:]))
"""


@pytest.mark.long
@pytest.mark.skipif(_BACKEND == 'torch', reason='the test above does it')
def test_a_process_that_was_killed_ends_bit_identical(tmp_path):
  root, killed = pathlib.Path(__file__).parents[2], tmp_path / 'killed'

  def start(directory):
    return subprocess.Popen(
      [
        *(sys.executable, '-c', _PROGRAM, '--keras=keras', '--epochs=20'),
        *('--batch_size=64', '--export=ticket', '--noplots'),
        *('--verbose=0', f'--output_dir={directory}'),
      ],
      cwd=root,
    )

  with start(killed) as process:
    history = killed / 'history.csv'
    while process.poll() is None and not (
      history.exists() and len(history.read_text().splitlines()) > 2
    ):
      time.sleep(0.01)
    process.kill()
  assert process.returncode == -signal.SIGKILL
  assert not (killed / 'results.json').exists()
  for directory in (killed, tmp_path / 'whole'):
    with start(directory) as process:
      assert process.wait() == 0
  assert _left(killed) == _left(tmp_path / 'whole')

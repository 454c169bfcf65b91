"""--overwrite: what is deleted, and what never is."""

import json
import os

import pytest

from recipes.common import figures
from recipes.training import (
  progress,
)
from tests.testing import tiny_recipe
from tf_unilth.files.directory_lock import DirectoryLock

pytestmark = pytest.mark.long
# Names of layers, which count on in one process, make files differ in size.
_MAY_DIFFER = {'seconds', 'exports', 'export_bytes'}


@pytest.fixture
def no_plots(monkeypatch):
  monkeypatch.setattr(figures, 'available', lambda: False)


def _stop_in_epoch(monkeypatch, number):
  """Lets a run die in an epoch, counted from 1."""

  def die(self, epoch, logs=None):
    if epoch + 1 == number:
      raise KeyboardInterrupt

  monkeypatch.setattr(progress.Progress, 'on_epoch_end', die)


def _files(directory):
  return {
    str(path.relative_to(directory)): path.read_bytes()
    for path in directory.rglob('*')
    if path.is_file()
  }


def test_overwrite_begins_anew_and_leaves_what_no_run_wrote(
  no_plots, monkeypatch, tmp_path
):
  own = {'notes.txt': b'mine', 'saved_model_2/a': b'', 'checkpoints/b': b''}
  everything = {'tensorboard': True, 'export': ['saved_model', 'ticket']}
  tiny_recipe.run(tmp_path / 'run', epochs=3, **everything)
  (tmp_path / 'run' / 'epochs.png').write_text('of the old run')
  for name, content in own.items():
    (tmp_path / 'run' / name).parent.mkdir(exist_ok=True)
    (tmp_path / 'run' / name).write_bytes(content)
  given = {'epochs': 3, 'seed': 1, 'method': 'lth', 'export': []}
  results = tiny_recipe.run(tmp_path / 'run', overwrite=True, **given)
  alone = tiny_recipe.run(tmp_path / 'alone', **given)
  assert {k for k in results if results[k] != alone[k]} <= _MAY_DIFFER
  ours, others = _files(tmp_path / 'run'), _files(tmp_path / 'alone')
  assert {name: ours.pop(name) for name in own} == own
  assert ours.keys() == others.keys()
  assert ours['history.csv'] == others['history.csv']
  # The command in the report begins nothing anew.
  assert b'--overwrite' not in ours['report.md']
  # A run that was stopped: it is not gone on with.
  with monkeypatch.context() as patch:
    _stop_in_epoch(patch, 2)
    with pytest.raises(KeyboardInterrupt):
      tiny_recipe.run(tmp_path / 'run', overwrite=True, **given)
  noted = []
  monkeypatch.setattr(
    progress.Progress,
    'on_epoch_begin',
    lambda self, epoch, logs=None: noted.append(epoch),
  )
  tiny_recipe.run(tmp_path / 'run', overwrite=True, **given)
  assert noted == [0, 1, 2]


@pytest.mark.parametrize(
  ('name', 'content', 'words'),
  [
    ('thesis.txt', 'years', "holds no run of a recipe, but 'thesis.txt'"),
    ('config.json', '{"lr": 1}', "holds no run of a recipe, but 'config.json'"),
    ('saved_model/saved_model.pb', 'model', "but 'saved_model': --overwrite"),
    ('checkpoints/model.ckpt', 'weights', "but 'checkpoints': --overwrite"),
  ],
)
def test_overwrite_deletes_nothing_of_others(name, content, words, tmp_path):
  path = tmp_path / name
  path.parent.mkdir(exist_ok=True)
  path.write_text(content)
  said = tiny_recipe.main('--overwrite', f'--output_dir={tmp_path}')
  assert said.startswith('error: output_dir=') and words in said
  assert '\n' not in said
  assert _files(tmp_path) == {name: content.encode()}


def test_overwrite_leaves_a_run_that_is_going_on(no_plots, tmp_path):
  given = ['--method=dense', '--epochs=1', f'--output_dir={tmp_path}']
  assert tiny_recipe.main(*given) is None
  before = _files(tmp_path)
  lock = DirectoryLock(tmp_path / 'checkpoints')
  lock.acquire()
  said = tiny_recipe.main('--overwrite', *given)
  lock.release()
  assert f'{os.getpid()}' in said and 'in use' in said
  before.pop('checkpoints/lock')
  assert before.items() <= _files(tmp_path).items()


def test_overwrite_is_not_for_several_machines(monkeypatch, tmp_path):
  cluster = {'worker': ['localhost:1', 'localhost:2']}
  config = {'cluster': cluster, 'task': {'type': 'worker', 'index': 0}}
  monkeypatch.setenv('TF_CONFIG', json.dumps(config))
  given = '--strategy=multi_worker', '--overwrite', f'--output_dir={tmp_path}'
  said = tiny_recipe.error_of(lambda: tiny_recipe.main(*given))
  assert said.startswith('error: flags overwrite=True, strategy=multi_worker: ')
  assert '--overwrite must be off with --strategy=multi_worker' in said

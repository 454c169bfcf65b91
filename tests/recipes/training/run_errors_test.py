"""What a run prints, and its errors in one line."""

import dataclasses
import errno
import json
import os
import pathlib
import re
import shutil
import signal

import numpy as np
import pytest
import tensorflow as tf

from recipes.common import figures, files
from recipes.training import (
  devices,
  epoch_plot,
  progress,
  report,
  run_directory,
)
from tests.testing import tiny_recipe
from tf_unilth.files.directory_lock import DirectoryLock
from tf_unilth.wording import count

pytestmark = pytest.mark.long
# A run with a plateau, a rewind and rounds.
_EVENTFUL = {
  'epochs': 7,
  'batch_size': 64,
  'patience': 1,
  'min_delta': 10.0,
  'rewind_epochs': 1,
}


@pytest.fixture
def no_plots(monkeypatch):
  monkeypatch.setattr(figures, 'available', lambda: False)


@pytest.mark.parametrize('method', ['random', 'lr_rewind', 'unidlth'])
def test_a_method_prints_its_own_name(method, no_plots, tmp_path, capsys):
  tiny_recipe.run(
    tmp_path, method=method, epochs=3, verbose=2, export=[], batch_size=64
  )
  said = capsys.readouterr().out
  speakers = set(re.findall(r'^(\w+): ', said, re.M))
  name = 'UniDLTH' if method == 'unidlth' else method
  # The recipe speaks too, and the note that there will be no plots.
  assert speakers == {name, 'digits', 'note'}
  assert not re.search(r'\de[+-]\d', said)
  threads = tf.config.threading.get_intra_op_parallelism_threads()
  cores = min(threads or devices.cpus(), devices.cpus())
  assert f'on {count(cores, "CPU")}' in report.table(
    json.loads((tmp_path / 'results.json').read_text())
  )


def test_no_plateau_by_a_flag(no_plots, tmp_path):
  given = {**_EVENTFUL, 'patience': 0, 'export': []}
  results = tiny_recipe.run(tmp_path, **given)
  assert results['plateau_epoch'] is None and results['rounds']


@pytest.mark.parametrize(
  ('lowest', 'labels'),
  [
    (0.3, ['0.3', '0.5', '0.7', '1', '1.5', '2']),
    (0.002, ['0.01', '0.1', '1']),
    (2e-5, ['0.0001', '0.001', '0.01', '0.1', '1']),
  ],
)
def test_the_axis_of_the_loss_has_labels_as_close_as_there_is_room(
  lowest, labels
):
  from matplotlib import pyplot as plt

  loss = np.geomspace(2.3, lowest, 20)
  history = {n: loss for n in ('loss', 'val_loss')}
  history |= {n: np.ones(20) for n in ('accuracy', 'val_accuracy')}
  results = {'plateau_epoch': None, 'rewound_to_epoch': None}
  figure = epoch_plot.epochs_figure(plt, 'title', history, results)
  figure.canvas.draw()
  axis = figure.axes[0]
  low, high = axis.get_ylim()
  shown = [
    label.get_text()
    for label in (*axis.get_yticklabels(), *axis.get_yticklabels(minor=True))
    if low <= label.get_position()[1] <= high and label.get_text()
  ]
  plt.close(figure)
  assert shown == labels


def test_a_directory_that_cannot_be_written(tmp_path):
  (tmp_path / 'file').touch()
  said = tiny_recipe.main(f'--output_dir={tmp_path}/file/run')
  assert said.startswith('error: output_dir') and '\n' not in said
  assert 'is not a folder' in said


@pytest.fixture(scope='module')
def finished(tmp_path_factory):
  """The directory of a run of one epoch."""
  directory = tmp_path_factory.mktemp('finished') / 'run'
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(figures, 'available', lambda: False)
    tiny_recipe.run(directory, method='dense', epochs=1)
  return directory


@pytest.mark.parametrize(
  ('name', 'content'),
  [
    ('config.json', '{"method": '),
    ('config.json', '[1]'),
    ('results.json', '{"method": '),
    ('history.csv', ''),
    ('history.csv', 'epoch,loss\n1,low\n'),
    ('history.csv', 'epoch,loss\n'),
    ('progress.json', '{}'),
  ],
)
def test_damaged_files_are_named(name, content, finished, tmp_path):
  directory = tmp_path / 'run'
  shutil.copytree(finished, directory)
  if name in ('history.csv', 'progress.json'):
    (directory / 'results.json').unlink()
  (directory / name).write_text(content)
  said = tiny_recipe.main(
    '--method=dense', '--epochs=1', f'--output_dir={directory}'
  )
  assert f'{name}' in said and 'is damaged' in said and '\n' not in said


@pytest.mark.parametrize('name', ['config.json', 'history.csv', 'report.md'])
def test_a_full_disk_is_one_line_and_the_run_goes_on(
  name, no_plots, monkeypatch, tmp_path
):
  write = pathlib.Path.write_text

  def full(self, text, *arguments, **keywords):
    late = name != 'history.csv' or text.count('\n') > 2
    if self.name.startswith(name) and late:
      write(self, text[:9])
      raise OSError(errno.ENOSPC, 'No space left on device', str(self))
    return write(self, text, *arguments, **keywords)

  flags = ['--epochs=3', '--verbose=0', f'--output_dir={tmp_path}/run']
  with monkeypatch.context() as patch:
    patch.setattr(pathlib.Path, 'write_text', full)
    said = tiny_recipe.main(*flags)
  assert 'No space left on device' in said and '\n' not in said
  assert not list(tmp_path.rglob('*.tmp'))
  assert tiny_recipe.main(*flags) is None
  history = run_directory.read_history(tmp_path / 'run' / 'history.csv')
  assert len(history['loss']) == 3


def test_a_signal_saves_and_the_same_command_goes_on(
  no_plots, monkeypatch, tmp_path, capsys
):
  def terminate(self, epoch, logs=None):
    if epoch == 1:
      os.kill(os.getpid(), signal.SIGTERM)

  flags = ['--epochs=4', '--verbose=0', f'--output_dir={tmp_path}']
  with monkeypatch.context() as patch:
    patch.setattr(progress.Progress, 'on_epoch_end', terminate)
    with pytest.raises(SystemExit) as left:
      tiny_recipe.main(*flags)
  assert left.value.code == 128 + signal.SIGTERM
  assert 'stopped; the same command resumes the run' in capsys.readouterr().out
  history = run_directory.read_history(tmp_path / 'history.csv')
  assert len(history['loss']) == 2
  assert tiny_recipe.main(*flags) is None


def test_damaged_checkpoints_and_other_data_are_one_line(
  no_plots, monkeypatch, tmp_path
):
  flags = ['--epochs=3', '--verbose=0', f'--output_dir={tmp_path}']
  assert tiny_recipe.main(*flags) is None
  (tmp_path / 'results.json').unlink()
  other = dataclasses.replace(
    tiny_recipe.RECIPE,
    load=lambda request: dataclasses.replace(
      tiny_recipe.RECIPE.load(request), name='other'
    ),
  )
  said = tiny_recipe.main(*flags, recipe=other)
  assert said.startswith('error: ') and "'digits'" in said and '\n' not in said
  for path in tmp_path.glob('checkpoints/*.checkpoint'):
    path.write_bytes(path.read_bytes()[:-1])
  said = tiny_recipe.main(*flags)
  assert said.startswith('error: ') and '\n' not in said


def test_two_runs_cannot_write_one_directory(no_plots, tmp_path):
  lock = DirectoryLock(tmp_path / 'checkpoints')
  (tmp_path / 'checkpoints').mkdir()
  lock.acquire()
  said = tiny_recipe.main('--epochs=3', f'--output_dir={tmp_path}')
  lock.release()
  assert said.startswith('error: ') and f'{os.getpid()}' in said
  assert '\n' not in said


def test_a_run_that_its_budget_refuses_can_be_started_with_other_flags(
  no_plots, tmp_path
):
  with pytest.raises(ValueError, match='rounds=3 do not fit into 3 epochs'):
    tiny_recipe.run(tmp_path, epochs=3, rounds=3, batch_size=2000)
  assert not (tmp_path / 'config.json').exists()
  given = {'epochs': 3, 'rounds': 1, 'batch_size': 64, 'export': []}
  assert tiny_recipe.run(tmp_path, **given)['rounds'] == 1


def test_a_file_in_the_way_is_named_before_data_are_read(tmp_path):
  (tmp_path / 'file').write_text('words')
  recipe = dataclasses.replace(tiny_recipe.RECIPE, load=None)
  with pytest.raises(
    NotADirectoryError, match=r'output_dir .* is not a folder'
  ):
    tiny_recipe.run(tmp_path / 'file' / 'run', recipe)


def test_a_full_disk_is_told_with_the_file(tmp_path, monkeypatch):
  def full(self, text):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

  monkeypatch.setattr(pathlib.Path, 'write_text', full)
  with pytest.raises(OSError, match=r'No space left on device: .*a\.csv'):
    files.write_text(tmp_path / 'a.csv', 'words')
  assert not list(tmp_path.iterdir())

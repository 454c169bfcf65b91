"""The run directory: what a run writes, how it goes on, what it refuses."""

import csv
import dataclasses
import errno
import json
import os
import pathlib
import re
import signal

import numpy as np
import pytest
import tensorflow as tf
from matplotlib import image

import tf_unilth
from recipes.common import figures, files
from recipes.training import (
  distribution,
  epoch_plot,
  plots,
  progress,
  report,
  run_directory,
)
from tests import tiny_recipe
from tf_unilth.files.directory_lock import DirectoryLock
from tf_unilth.resume.checkpoint_store import CheckpointDirectory
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

# Names of layers, which count on in one process, make files differ in size.
_MAY_DIFFER = {'seconds', 'exports', 'export_bytes'}


@pytest.fixture(scope='module')
def finished(tmp_path_factory):
  """Returns the directory and the results of a run with everything."""
  directory = tmp_path_factory.mktemp('finished') / 'run'
  results = tiny_recipe.run(
    directory,
    tensorboard=True,
    export=['saved_model', 'tflite', 'ticket'],
    **_EVENTFUL,
  )
  return directory, results


@pytest.fixture
def no_plots(monkeypatch):
  monkeypatch.setattr(figures, 'available', lambda: False)


def _stop_in_epoch(monkeypatch, number):
  """Lets a run die in an epoch, counted from 1."""

  def die(self, epoch, logs=None):
    if epoch + 1 == number:
      raise KeyboardInterrupt

  monkeypatch.setattr(progress.Progress, 'on_epoch_end', die)


def test_what_a_run_leaves(finished):
  directory, results = finished
  assert json.loads((directory / 'results.json').read_text()) == results
  assert results['plateau_epoch'] == 2 and results['rewound_to_epoch'] == 1
  left = {path.name for path in directory.iterdir()}
  assert left == {
    'checkpoints',
    'config.json',
    'epochs.png',
    'history.csv',
    'layers.png',
    'model.tflite',
    'progress.json',
    'report.md',
    'results.json',
    'saved_model',
    'tensorboard',
    'ticket',
    'weights.png',
  }
  rows = list(csv.DictReader((directory / 'history.csv').open()))
  assert [row['epoch'] for row in rows] == list('1234567')
  zeros = results['total_weights'] - results['nonzero_weights']
  assert zeros == round(0.9 * results['total_weights'])
  assert float(rows[-1]['sparsity']) == results['sparsity']
  assert 0 < float(rows[0]['learning_rate']) < 0.1
  assert list(directory.glob('tensorboard/train/events*'))


def test_the_exports_are_the_same_ticket(finished):
  directory, results = finished
  ticket = tf_unilth.Ticket.load(directory / 'ticket')
  zeros = results['total_weights'] - results['nonzero_weights']
  assert ticket.zeros == zeros and ticket.method == 'unilth'
  assert ticket.rewind_weights is not None
  inputs = np.random.default_rng(0).random((3, 8, 8, 1)).astype(np.float32)
  loaded = tf.saved_model.load(str(directory / 'saved_model'))
  saved = loaded.serve(inputs)
  runner = tf.lite.Interpreter(
    str(directory / 'model.tflite')
  ).get_signature_runner()
  (lite,) = runner(**{next(iter(runner.get_input_details())): inputs}).values()
  np.testing.assert_allclose(saved, lite, atol=1e-4)


def test_the_report_shows_the_run(finished):
  directory, results = finished
  text = (directory / 'report.md').read_text()
  assert 'python -m recipes.tiny_recipe --target' not in text  # A default.
  assert '--epochs=7' in text and '--patience=1' in text
  assert f'| test accuracy | {100 * results["test_accuracy"]:.2f}% |' in text
  assert 'plateau at epoch 2, rewound to the end of epoch 1' in text
  for name in plots.FILES:
    assert f'({name})' in text


@pytest.mark.parametrize('name', plots.FILES)
def test_plots_show_something(name, finished):
  directory, _ = finished
  pixels = image.imread(directory / name)[..., :3]
  height, width, _ = pixels.shape
  assert width == 960 and height > 200
  # Lines and bars in their colours, not axes alone.
  red, green, blue = np.moveaxis(pixels, -1, 0)
  coloured = pixels.max(-1) - pixels.min(-1) > 0.5
  assert coloured.mean() > 0.003
  assert (coloured & (blue > red)).any()
  if name != 'layers.png':
    assert (coloured & (red > green) & (green > blue)).any()


def test_plots_mark_plateau_rewind_rounds_and_stages(finished):
  directory, results = finished
  from matplotlib import pyplot as plt

  history = run_directory.read_history(directory / 'history.csv')
  figure = epoch_plot.epochs_figure(plt, 'title', history, results)
  loss, accuracy, sparsity = figure.axes
  texts = [text.get_text() for text in loss.texts]
  assert '  rewound to epoch 1' in texts
  assert {'dense', 'rounds', 'finetuning'} <= set(texts)
  assert loss.lines[0].get_label() == 'training'
  lines = {line.get_label(): line for line in loss.lines}
  assert list(lines['plateau'].get_xdata()) == [2, 2]
  rounds = np.flatnonzero(np.diff([0, *history['round']])) + 1
  assert len(rounds) and list(lines['a round ended'].get_xdata()) == [*rounds]
  np.testing.assert_array_equal(
    lines['validation'].get_ydata(), history['val_loss']
  )
  assert accuracy.get_ylabel() == 'accuracy, %'
  assert sparsity.lines[0].get_ydata()[-1] == pytest.approx(90.03, abs=0.01)
  plt.close(figure)


def test_without_matplotlib_it_says_so(no_plots, tmp_path, capsys):
  tiny_recipe.run(tmp_path, method='dense', epochs=1)
  assert 'they need matplotlib' in capsys.readouterr().out
  assert not list(tmp_path.glob('*.png'))
  assert 'png' not in (tmp_path / 'report.md').read_text()


@pytest.mark.parametrize('epoch', [2, 5])
def test_a_stopped_run_ends_as_if_left_alone(
  epoch, finished, no_plots, monkeypatch, tmp_path
):
  whole, results = finished
  with monkeypatch.context() as patch:
    _stop_in_epoch(patch, epoch)
    with pytest.raises(KeyboardInterrupt):
      tiny_recipe.run(tmp_path, **_EVENTFUL)
  assert not (tmp_path / 'results.json').exists()
  again = tiny_recipe.run(tmp_path, **_EVENTFUL)
  for name in ('history.csv', 'config.json'):
    assert (tmp_path / name).read_text() == (whole / name).read_text()
  one, two = (
    CheckpointDirectory(path / 'checkpoints', 2).newest().variables
    for path in (whole, tmp_path)
  )
  assert one.keys() == two.keys()
  for name, value in one.items():
    np.testing.assert_array_equal(value, two[name], name)
  differing = {k for k in results if results[k] != again[k]}
  assert differing <= _MAY_DIFFER
  # What was taken before the run was stopped is in its plots.
  noted = [
    run_directory.read_json(path / 'progress.json')['histograms']
    for path in (whole, tmp_path)
  ]
  assert noted[0] == noted[1] and 'before pruning' in noted[0]


def test_a_run_without_its_end_is_ended_without_training(
  no_plots, monkeypatch, tmp_path
):
  results = tiny_recipe.run(tmp_path, epochs=3)
  (tmp_path / 'results.json').unlink()
  _stop_in_epoch(monkeypatch, 3)
  again = tiny_recipe.run(tmp_path, epochs=3)
  differing = {k for k in results if results[k] != again[k]}
  assert differing <= _MAY_DIFFER


def test_a_finished_run_is_shown_and_another_refused(
  finished, capsys, tmp_path
):
  directory, _ = finished
  flags = [f'--{name}={value}' for name, value in _EVENTFUL.items()]
  place = f'--output_dir={directory}'
  before = {p: p.stat().st_mtime_ns for p in directory.rglob('*')}
  # What changes no number may change.
  harmless = ['--verbose=1', '--debug', f'--data_dir={tmp_path}']
  assert tiny_recipe.main(*flags, place, *harmless) is None
  said = capsys.readouterr().out
  assert 'finished before' in said and ' 90.034% (' in said
  other = tiny_recipe.main(*flags, place, '--seed=1', '--clipnorm=2')
  assert other.startswith('error: ')
  assert 'another configuration:\n  clipnorm: None there, 2.0 now' in other
  assert '\n  seed: 0 there, 1 now' in other and 'batch_size' not in other
  assert before == {p: p.stat().st_mtime_ns for p in directory.rglob('*')}


def test_a_finished_run_asked_for_more_epochs_is_refused_with_the_reason(
  finished,
):
  directory, _ = finished
  flags = {**_EVENTFUL, 'epochs': 9, 'output_dir': directory}
  said = tiny_recipe.main(*(f'--{n}={value}' for n, value in flags.items()))
  assert 'holds a finished run of 7 epochs of another configuration' in said
  assert '\n  epochs: 7 there, 9 now\n' in said and 'seed' not in said
  assert 'is not trained further' in said and '--overwrite to delete' in said


# Beginning anew.


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


# What it prints.


@pytest.mark.parametrize('method', ['random', 'lr_rewind', 'unidlth'])
def test_a_method_prints_its_own_name(method, no_plots, tmp_path, capsys):
  tiny_recipe.run(
    tmp_path, method=method, epochs=3, verbose=2, export=[], batch_size=64
  )
  said = capsys.readouterr().out
  speakers = {
    match for match in re.findall(r'^(\w+): ', said, re.M) if match != 'digits'
  }
  assert speakers == {'UniDLTH' if method == 'unidlth' else method}
  assert not re.search(r'\de[+-]\d', said)
  assert f'on {count(distribution.cpus(), "CPU")}' in report.table(
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
def test_damaged_files_are_named(name, content, tmp_path, no_plots):
  tiny_recipe.run(tmp_path, method='dense', epochs=1)
  if name in ('history.csv', 'progress.json'):
    (tmp_path / 'results.json').unlink()
  (tmp_path / name).write_text(content)
  said = tiny_recipe.main(
    '--method=dense', '--epochs=1', f'--output_dir={tmp_path}'
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

"""The run directory: what a run writes, and how it goes on."""

import csv
import json

import numpy as np
import pytest
import tensorflow as tf
from matplotlib import image

import tf_unilth
from recipes.common import figures
from recipes.training import (
  epoch_plot,
  plots,
  progress,
  run_directory,
)
from tests.testing import tiny_recipe
from tf_unilth.resume.checkpoint_store import CheckpointDirectory

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
  written = json.loads((directory / 'results.json').read_text())
  assert written == {**results, 'format_version': 1}
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
  assert '`--data_dir` and `--output_dir`, are left out' in text
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
  tiny_recipe.run(tmp_path, method='dense', epochs=1)
  assert 'note' not in capsys.readouterr().out


def test_a_run_that_finished_without_plots_says_how_to_draw_them(
  no_plots, monkeypatch, tmp_path, capsys
):
  tiny_recipe.run(tmp_path, method='dense', epochs=1)
  capsys.readouterr()
  monkeypatch.setattr(figures, 'available', lambda: True)
  tiny_recipe.run(tmp_path, method='dense', epochs=1)
  said = capsys.readouterr().out
  assert 'finished before' in said and '--overwrite trains again' in said
  tiny_recipe.run(tmp_path, method='dense', epochs=1, overwrite=True)
  assert list(tmp_path.glob('*.png'))
  capsys.readouterr()
  tiny_recipe.run(tmp_path, method='dense', epochs=1)
  assert 'finished before' in (said := capsys.readouterr().out)
  assert 'no plots' not in said


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

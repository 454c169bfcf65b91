"""Files that earlier versions have written: loaded, they go on."""

import json
import pathlib
import shutil
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

import tf_unilth
from recipes.training import history_writer, run_directory
from tests.testing import older_files, toys
from tf_unilth import inspection

_FOLDERS = sorted((pathlib.Path(__file__).parents[1] / 'fixtures').iterdir())
_MODELS = [case for case in older_files.CASES if 'saved_model' not in case]
# Of whose algorithm or format there is another.
_LONG = ('unilth-6.h5', 'lth-6.keras')


@pytest.fixture(
  params=[
    pytest.param(f, id=f.name, marks=[pytest.mark.long] if number else [])
    for number, f in enumerate(_FOLDERS)
  ]
)
def folder(request):
  return request.param


def _noted(path, what):
  with np.load(path.with_name(f'{path.name}.npz')) as file:
    names = [name for name in file.files if name.startswith(f'{what}_')]
    names.sort(key=lambda name: int(name.rpartition('_')[2]))
    return [file[name] for name in names]


@pytest.mark.parametrize(
  'case',
  [
    pytest.param(c, marks=[pytest.mark.long] if c in _LONG else [])
    for c in _MODELS
  ],
)
def test_a_model_file_is_loaded_exactly_and_goes_on(case, folder):
  make, _, epochs = older_files.CASES[case]
  model = keras.models.load_model(folder / case)
  saved = _noted(folder / case, 'saved')
  for before, now in zip(saved, older_files.state(model), strict=True):
    np.testing.assert_array_equal(before, now)
  callback = make()
  older_files.train(model, callback, initial_epoch=epochs)
  assert callback.rounds == 5 and callback.reached_target
  ended = _noted(folder / case, 'ended')
  for before, now in zip(ended, older_files.state(model), strict=True):
    np.testing.assert_allclose(before, now, rtol=1e-4, atol=1e-6)


@pytest.mark.long
def test_loading_needs_no_name_of_ours():
  # import_order_test.py loads one after other orders of import.
  path = _FOLDERS[0] / 'unilth-3.keras'
  program = (
    'import tf_keras, tf_unilth\n'
    f'model = tf_keras.models.load_model({str(path)!r})\n'
    'print(sum("Prune" in type(layer).__name__ for layer in model.layers))'
  )
  ran = subprocess.run(
    [sys.executable, '-c', program], capture_output=True, text=True
  )
  assert ran.stdout.split()[-1:] == ['3'], ran.stderr


def test_public_names_are_listed_alone():
  assert dir(tf_unilth) == sorted(tf_unilth.__all__)
  for name in tf_unilth.__all__:
    assert getattr(tf_unilth, name).__name__ == name
  with pytest.raises(AttributeError, match="no attribute 'masks'"):
    tf_unilth.masks  # noqa: B018


def test_a_saved_model_is_loaded_with_its_weights_and_masks(folder):
  path = folder / 'unilth-6.saved_model'
  model = keras.models.load_model(path)
  saved = _noted(path, 'saved')
  masks = toys.masks(model)
  # It has no optimizer state.
  weights = toys.training_state(model)[: -len(model.optimizer.variables())]
  for before, now in zip(saved, weights, strict=False):
    np.testing.assert_array_equal(before, now)
  for before, now in zip(saved[-len(masks) :], masks, strict=True):
    np.testing.assert_array_equal(before, now)
  pruned = toys.zeros(masks)
  stripped = tf_unilth.strip_pruning(model)
  assert tf_unilth.sparsity_summary(stripped).zeros == pruned > 0


def test_checkpoints_go_on_or_are_refused_with_their_version(folder, tmp_path):
  path = tmp_path / 'checkpoints'
  shutil.copytree(folder / 'checkpoints', path)
  model = older_files.wrapped(older_files.CASES['unilth-3.keras'][1])
  try:
    resume = tf_unilth.CheckpointAndResume(path)
    older_files.train(model, tf_unilth.UniLTH(verbose=0), resume)
  except tf_unilth.CheckpointError as error:
    assert 'version' in str(error)
    return
  ended = _noted(folder / 'checkpoints', 'ended')
  for before, now in zip(ended, older_files.state(model), strict=True):
    np.testing.assert_allclose(before, now, rtol=1e-4, atol=1e-6)


def test_a_ticket_is_read_and_applied(folder):
  ticket = tf_unilth.Ticket.load(folder / 'unilth.ticket')
  with np.load(folder / 'unilth.ticket.npz') as file:
    noted = {name: file[name] for name in file.files}
  read = {f'mask {name}': mask for name, mask in ticket.masks.items()}
  read |= {f'rewind {n}': array for n, array in ticket.rewind_weights.items()}
  assert read.keys() == noted.keys()
  for name, array in read.items():
    np.testing.assert_array_equal(array, noted[name])
  model = ticket.apply(toys.conv())
  masks = [noted[f'mask {name}'] for name in ticket.masks]
  for mask, expected in zip(toys.masks(model), masks, strict=True):
    np.testing.assert_array_equal(mask, expected)


def test_a_packed_saved_model_computes_what_it_did(folder):
  path = folder / 'packed.saved_model'
  loaded = tf.saved_model.load(str(path))
  with np.load(folder / 'packed.saved_model.npz') as file:
    found = loaded.serve(file['x']).numpy()
    np.testing.assert_allclose(found, file['y'], rtol=1e-5, atol=1e-6)
    zeros = np.sum(file['kernel'] == 0)
  contents = inspection.read(path)
  assert contents.facts['packed tensors'] == '1 of 1'
  assert contents.zeros == zeros > 0


def test_a_search_goes_on_with_its_trials(folder, tmp_path):
  pytest.importorskip('keras_tuner')
  from tests.testing import tuned

  path = tmp_path / 'search'
  shutil.copytree(folder / 'search', path)
  search = tuned.search(path, max_trials=2)
  saved = [
    json.loads(file.read_text())
    for file in sorted(path.glob('trial_*/trial.json'))
  ]
  assert tuned.found(search) == [
    (one['trial_id'], one['hyperparameters']['values'], one['score'])
    for one in saved
  ]
  assert len(search.get_best_tickets(2)) == 2


def test_a_run_directory_is_that_of_a_finished_run(folder):
  path = folder / 'run'
  config, expected = (
    json.loads((path / name).read_text())
    for name in ('config.json', 'results.json')
  )
  # Those of 0.1.0 do not state it.
  stated = [config.pop('format_version', 1), expected.pop('format_version', 1)]
  assert stated == [1, 1]
  results = run_directory.finished(path, config)
  assert results == expected
  history = run_directory.read_history(path / 'history.csv')
  assert len(history['loss']) == results['epochs']
  history_writer.HistoryWriter(path, None, results['epochs'])

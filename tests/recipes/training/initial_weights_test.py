"""--initial_weights: files of all kinds, what is refused, and whole runs."""

import json
import pathlib
import re

import keras as keras_3
import numpy as np
import pytest
import tf_keras as keras

import tf_unilth
from recipes.data.arrays import DataError
from recipes.training import initial_weights, pruning_setup
from tests.testing import tiny_recipe

pytestmark = pytest.mark.long

_SHAPE, _CLASSES = (8, 8, 1), 10


def _network():
  return tiny_recipe.build(keras, _SHAPE, _CLASSES)


def _of_keras_3(classes=_CLASSES):
  layers = keras_3.layers
  return keras_3.Sequential(
    [
      layers.Input(_SHAPE),
      layers.Flatten(),
      layers.Dense(16, use_bias=False),
      layers.BatchNormalization(),
      layers.ReLU(),
      layers.Dense(classes),
    ]
  )


def _trained(model, kind):
  """Returns a model whose weights and optimizer state are all different."""
  rng = np.random.default_rng(0)
  model.set_weights([rng.normal(size=w.shape) for w in model.get_weights()])
  optimizer = kind.optimizers.Adam()
  model.compile(optimizer, 'mse')
  optimizer.build(model.trainable_variables)
  return model


_WRITERS = {
  'a.weights.h5': lambda model, path: model.save_weights(path),
  'weights_alone.h5': lambda model, path: model.save_weights(path),
  'whole_model.h5': lambda model, path: model.save(path),
  'model.keras': lambda model, path: model.save(path),
  'keras_saved_model': lambda model, path: model.save(path),
  'export': lambda model, path: tf_unilth.export_saved_model(model, path),
}


@pytest.mark.filterwarnings('ignore:You are saving your model as an HDF5')
@pytest.mark.parametrize('name', _WRITERS)
def test_each_kind_of_file_is_read_whatever_layers_are_called(name, tmp_path):
  model = _trained(_network(), keras)
  _WRITERS[name](model, str(tmp_path / name))
  other = _network()  # Its layers have other numbers.
  initial_weights.load(other, tmp_path / name)
  for wanted, found in zip(
    model.get_weights(), other.get_weights(), strict=True
  ):
    np.testing.assert_array_equal(wanted, found)


@pytest.mark.parametrize('name', ['a.weights.h5', 'model.keras', 'model.h5'])
def test_files_of_keras_3_with_the_same_layers_are_read(name, tmp_path):
  model = _trained(_of_keras_3(), keras_3)
  path = tmp_path / name
  write = model.save_weights if 'weights' in name else model.save
  write(str(path))
  other = _network()
  initial_weights.load(other, path)
  for wanted, found in zip(
    model.get_weights(), other.get_weights(), strict=True
  ):
    np.testing.assert_array_equal(wanted, found)


@pytest.mark.parametrize('name', ['a.weights.h5', 'model.keras'])
def test_those_with_others_are_refused_with_the_first_difference(
  name, tmp_path
):
  model = _of_keras_3(classes=3)
  write = model.save_weights if 'weights' in name else model.save
  write(str(tmp_path / name))
  other = _network()
  before = other.get_weights()
  with pytest.raises(DataError, match='does not fit') as refused:
    initial_weights.load(other, tmp_path / name)
  said = str(refused.value)
  # The sixth of batch normalisation's four and two kernels.
  assert 'its weight 6 is' in said and '(16, 3)' in said and '(16, 10)' in said
  for wanted, found in zip(before, other.get_weights(), strict=True):
    np.testing.assert_array_equal(wanted, found)


@pytest.mark.filterwarnings('ignore:You are saving your model as an HDF5')
@pytest.mark.parametrize('name', ['a.weights.h5', 'a.h5', 'model.keras'])
def test_a_wrapped_model_is_refused_with_what_to_do(name, tmp_path):
  model = tf_unilth.prune_low_magnitude(
    _network(), tf_unilth.IterativeSparsity(0.5)
  )
  write = model.save_weights if 'weights' in name else model.save
  write(str(tmp_path / name))
  with pytest.raises(DataError, match='save what strip_pruning returns'):
    initial_weights.load(_network(), tmp_path / name)


def test_a_network_with_more_layers_is_refused(tmp_path):
  model = _network()
  more = keras.Sequential([*model.layers, keras.layers.Dense(2)])
  more.build((None, *_SHAPE))
  more.save_weights(str(tmp_path / 'more.weights.h5'))
  with pytest.raises(DataError, match='only the file has'):
    initial_weights.load(_network(), tmp_path / 'more.weights.h5')
  model.save_weights(str(tmp_path / 'a.weights.h5'))
  with pytest.raises(DataError, match='only the network has'):
    initial_weights.load(more, tmp_path / 'a.weights.h5')


def _make(kind: str, path: pathlib.Path) -> None:
  if kind == 'text':
    path.write_text('words')
  elif kind == 'truncated':
    _network().save_weights(str(path.with_suffix('.weights.h5')))
    content = path.with_suffix('.weights.h5').read_bytes()
    path.write_bytes(content[:3000])
  elif kind == 'arrays':
    np.savez(path.with_suffix('.npz'), a=np.ones(2))
    path.with_suffix('.npz').rename(path)
  elif kind == 'ticket':
    tf_unilth.Ticket({'dense': np.eye(3, dtype=bool)}).save(path)
  elif kind == 'empty folder':
    path.mkdir()
  elif kind == 'unfinished run':
    path.mkdir()
    (path / 'config.json').write_text('{}')


@pytest.mark.parametrize(
  ('kind', 'said'),
  [
    ('text', 'must be a .weights.h5, .h5 or .keras file'),
    ('truncated', 'cannot be read: .*truncated'),
    ('arrays', 'cannot be read: .*model.weights.h5'),
    ('ticket', 'a run directory, but is a ticket'),
    ('empty folder', 'no saved_model.pb and no config.json'),
    ('unfinished run', 'without a saved_model: the run must be finished'),
    ('nothing', 'No such file'),
  ],
)
def test_what_has_no_weights_is_refused_in_one_line(kind, said, tmp_path):
  path = tmp_path / 'file'
  _make(kind, path)
  with pytest.raises(DataError, match=said) as refused:
    initial_weights.load(_network(), path)
  assert '--initial_weights' in str(refused.value)
  assert str(path) in str(refused.value) and '\n' not in str(refused.value)


# Runs.


@pytest.fixture(scope='module')
def dense(tmp_path_factory):
  """Returns the directory of a dense run, and its results."""
  directory = tmp_path_factory.mktemp('dense') / 'run'
  results = tiny_recipe.run(directory, method='dense', epochs=12, plots=False)
  return directory, results


def _history(directory):
  lines = (directory / 'history.csv').read_text().splitlines()
  names = lines[0].split(',')
  return [
    dict(zip(names, map(float, line.split(',')), strict=True))
    for line in lines[1:]
  ]


def _prune(directory, weights, **given):
  return tiny_recipe.run(
    directory,
    **{
      'initial_weights': str(weights),
      'epochs': 4,
      'batch_size': 64,
      'target_sparsity': 0.8,
      'plots': False,
      'export': [],
      **given,
    },
  )


@pytest.fixture(scope='module')
def pruned(dense, tmp_path_factory):
  """Returns the directory and the results of pruning it."""
  directory = tmp_path_factory.mktemp('pruned') / 'run'
  return directory, _prune(directory, dense[0])


def test_a_run_from_a_run_directory_prunes_at_once(dense, pruned):
  directory, results = pruned
  rows = _history(directory)
  assert rows[0]['stage'] == 2 and rows[-1]['stage'] == 3
  zeros = results['total_weights'] - results['nonzero_weights']
  assert zeros == round(0.8 * results['total_weights'])
  # It began from what the dense run had learnt, which one epoch cannot.
  untrained = _history(dense[0])[0]
  assert rows[0]['loss'] < 0.5 * untrained['loss']


def test_what_it_began_from_is_in_the_config_by_its_content(dense, pruned):
  config = json.loads((pruned[0] / 'config.json').read_text())
  digest = initial_weights.digest(dense[0] / 'saved_model')
  assert config['initial_weights'] == digest and len(digest) == 64
  assert config['pretrained'] is True


def test_the_same_weights_elsewhere_go_on(dense, pruned, tmp_path):
  copy = tmp_path / 'moved'
  (dense[0] / 'saved_model').rename(copy)
  try:
    assert _prune(pruned[0], copy) == pruned[1]  # Finished before.
  finally:
    copy.rename(dense[0] / 'saved_model')


def test_other_weights_are_refused(pruned, tmp_path):
  _network().save_weights(str(tmp_path / 'other.weights.h5'))
  said = tiny_recipe.main(
    f'--output_dir={pruned[0]}',
    f'--initial_weights={tmp_path / "other.weights.h5"}',
    *('--epochs=4', '--batch_size=64', '--target_sparsity=0.8'),
  )
  assert said.startswith('error: ') and 'another configuration' in said
  assert 'initial_weights: ' in said and 'pretrained' not in said


def test_weights_of_another_network_leave_nothing_behind(tmp_path):
  keras.Sequential([keras.layers.Dense(2, input_shape=(3,))]).save_weights(
    str(tmp_path / 'other.weights.h5')
  )
  said = tiny_recipe.main(
    f'--output_dir={tmp_path / "run"}',
    f'--initial_weights={tmp_path / "other.weights.h5"}',
  )
  assert said.startswith('error: --initial_weights=') and 'does not fit' in said
  assert not (tmp_path / 'run').exists()


def _plan(**given):
  config = tiny_recipe.config(**given).pruning
  pruning_setup.check(config, keras)
  made = pruning_setup.training_setup(
    config, steps=100, seed=0, rate=None, keras=keras
  )
  return made.ticket.settings


@pytest.mark.parametrize('method', ['unilth', 'unidlth'])
def test_weights_mean_that_the_network_is_trained_unless_it_is_denied(method):
  given = {'method': method, 'initial_weights': 'a.h5'}
  assert _plan(**given)['pretrained'] == 'True'
  assert _plan(**given, pretrained=True)['pretrained'] == 'True'
  assert 'pretrained' not in _plan(**given, pretrained=False, patience=3)
  assert 'pretrained' not in _plan(method=method)
  # LTH and DLTH have no dense stage to leave out.
  assert 'pretrained' not in _plan(method='lth', initial_weights='a.h5')


@pytest.mark.parametrize(
  ('arguments', 'said'),
  [
    (['--pretrained'], '--pretrained needs --initial_weights=FILE'),
    (
      ['--initial_weights=a.h5', '--patience=3'],
      '--patience is about the dense stage.* give --nopretrained for one',
    ),
    (
      ['--pretrained', '--initial_weights=a.h5', '--method=lth'],
      '--pretrained is not read by --method=lth, only by unilth, unidlth',
    ),
    (['--initial_weights=a.h5'], "must be .* but 'a.h5': No such file"),
  ],
)
def test_flags_that_do_not_go_together_are_refused(arguments, said, tmp_path):
  output = f'--output_dir={tmp_path / "run"}'
  error = tiny_recipe.error_of(lambda: tiny_recipe.main(output, *arguments))
  assert error.startswith('error: ') and re.search(said, error)
  assert not (tmp_path / 'run').exists()

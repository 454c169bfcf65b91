"""Recipes with --structure=channels: the smaller network, and bad flags."""

import json
import math

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

import tf_unilth
from recipes.common import call_times, figures
from recipes.data import digits
from recipes.data.dataset import DataOptions
from recipes.training import run_directory, small_dense, smaller_network
from tests.testing import tiny_recipe

layers = keras.layers
_CHANNELS = {'structure': 'channels', 'of': 'flops', 'target_sparsity': 0.75}


@pytest.fixture(autouse=True)
def no_plots(monkeypatch):
  monkeypatch.setattr(figures, 'available', lambda: False)  # They take time.


@pytest.fixture
def few_calls(monkeypatch):
  monkeypatch.setattr(smaller_network, '_MOST_CALLS', call_times.PARTS)


def test_a_run_ends_with_the_smaller_network(few_calls, tmp_path):
  results = tiny_recipe.run(tmp_path, **_CHANNELS, epochs=3)
  # Of 16 hidden units 4 are left: each makes 64 + 10 products, and has 64 + 10
  # weights and 4 of normalization. The 10 biases of the head stay.
  shrunk = results['shrunk']
  assert shrunk['dense_flops'] == 2 * 16 * 74 and shrunk['flops'] == 2 * 4 * 74
  assert shrunk['dense_parameters'] == 16 * 78 + 10
  assert shrunk['parameters'] == 4 * 78 + 10
  assert results['dense_parameters_bytes'] == 4 * (16 * 78 + 10)
  written = json.loads((tmp_path / 'results.json').read_text())
  assert written == {**results, 'format_version': 1}
  # All that is told and written is of the smaller network.
  model = keras.models.load_model(tmp_path / 'model.keras')
  assert model.count_params() == 4 * 78 + 10
  images, labels = next(iter(digits.digits(DataOptions()).test.batches(10_000)))
  outputs = model(images).numpy()
  accuracy = np.mean(outputs.argmax(1) == labels.numpy())
  assert results['test_accuracy'] == pytest.approx(accuracy)
  loaded = tf.saved_model.load(str(tmp_path / 'saved_model'))
  np.testing.assert_allclose(loaded.serve(images), outputs, atol=1e-4)
  assert sum(v.numpy().size for v in loaded.variables) == 4 * 78 + 10
  told = (tmp_path / 'report.md').read_text()
  assert '| parameters | 1,258 -> 322 (25.60% are left) |' in told
  assert '| FLOPs | 2,368 -> 592 (25.00% are left) |' in told
  assert '| a call, batch 32 |' in told and ' times as fast (' in told
  run_directory.clear(tmp_path)  # As --overwrite does.
  assert not list(tmp_path.iterdir())


def test_its_outputs_are_those_of_the_pruned_network(few_calls, tmp_path):
  model = keras.Sequential(
    [layers.Dense(8, 'relu', input_shape=(5,)), layers.Dense(3)]
  )
  kernel, bias, *others = model.get_weights()
  kernel[:, ::2] = 0
  model.set_weights([kernel, bias, *others])
  smaller, saved = smaller_network.write(model, tmp_path)
  inputs = np.random.default_rng(0).normal(size=(20, 5)).astype(np.float32)
  np.testing.assert_allclose(smaller(inputs), model(inputs), atol=1e-6)
  assert saved['flops'] == saved['dense_flops'] / 2 == 2 * 4 * 8
  assert saved['latency'].keys() == {'1', '32'}
  for times in saved['latency'].values():
    ratio = times['dense_seconds'] / times['seconds']
    assert times['ratio'] == ratio > 0


def test_a_timed_call_does_not_print_its_inputs(monkeypatch):
  model = keras.Sequential([layers.Dense(3, input_shape=(5,))])
  inputs = np.ones((2, 5), np.float32)
  call = smaller_network._call(model, inputs)

  def print_it(tensor):
    raise AssertionError('the inputs were printed')

  monkeypatch.setattr(type(tf.constant(0.0)), '__repr__', print_it)
  outputs = call()
  monkeypatch.undo()
  np.testing.assert_allclose(outputs, model(inputs), rtol=1e-5)


def _chain():
  """Returns two hidden layers, of different widths, and a head."""
  return keras.Sequential(
    [layers.Dense(n, input_shape=(20,)) for n in (24, 9, 5)]
  )


def _residual():
  """Returns a block whose branch begins as zero, as that of a ResNet does."""
  inputs = layers.Input((6, 6, 3))
  stem = layers.Conv2D(8, 3, padding='same', use_bias=False)(inputs)
  branch = layers.Conv2D(8, 3, padding='same', use_bias=False)(stem)
  branch = layers.BatchNormalization(gamma_initializer='zeros')(branch)
  added = layers.Add()([stem, branch])
  pooled = layers.GlobalAveragePooling2D()(layers.ReLU()(added))
  return keras.Model(inputs, layers.Dense(4)(pooled))


def test_small_dense_is_the_widest_network_that_is_small_enough():
  def flops(share):
    first, second = (math.ceil(share * n / 24) for n in (24, 9))
    return 2 * (20 * first + first * second + second * 5)

  found = small_dense.narrower(keras, _chain(), 0.6)
  whole = flops(24)
  # Shares at which one of the widths changes.
  shares = [*range(25), *(24 * k / 9 for k in range(1, 10))]
  best = max(s for s in shares if flops(s) <= 0.4 * whole)
  widths = [layer.units for layer in found.layers]
  assert widths == [math.ceil(best), math.ceil(best * 9 / 24 - 1e-9), 5]
  assert tf_unilth.shrink_report(found).flops == flops(best)


def test_small_dense_narrows_layers_that_are_added_alike_and_begins_anew():
  keras.utils.set_random_seed(0)
  wide = _residual()
  kernel = wide.get_weights()[0]
  found = small_dense.narrower(keras, wide, 0.7)
  first, second = (
    layer for layer in found.layers if isinstance(layer, layers.Conv2D)
  )
  left = tf_unilth.shrink_report(found).flops
  assert left <= 0.3 * tf_unilth.shrink_report(_residual()).flops
  assert first.filters == second.filters == 3
  ours = first.kernel.numpy()
  assert not np.isin(ours, kernel).any() and ours.all()
  (normal,) = (
    layer
    for layer in found.layers
    if isinstance(layer, layers.BatchNormalization)
  )
  assert not normal.gamma.numpy().any()  # As its initializer says.


def test_small_dense_cannot_be_smaller_than_one_unit_each():
  with pytest.raises(ValueError, match=r'target_sparsity=0\.99 of the FLOPs'):
    small_dense.narrower(keras, _chain(), 0.99)


@pytest.mark.parametrize(
  ('arguments', 'message'),
  [
    (['--of=flops'], '--of=flops needs --structure=channels'),
    (
      ['--structure=channels', '--keras=keras'],
      '--structure=channels needs --keras=tf_keras',
    ),
    (
      ['--structure=channels', '--method=gmp'],
      '--structure is not read by --method=gmp, only by random, lr_rewind',
    ),
    (
      ['--structure=channels', '--block_size=4,1'],
      '--structure=channels must be given without --block_size',
    ),
    (['--structure=filters'], 'value should be one of <channels>'),
    (
      ['--method=small_dense', '--structure=channels'],
      '--method=small_dense needs --structure=channels --of=flops',
    ),
    (
      [
        *('--method=small_dense', '--structure=channels', '--of=flops'),
        '--initial_weights=a.keras',
      ],
      '--initial_weights must not be given with --method=small_dense',
    ),
  ],
)
def test_bad_combinations_are_one_line(arguments, message, tmp_path):
  directory = tmp_path / 'run'
  error = tiny_recipe.error_of(
    lambda: tiny_recipe.main(f'--output_dir={directory}', *arguments)
  )
  assert error.startswith('error: ') and message in error
  assert '\n' not in error and not directory.exists()

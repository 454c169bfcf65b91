"""Recipes on Keras 3: a run on the backend, without TensorFlow if it can be."""

import json
import os
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from recipes.common import figures
from recipes.data import dataset, digits
from recipes.networks import registry
from recipes.training import devices, keras_classes, optimization
from tests.testing import tiny_recipe

_BACKEND = keras.backend.backend()
pytestmark = pytest.mark.keras3


@pytest.fixture(autouse=True)
def no_plots(monkeypatch):
  monkeypatch.setattr(figures, 'available', lambda: False)  # They take time.


def _config(**given):
  return tiny_recipe.config(keras='keras', **given)


def test_a_run_reaches_its_target_and_is_exported(tmp_path):
  results = tiny_recipe.run(
    tmp_path, keras='keras', epochs=4, weight_decay=1e-4
  )
  zeros = results['total_weights'] - results['nonzero_weights']
  assert zeros == round(0.9 * results['total_weights'])
  assert results['test_accuracy'] > 0.3
  assert results['parameters'] == 16 * 78 + 10 and results['flops'] is None
  assert results['versions']['backend'] == _BACKEND
  config = json.loads((tmp_path / 'config.json').read_text())
  assert config['keras'] == f'Keras 3 on {_BACKEND}'
  if _BACKEND == 'torch':  # By default it exports what can be exported.
    assert results['exports'] == {}
  else:
    loaded = tf.saved_model.load(str(tmp_path / 'saved_model'))
    assert loaded.serve(tf.zeros((3, 8, 8, 1))).shape == (3, 10)
    assert results['export_difference'] < 1e-4
  # The same command finds it finished; a run of tf_keras is another one.
  assert tiny_recipe.run(tmp_path, keras='keras', epochs=4, weight_decay=1e-4)
  error = tiny_recipe.main(f'--output_dir={tmp_path}', '--epochs=4')
  assert 'another configuration' in error and 'keras' in error


@pytest.mark.parametrize(
  ('arguments', 'message'),
  [
    (['--method=gmp'], '--method=gmp needs --keras=tf_keras'),
    (['--strategy=mirrored'], '--strategy=mirrored needs --keras=tf_keras'),
    (['--sparsity_m_by_n=0,4'], 'sparsity_m_by_n must be (m, n) with 1 <= m'),
    pytest.param(
      ['--export=tflite'],
      '--export=tflite is not possible: a model on the torch backend',
      marks=pytest.mark.skipif(_BACKEND != 'torch', reason='of torch'),
    ),
  ],
)
def test_what_keras_3_cannot_do_is_one_line(arguments, message, tmp_path):
  error = tiny_recipe.main(
    '--keras=keras', *arguments, f'--output_dir={tmp_path / "run"}'
  )
  assert error.startswith('error: ') and message in error
  assert not os.listdir(tmp_path)


# Another process: TensorFlow is imported here.
_WITHOUT_TENSORFLOW = """
import sys
sys.modules['tensorflow'] = None  # An import of it fails.
import numpy as np
from absl import flags
from recipes import digits_cnn, mnist_lenet
from recipes.data import dataset
from recipes.training import experiment
rng = np.random.default_rng(0)
np.savez('mnist.npz', **{
  f'{axis}_{part}': rng.integers(0, high, shape, np.uint8)
  for part in ('train', 'test')
  for axis, high, shape in (('x', 256, (40, 28, 28)), ('y', 10, 40))
})
options = dataset.DataOptions(data_dir='.', as_arrays=True)
images, labels = mnist_lenet.RECIPE.load(options).train.epochs(8, 0, 0, 1)[0]
assert images.shape == (8, 28, 28, 1) and abs(images.mean() - 1.2) < 0.1

import keras
from tf_unilth import tuner

def build(hp):
  inputs = keras.Input((28, 28, 1))
  outputs = keras.layers.Dense(10)(keras.layers.Flatten()(inputs))
  model = keras.Model(inputs, outputs)
  rate = hp.Float('learning_rate', 0.01, 0.1)
  loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
  model.compile(keras.optimizers.SGD(rate), loss, metrics=['accuracy'])
  return model

search = tuner.RandomSearch(
  build, tuner.TicketSpace(0.5, 'dlth'), 1, directory='search', verbose=0
)
data = images, labels
search.search(*data, validation_data=data, epochs=3)
(best,) = search.get_best_tickets()
assert (best.sparsity, best.ticket.zeros) == (0.5, 3920), best
sys.exit(experiment.main(digits_cnn.RECIPE, [
  'test', '--keras=keras', '--epochs=3', '--batch_size=512', '--noplots',
  '--export=ticket', '--verbose=0', '--method=dlth', '--output_dir=run',
]))
"""


@pytest.mark.skipif(_BACKEND == 'tensorflow', reason='it needs TensorFlow')
def test_data_in_memory_need_no_tensorflow(tmp_path):
  here = os.path.dirname(os.path.dirname(os.path.dirname(__file__)))
  subprocess.run(
    [sys.executable, '-c', _WITHOUT_TENSORFLOW],
    check=True,
    cwd=tmp_path,
    env={**os.environ, 'PYTHONPATH': here},
  )
  assert (tmp_path / 'run' / 'ticket').exists()


def test_each_epoch_has_each_image_once():
  # Keras reads ahead and begins anew, so a generator would lose batches.
  data = digits.digits(dataset.DataOptions(as_arrays=True))
  layers = [keras.layers.Input((8, 8, 1)), keras.layers.Flatten()]
  model = keras.Sequential([*layers, keras.layers.Dense(10)])
  loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
  model.compile(keras.optimizers.SGD(0.0), loss)
  takes = devices.OneDevice(keras).as_input
  history = model.fit(
    takes(data.train.epochs(500, 0, 0, 4)),
    epochs=4,
    steps_per_epoch=3,
    validation_data=takes(data.validation.batches(100).repeat()),
    validation_steps=3,
    shuffle=False,
    verbose=0,
  ).history
  for name in ('loss', 'val_loss'):
    assert len(history[name]) == 4
    assert history[name] == pytest.approx([history[name][0]] * 4, rel=1e-5)


def test_weight_decay_is_l2_in_the_gradient():
  # As PyTorch's SGD: v <- momentum v + (g + l2 w); w <- w - rate v.
  rate, momentum, l2 = 0.1, 0.9, 0.5
  variable = keras.Variable([2.0, -3.0])
  optimizer = keras_classes.sgd(keras)(rate, l2, momentum=momentum)
  optimizer.build([variable])
  weight, velocity = np.array([2.0, -3.0]), np.zeros(2)
  for gradient in ([1.0, 0.0], [-2.0, 0.5]):
    optimizer.apply([keras.ops.convert_to_tensor(gradient)], [variable])
    velocity = momentum * velocity + np.array(gradient) + l2 * weight
    weight = weight - rate * velocity
  found = keras.ops.convert_to_numpy(variable.value)
  np.testing.assert_allclose(found, weight, rtol=1e-6)


def test_smoothed_labels_are_kerass_one_hot_ones():
  rng = np.random.default_rng(0)
  logits = rng.normal(size=(6, 4)).astype(np.float32)
  labels = rng.integers(0, 4, 6)
  theirs = keras.losses.CategoricalCrossentropy(
    from_logits=True, label_smoothing=0.2
  )
  ours = optimization.loss(_config(label_smoothing=0.2))
  assert float(ours(labels, logits)) == pytest.approx(
    float(theirs(np.eye(4)[labels], logits))
  )


@pytest.mark.skipif(_BACKEND != 'tensorflow', reason='the same on each')
def test_each_network_is_that_of_tf_keras():
  import tf_keras

  for name in ('digits_cnn', 'small_cnn', 'lenet_300_100', 'resnet20'):
    shape = (8, 8, 1) if name == 'digits_cnn' else (32, 32, 3)
    build = registry.MODELS[name]
    ours, theirs = build(keras, shape, 10), build(tf_keras, shape, 10)
    assert [tuple(w.shape) for w in ours.weights] == [
      tuple(w.shape) for w in theirs.weights
    ]
    assert tuple(ours.output_shape) == tuple(theirs.output_shape)

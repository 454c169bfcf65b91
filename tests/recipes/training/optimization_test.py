"""What recipes train with: SGD with L2, smoothed labels, schedule, progress."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

from recipes.training import (
  devices,
  distribution,
  keras_classes,
  optimization,
  progress,
)
from tests.testing import tiny_recipe, toys

_SGD = keras_classes.sgd(keras)
_OneDecay = keras_classes.one_decay(keras)


@pytest.mark.parametrize('nesterov', [False, True])
def test_weight_decay_is_l2_in_the_gradient(nesterov):
  # As PyTorch's SGD, in which the published settings were written:
  # v <- momentum v + (g + l2 w); w <- w - rate v.
  rate, momentum, l2 = 0.1, 0.9, 0.5
  variable = tf.Variable([2.0, -3.0])
  optimizer = _SGD(rate, l2, momentum=momentum, nesterov=nesterov)
  weight, velocity = np.array([2.0, -3.0]), np.zeros(2)
  for gradient in ([1.0, 0.0], [-2.0, 0.5], [0.0, 0.0]):
    optimizer.apply_gradients([(tf.constant(gradient), variable)])
    full = np.array(gradient) + l2 * weight
    velocity = momentum * velocity + full
    step = full + momentum * velocity if nesterov else velocity
    weight = weight - rate * step
  np.testing.assert_allclose(variable.numpy(), weight, rtol=1e-6)


def test_weight_decay_is_not_clipped():
  variable = tf.Variable([4.0])
  optimizer = _SGD(1.0, 0.5, clipnorm=1.0)
  optimizer.apply_gradients([(tf.constant([100.0]), variable)])
  assert variable.numpy() == pytest.approx(4 - (1 + 0.5 * 4))


def test_the_optimizer_can_be_copied():
  optimizer = _SGD(0.1, 0.25, momentum=0.5)
  copy = _SGD.from_config(optimizer.get_config())
  assert copy.l2 == 0.25 and copy.get_config() == optimizer.get_config()


def test_one_decay_can_be_copied():
  rate = _OneDecay(initial_learning_rate=0.5, decay_steps=8, warmup=0.25)
  copy = _OneDecay.from_config(rate.get_config())
  assert [float(copy(t)) for t in range(9)] == [
    float(rate(t)) for t in range(9)
  ]


def test_smoothed_labels_are_kerass_one_hot_ones():
  rng = np.random.default_rng(0)
  logits = rng.normal(size=(6, 4)).astype(np.float32)
  labels = rng.integers(0, 4, 6)
  theirs = keras.losses.CategoricalCrossentropy(
    from_logits=True, label_smoothing=0.2
  )
  ours = keras_classes.smoothed_crossentropy(keras)(0.2)
  expected = theirs(np.eye(4)[labels], logits)
  # Keras hands labels to a compiled loss as a column.
  for shape in ((6,), (6, 1)):
    assert float(ours(labels.reshape(shape), logits)) == pytest.approx(
      float(expected)
    )


@pytest.mark.parametrize('precision', devices.PRECISIONS)
def test_logits_are_float32_under_each_policy(precision):
  tiny_recipe.parse_flags()
  with distribution.prepared('none', precision, False, False):
    model = optimization.build(
      tiny_recipe.RECIPE, tiny_recipe.config(), (8, 8, 1), 10
    )
  assert model.outputs[0].dtype == tf.float32
  half = 'float32' if precision == 'none' else precision
  assert model.layers[-2].compute_dtype == half
  assert keras.mixed_precision.global_policy().name == 'float32'


def test_mixed_precision_trains_to_the_target(tmp_path):
  results = tiny_recipe.run(
    tmp_path, mixed_precision='bfloat16', export=[], plots=False
  )
  zeros = results['total_weights'] - results['nonzero_weights']
  assert zeros == round(0.9 * results['total_weights'])
  assert results['test_accuracy'] > 0.3


class _Terminal:
  """A ticket callback's sparsity, and an output that is a terminal."""

  sparsity = 0.4321


@pytest.mark.parametrize(('verbose', 'bars'), [(0, 0), (1, 8), (2, 0)])
def test_the_bar_shows_the_sparsity(verbose, bars, monkeypatch, capsys):
  monkeypatch.setattr(progress, '_REFRESH', 0.0)
  monkeypatch.setattr('sys.stdout.isatty', lambda: True)
  shown = keras_classes.callback(
    keras, progress.Progress, keras, verbose, _Terminal
  )
  toys.fit(toys.compiled_for_labels(toys.dense()), shown, epochs=1)
  said = capsys.readouterr().out
  assert said.count('sparsity: 0.4321') == bars
  assert said.count('=] - ETA: 0s - sparsity: 0.4321 - loss: ') == bool(bars)
  assert ('8/8 [====' in said) == bool(bars)
  lines = [line for line in said.splitlines() if 'val' in line]
  assert len(lines) == said.count('epoch 1/1') == bool(verbose)


def test_the_line_of_an_epoch():
  logs = {
    'loss': 0.5,
    'accuracy': 0.9,
    'val_loss': 0.25,
    'val_accuracy': 0.91,
    'sparsity': 0.4,
    'stage': 2,
    'round': 3,
    'l2_lambda': 0.1,
  }
  assert progress.epoch_line(2.14, logs) == (
    '2.1 s  loss 0.5000 val 0.2500  accuracy 90.00% val 91.00%  '
    'sparsity 40.00% (rounds done: 3)'
  )


def test_slices_of_a_batch_are_even_and_weighted():
  class TwoReplicas:
    num_replicas_in_sync = 2

    def distribute_datasets_from_function(self, of_worker):
      return [
        of_worker(tf.distribute.InputContext(2, worker, 2))
        for worker in range(2)
      ]

  batches = tf.data.Dataset.range(7).batch(4).map(lambda x: (x, -x))
  one, two = (
    [[part.numpy().tolist() for part in batch] for batch in worker]
    for worker in distribution.on_replicas(
      TwoReplicas(), batches, weighted=True
    )
  )
  assert one == [[[0, 1], [0, -1], [1, 1]], [[4], [-4], pytest.approx([2 / 3])]]
  assert two == [
    [[2, 3], [-2, -3], [1, 1]],
    [[5, 6], [-5, -6], pytest.approx([4 / 3] * 2)],
  ]


def test_warmup_is_a_share_of_the_run():
  config = tiny_recipe.config(warmup_epochs=2.0, epochs=10, learning_rate=0.4)
  rate = optimization.learning_rate(tiny_recipe.RECIPE, config, 100)
  assert rate.warmup == 0.2 and rate.decay_steps == 100


@pytest.mark.parametrize('other', [3, 0])
def test_workers_without_a_common_directory_are_told(other):
  class TwoWorkers:
    def run(self, function):
      return [function(), tf.constant([other])]

    def gather(self, values, axis):
      return tf.concat(values, axis)

  if other == 3:
    distribution.check_agreement(TwoWorkers(), 3)
  else:
    with pytest.raises(ValueError, match=r'some find 0 .* others 3'):
      distribution.check_agreement(TwoWorkers(), 3)

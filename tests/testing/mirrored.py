"""Trains on two logical devices, in a process of its own, for a test.

python -m tests.testing.mirrored WRAP OPTIMIZER
"""

import sys

import numpy as np
import tensorflow as tf
import tensorflow_model_optimization as tfmot

import tf_unilth
from tests.testing import toys
from tf_unilth.engines.tfmot.keras_access import keras

DEVICES = ('CPU:0', 'CPU:1')
WRAPS = {
  'ours': tf_unilth.prune_low_magnitude,
  'tfmots': tfmot.sparsity.keras.prune_low_magnitude,
}
OPTIMIZERS = {
  'sgd': lambda: keras.optimizers.SGD(0.05, momentum=0.9),
  'adam': lambda: keras.optimizers.Adam(0.01),
}


def train(strategy: tf.distribute.Strategy, build, wrap, optimizer):
  """Trains with UniLTH to 90%, rewinding once; checks what holds anywhere."""
  keras.utils.set_random_seed(1)
  with strategy.scope():
    model = wrap(build(), tf_unilth.IterativeSparsity(0.9))
    toys.compiled_for_labels(model, optimizer())
  ticket, spy = tf_unilth.UniLTH(verbose=0), toys.Spy()
  val_loss = toys.SetValLoss(3, 2, 2.5, 2.2)
  history = toys.fit(model, val_loss, ticket, spy, epochs=10, shuffle=False)
  assert ticket.rewound_to_epoch == 2 and any(history.history['l2_lambda'])
  masks = toys.masks(model)
  assert toys.zeros(masks) == round(0.9 * toys.size(masks))
  for batch_masks, weights in spy.batches:
    for mask, weight in zip(batch_masks, weights, strict=True):
      assert not weight[~mask].any()
  return model


def train_channels(strategy: tf.distribute.Strategy, build) -> keras.Model:
  """Trains to half of the FLOPs in whole channels, rewinding once."""
  keras.utils.set_random_seed(1)
  schedule = tf_unilth.IterativeSparsity(0.5, of='flops')
  with strategy.scope():
    model = tf_unilth.prune_low_magnitude(
      build(), schedule, structure='channels'
    )
    toys.compiled_for_labels(model)
  val_loss, spy = toys.SetValLoss(3, 2, 2.5, 2.2), toys.Spy()
  ticket = tf_unilth.UniLTH(patience=1, verbose=0)
  history = toys.fit(model, val_loss, ticket, spy, epochs=6, shuffle=False)
  assert ticket.rewound_to_epoch == 2 and any(history.history['l2_lambda'])
  channels = tf_unilth.sparsity_summary(model).channels
  assert history.history['flops_sparsity'][-1] == channels.flops_sparsity >= 0.5
  for masks, weights in spy.batches:
    for mask, weight in zip(masks, weights, strict=True):
      assert not weight[~mask].any()
  return model


def check_replicas(model: keras.Model) -> None:
  """Checks that weights and masks are equal on all devices."""
  for layer in model.layers:
    for weight, mask, _ in getattr(layer, 'pruning_vars', []):
      for variable in (weight, mask):
        one, two = (v.numpy() for v in variable.values)
        np.testing.assert_array_equal(one, two)


def check_equal(mirrored: keras.Model, alone: keras.Model) -> None:
  """Checks that two devices end as one does."""
  check_replicas(mirrored)
  for two, single in zip(toys.masks(mirrored), toys.masks(alone), strict=True):
    np.testing.assert_array_equal(two, single)
  for two, single in zip(
    toys.kernels(mirrored), toys.kernels(alone), strict=True
  ):
    np.testing.assert_allclose(two, single, atol=1e-3)


def main(wrap: str, optimizer: str) -> None:
  """Compares two devices with each other and with one."""
  tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices('CPU')[0],
    [tf.config.LogicalDeviceConfiguration()] * len(DEVICES),
  )
  both, one = (
    tf.distribute.MirroredStrategy(devices)
    for devices in (DEVICES, DEVICES[:1])
  )
  chosen = WRAPS[wrap], OPTIMIZERS[optimizer]
  if wrap == 'ours':  # Convolutions and batch statistics: slow, so once.
    check_replicas(train(both, toys.conv, *chosen))
  # No batch statistics there, which are each replica's own.
  check_equal(*(train(s, toys.dense, *chosen) for s in (both, one)))
  # Batch statistics are each replica's own, gammas and betas are not.
  check_replicas(train_channels(both, toys.conv))
  check_equal(*(train_channels(s, toys.dense) for s in (both, one)))
  with both.scope():
    model = WRAPS[wrap](toys.dense(), tf_unilth.IterativeSparsity(0.9))
    toys.compiled_for_labels(model, jit_compile=True)
  try:
    toys.fit(model, tf_unilth.UniLTH(verbose=0))
  except ValueError as error:
    assert 'jit_compile must be False under 2 replicas' in str(error)
  else:
    raise AssertionError('jit_compile over two replicas was not refused')


if __name__ == '__main__':
  main(*sys.argv[1:])

"""What `fit` of Keras 3 can do: pruned weights are zero after every step.

`docs/keras3_fit.md` has a row per item, which names the tests of this file and
of `masked_apply_test.py`; `tests/documents/keras_3_fit.py` makes it.
"""

import os
import pathlib
import subprocess
import sys
from typing import Any

import keras
import numpy as np
import pytest

import tf_unilth
from tests.testing import keras_3_toys, toys

pytestmark = pytest.mark.keras3
BACKEND = keras.backend.backend()
_ROOT = pathlib.Path(__file__).parents[2]
layers = keras.layers


def _half_zero(model: keras.Model) -> keras.Model:
  """Sets half of each kernel of a model to zero."""
  rng = np.random.default_rng(3)
  for weight in model.trainable_variables:
    if len(weight.shape) > 1:
      value = keras.ops.convert_to_numpy(weight.value)
      weight.assign(value * (rng.random(value.shape) < 0.5))
  return model


def _assert_exact(spy: keras_3_toys.Spy, some: bool = False) -> None:
  """Checks each step: zeros stay, and other weights train."""
  zeros = [int((~mask).sum()) for mask in spy.batches[-1][0]]
  assert sum(zeros) and (some or all(zeros))
  for masks, weights in [*spy.batches, *spy.epochs]:
    for mask, weight in zip(masks, weights, strict=True):
      assert not weight[~mask].any()
      assert np.isfinite(weight).all()


def _hold(model: keras.Model, *args: Any, **fit: Any) -> keras_3_toys.Spy:
  """Trains a compiled model whose kernels are half zero."""
  spy = keras_3_toys.Spy()
  plan = model._pruning_plan
  before = plan.read_weights()
  model.fit(*args, **{'verbose': 0, 'callbacks': [spy], **fit})
  _assert_exact(spy)
  for old, new in zip(before, plan.read_weights(), strict=True):
    assert (old != new).any()
  return spy


def _fixed(model: keras.Model | None = None, **compiled: Any) -> keras.Model:
  """Returns a model with fixed masks; without jit, which takes seconds."""
  keras.utils.set_random_seed(0)
  model = _half_zero(model or keras_3_toys.dense())
  compiled = {'jit_compile': False, **compiled}
  return keras_3_toys.planned(model, tf_unilth.FixedMask(), **compiled)


def _pruned(model: keras.Model, *callbacks: Any, **fit: Any) -> Any:
  """Prunes a compiled model to its target; returns what a spy saw."""
  ticket, spy = tf_unilth.DLTH(verbose=0), keras_3_toys.Spy()
  keras_3_toys.fit(model, *callbacks, ticket, spy, epochs=4, **fit)
  assert ticket.reached_target
  masks = keras_3_toys.masks(model)
  total = sum(mask.size for mask in masks)
  assert sum(int((~m).sum()) for m in masks) == round(0.8 * total)
  _assert_exact(spy)
  return spy


def _planned(model: keras.Model | None = None, **compiled: Any) -> keras.Model:
  keras.utils.set_random_seed(0)
  return keras_3_toys.planned(
    model or keras_3_toys.dense(),
    tf_unilth.IterativeSparsity(0.8),
    **{'jit_compile': False, **compiled},
  )


# How steps run.


@pytest.mark.parametrize(
  'jit',
  [
    'auto',
    *(pytest.param(jit, marks=pytest.mark.long) for jit in (True, False)),
  ],
)
def test_jit_compile(jit):
  if BACKEND == 'torch' and jit is True:
    pytest.skip('torch.compile needs a compiler')
  _pruned(_planned(jit_compile=jit))


def test_steps_per_execution():
  if BACKEND == 'torch':
    pytest.skip('Keras has none on torch')
  _pruned(_planned(steps_per_execution=4))


def test_a_run_begins_with_steps_whose_scaled_gradients_overflow():
  """Run eagerly, they do not reach the inner optimizer."""
  keras.config.set_dtype_policy('mixed_float16')
  try:
    model = keras_3_toys.dense()
  finally:
    keras.config.set_dtype_policy('float32')
  optimizer = keras.optimizers.LossScaleOptimizer(
    keras.optimizers.SGD(0.05, momentum=0.9), initial_scale=2.0**24
  )
  _pruned(_planned(model, optimizer=optimizer, run_eagerly=True))
  assert float(optimizer.dynamic_scale) < 2.0**24


@pytest.mark.long
def test_run_eagerly():
  _hold(_fixed(run_eagerly=True), *toys.data(), batch_size=32)


# The data.


class _Batches(keras.utils.PyDataset):
  """Batches of the toy data."""

  def __len__(self):
    return 4

  def __getitem__(self, index):
    x, y = toys.data()
    return x[index::4], y[index::4]


def test_pydataset():
  _hold(_fixed(), _Batches())


def test_generators():
  def batches():
    while True:
      yield from (_Batches()[index] for index in range(4))

  _hold(_fixed(), batches(), steps_per_epoch=4)


@pytest.mark.long
def test_tf_data():
  tf = pytest.importorskip('tensorflow')
  _hold(_fixed(), tf.data.Dataset.from_tensor_slices(toys.data()).batch(16))


@pytest.mark.long
def test_torch_dataloaders():
  if BACKEND == 'jax':  # As the others, without its import.
    pytest.skip('tested on the other backends')
  torch = pytest.importorskip('torch')
  x, y = map(torch.from_numpy, toys.data())
  data = torch.utils.data.TensorDataset(x, y)
  _hold(_fixed(), torch.utils.data.DataLoader(data, 16, shuffle=True))


@pytest.mark.long
def test_sample_weights_and_class_weights():
  x, y = toys.data()
  weights = np.linspace(0, 1, len(x)).astype(np.float32)
  _hold(_fixed(), x, y, batch_size=16, sample_weight=weights)
  _hold(_fixed(), x, y, batch_size=16, class_weight={0: 0.2, 1: 1.0})


def test_several_inputs_and_outputs():
  one, other = layers.Input((6, 6, 1), name='a'), layers.Input((3,), name='b')
  both = layers.Concatenate()([layers.Flatten()(one), other])
  hidden = layers.Dense(16, activation='relu')(both)
  outputs = {'c': layers.Dense(2)(hidden), 'd': layers.Dense(1)(hidden)}
  model = keras.Model({'a': one, 'b': other}, outputs)
  keras.utils.set_random_seed(0)
  model = tf_unilth.prune_low_magnitude(
    _half_zero(model), tf_unilth.FixedMask()
  )
  labels = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
  model.compile('adam', {'c': labels, 'd': 'mse'}, jit_compile=False)
  x, y = toys.data()
  inputs = {'a': x, 'b': x[:, 0, :3, 0]}
  _hold(model, inputs, {'c': y, 'd': y.astype(np.float32)}, batch_size=16)


# What users override and change.


class OwnStep(keras.Model):
  """A model with a `train_step` as Keras's guides have it for each backend."""

  def __init__(self, optimizer: Any = None):
    super().__init__()
    self.net = keras_3_toys.dense()
    self.own = optimizer

  def call(self, inputs, training=None):
    return self.net(inputs, training=training)

  def train_step(self, *arguments):
    return globals()[f'_{BACKEND}_step'](self, *arguments)


def _tensorflow_step(model, data):
  import tensorflow as tf

  x, y = data
  with tf.GradientTape() as tape:
    loss = model.compute_loss(x, y, model(x, training=True))
  gradients = tape.gradient(loss, model.trainable_variables)
  optimizer = model.own or model.optimizer
  optimizer.apply(gradients, model.trainable_variables)
  return {'loss': loss}


def _torch_step(model, data):
  import torch

  x, y = data
  model.zero_grad()
  loss = model.compute_loss(x, y, model(x, training=True))
  loss.backward()
  variables = list(model.trainable_variables)
  optimizer = model.own or model.optimizer
  with torch.no_grad():
    optimizer.apply([v.value.grad for v in variables], variables)
  return {'loss': loss.item()}


def _jax_step(model, state, data):
  import jax

  trainable, others, slots, metrics = state
  x, y = data

  def loss_of(trainable, others):
    outputs, others = model.stateless_call(trainable, others, x, training=True)
    return model.compute_loss(x, y, outputs), others

  gradient = jax.value_and_grad(loss_of, has_aux=True)
  (loss, others), gradients = gradient(trainable, others)
  trainable, slots = model.optimizer.stateless_apply(
    slots, gradients, trainable
  )
  return {'loss': loss}, (trainable, others, slots, metrics)


def _own_step(optimizer: Any = None) -> keras.Model:
  model = OwnStep(optimizer)
  model(np.zeros((1, 6, 6, 1), np.float32))
  return model


def test_a_train_step_of_ones_own():
  x, y = toys.data()
  model, ticket = _planned(_own_step()), tf_unilth.DLTH(verbose=0)
  spy = keras_3_toys.Spy()
  model.fit(x, y, batch_size=16, epochs=3, verbose=0, callbacks=[ticket, spy])
  assert ticket.reached_target
  _assert_exact(spy)


def test_an_optimizer_of_ones_own_is_refused():
  if BACKEND == 'jax':
    pytest.skip('a step on JAX gets the state of one optimizer')
  model = _own_step(keras.optimizers.SGD(0.1))
  model.own.build(model.trainable_variables)
  x, y = toys.data()
  with pytest.raises(ValueError, match=r'train_step of model .* must train'):
    _planned(model).fit(
      x, y, verbose=0, epochs=3, callbacks=[tf_unilth.DLTH(verbose=0)]
    )


class _Freeze(keras.callbacks.Callback):
  """Freezes a layer in mid-run, and compiles the model again."""

  def on_epoch_begin(self, epoch, logs=None):
    if epoch == 1:
      self.model.layers[-1].trainable = False
      keras_3_toys.compiled_for_labels(self.model, jit_compile=False)


@pytest.mark.long
def test_trainable_changed_in_mid_run():
  _pruned(_planned(), _Freeze())


# Devices. Each in a process of its own, which has two.

_DEVICES = """
import keras, numpy as np, tf_unilth
from tests.integration import keras_3_fit_test as test
from tests.testing import keras_3_toys
{setup}
with {scope}:
  model = test._planned()
spy = test._pruned(model, batch_size=16)
{check}
print('exact')
"""


def _on_two_devices(backend: str, **parts: str) -> None:
  parts = {'setup': '', 'check': '', **parts}
  done = subprocess.run(
    [sys.executable, '-c', _DEVICES.format(**parts)],
    capture_output=True,
    text=True,
    cwd=_ROOT,
    env={
      **os.environ,
      'KERAS_BACKEND': backend,
      'XLA_FLAGS': '--xla_force_host_platform_device_count=2',
    },
  )
  assert done.stdout.endswith('exact\n'), done.stderr


@pytest.mark.long
def test_mirrored_strategy():
  if BACKEND != 'tensorflow':
    pytest.skip("TensorFlow's")
  _on_two_devices(
    'tensorflow',
    setup="""
import tensorflow as tf
cpu = tf.config.list_physical_devices('CPU')[0]
tf.config.set_logical_device_configuration(
  cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
strategy = tf.distribute.MirroredStrategy(['CPU:0', 'CPU:1'])""",
    scope='strategy.scope()',
    check="""
for kernel in model._pruning_plan.kernels:
  one, other = kernel.variable.value.values
  assert np.array_equal(one.numpy(), other.numpy())""",
  )


@pytest.mark.long
def test_data_parallel():
  if BACKEND != 'jax':
    pytest.skip("Keras's, on JAX")
  _on_two_devices(
    'jax',
    setup="""
devices = keras.distribution.list_devices('cpu')
assert len(devices) == 2
keras.distribution.set_distribution(
  keras.distribution.DataParallel(devices=devices))""",
    scope="keras.name_scope('two')",
    check="""
kernel = model._pruning_plan.kernels[0].variable
assert len(kernel.value.sharding.device_set) == 2""",
  )

"""The models and methods that `recipes.costs.overhead` compares.

All methods train for four epochs of equal length and enter their stages at the
same steps, so that each epoch is compared with the same epoch of the dense
model.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_model_optimization as tfmot
import tf_keras as keras

import tf_unilth
from recipes.networks import registry, small

EPOCHS = 4
SPARSITY = 0.9
# The method that all others are compared with.
DENSE = 'dense'
_CLASSES = 10


@dataclasses.dataclass(frozen=True)
class Workload:
  """What is trained.

  Args:
    build: returns the model for (input_shape, classes).
    input_shape: of an image.
    batch_size: images of a step.
    block: steps that are timed at once.
  """

  build: Callable[[tuple[int, ...], int], keras.Model]
  input_shape: tuple[int, ...]
  batch_size: int
  block: int

  def data(self) -> tf.data.Dataset:
    """Returns endless batches, cached in memory."""
    random = np.random.default_rng(0)
    count = 8 * self.batch_size
    images = random.standard_normal((count, *self.input_shape), np.float32)
    labels = random.integers(0, _CLASSES, count)
    data = tf.data.Dataset.from_tensor_slices((images, labels))
    return data.batch(self.batch_size).cache().repeat().prefetch(2)


def _application(name: str) -> Callable[..., keras.Model]:
  return functools.partial(registry.application, name, keras)


WORKLOADS = {
  'lenet': Workload(
    functools.partial(small.lenet_300_100, keras), (28, 28, 1), 60, 100
  ),
  'resnet20': Workload(
    functools.partial(registry.MODELS['resnet20'], keras), (32, 32, 3), 64, 3
  ),
  'mobilenet_v2': Workload(_application('MobileNetV2'), (96, 96, 3), 16, 3),
  'resnet50': Workload(_application('ResNet50'), (64, 64, 3), 16, 2),
}


@dataclasses.dataclass(frozen=True)
class Method:
  """One way to train.

  Args:
    wrap: wraps a model for a number of steps per epoch.
    callbacks: returns what `fit` needs for it.
    stages: what it does in each epoch.
  """

  wrap: Callable[[keras.Model, int], keras.Model]
  callbacks: Callable[[], list[Any]]
  stages: tuple[str, ...]


def _with(function: Any) -> Callable[[keras.Model, int], keras.Model]:
  def wrap(model: keras.Model, steps: int) -> keras.Model:
    del steps
    return function(model, tf_unilth.IterativeSparsity(SPARSITY, rounds=1))

  return wrap


def _polynomial_decay(model: keras.Model, steps: int) -> keras.Model:
  sparsity = tfmot.sparsity.keras
  # Updates in the last steps of epochs 1 and 3, in blocks that are not timed.
  schedule = sparsity.PolynomialDecay(
    0.0, SPARSITY, steps - 1, 3 * steps - 1, frequency=2 * steps
  )
  return sparsity.prune_low_magnitude(model, schedule)


def _unified(make: Any) -> Callable[[], list[Any]]:
  return lambda: [
    make(
      patience=None, max_dense_fraction=0.25, finetune_fraction=1 / 3, verbose=0
    )
  ]


_OURS = _with(tf_unilth.prune_low_magnitude)
_TFMOTS = _with(tfmot.sparsity.keras.prune_low_magnitude)
_FOUND = ('dense stage', 'ramp', 'ramp', 'mask held')

METHODS = {
  DENSE: Method(lambda model, _: model, list, ('',) * EPOCHS),
  'tfmot': Method(
    _polynomial_decay,
    lambda: [tfmot.sparsity.keras.UpdatePruningStep()],
    ('dense stage', 'pruning', 'pruning', 'mask held'),
  ),
  "UniLTH, tfmot's wrapper": Method(
    _TFMOTS, _unified(tf_unilth.UniLTH), _FOUND
  ),
  'LTH': Method(
    _OURS,
    lambda: [tf_unilth.LTH(verbose=0)],
    ('dense stage', 'dense stage', 'mask held', 'mask held'),
  ),
  'DLTH': Method(
    _OURS,
    lambda: [tf_unilth.DLTH(verbose=0)],
    ('ramp', 'ramp', 'mask held', 'mask held'),
  ),
  'UniLTH': Method(_OURS, _unified(tf_unilth.UniLTH), _FOUND),
  'UniDLTH': Method(_OURS, _unified(tf_unilth.UniDLTH), _FOUND),
}


def model_of(
  workload: Workload, method: Method, steps: int, jit_compile: bool
) -> keras.Model:
  """Returns a compiled model for one method, the same at every call.

  Args:
    workload: which model.
    method: how to wrap it.
    steps: of an epoch.
    jit_compile: whether XLA compiles the steps.
  """
  keras.utils.set_random_seed(0)
  model = workload.build(workload.input_shape, _CLASSES)
  model = method.wrap(model, steps)
  model.compile(
    keras.optimizers.SGD(1e-4, momentum=0.9),
    keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    metrics=['accuracy'],
    jit_compile=jit_compile,
  )
  return model

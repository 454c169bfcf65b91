"""Keras 3 models to prune, and what tests read of them."""

from typing import Any

import keras
import numpy as np

import tf_unilth
from tests.testing import keras_3_toys
from tf_unilth.engines.keras3 import pruning_plan

layers = keras.layers


def schedule(target: float = 0.8, **arguments: Any) -> Any:
  """Returns an `IterativeSparsity`."""
  return tf_unilth.IterativeSparsity(target, **arguments)


def three() -> keras.Model:
  """Returns three dense layers, one of them in a model inside."""
  return keras.Sequential(
    [
      layers.Input((8,)),
      layers.Dense(8, name='first'),
      keras.Sequential([layers.Dense(8, name='inner')], name='block'),
      layers.Dense(8, name='last'),
    ]
  )


def kernels(model: keras.Model) -> list[Any]:
  """Returns the kernels of the plan of a model."""
  return pruning_plan.planned(model).kernels


def fit(
  model: keras.Model, callback: Any, x: Any = None, y: Any = None
) -> keras.Model:
  """Trains a model on made data, and returns it stripped."""
  model.compile('sgd', 'mse', jit_compile=keras_3_toys.JIT)
  if x is None:
    x = np.random.default_rng(0).normal(size=(32, 8)).astype(np.float32)
  y = x if y is None else y
  model.fit(
    x,
    y,
    batch_size=8,
    epochs=6,
    validation_data=(x, y),
    callbacks=[callback],
    verbose=0,
  )
  return tf_unilth.strip_pruning(model)


def zeros(model: keras.Model) -> list[int]:
  """Returns the number of zeros of each kernel."""
  return [row.zeros for row in tf_unilth.sparsity_summary(model).rows]


def files(caught: Any) -> list[str]:
  """Returns the files to which the warnings point, without Keras's own."""
  return [w.filename for w in caught if w.category is UserWarning]


class Matrix(layers.Layer):
  """A user's layer that does not declare its matrix."""

  def build(self, input_shape):
    self.matrix = self.add_weight(shape=(input_shape[-1], 4), name='matrix')

  def compute_output_shape(self, input_shape):
    return (*input_shape[:-1], 4)

  def call(self, inputs):
    return inputs @ self.matrix


class Declared(Matrix):
  """A user's layer that declares one of its two matrices."""

  def build(self, input_shape):
    super().build(input_shape)
    self.dense = self.add_weight(shape=(4, 4), name='dense')

  def get_prunable_weights(self):
    return [self.matrix]


class Biased(layers.Layer):
  """Only what stays dense without a warning."""

  def build(self, input_shape):
    self.scale = self.add_weight(shape=(input_shape[-1],), name='scale')
    self.bias = self.add_weight(shape=(1, input_shape[-1]), name='my_bias')
    self.fixed = self.add_weight(
      shape=(3, 3), name='statistics', trainable=False
    )

  def call(self, inputs):
    return inputs * self.scale + self.bias


class Subclassed(keras.Model):
  """A subclassed model of two dense layers."""

  def __init__(self):
    super().__init__()
    self.first = layers.Dense(8, name='first')
    self.last = layers.Dense(8, name='last')

  def call(self, inputs):
    return self.last(keras.ops.relu(self.first(inputs)))

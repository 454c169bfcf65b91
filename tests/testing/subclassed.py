"""Subclassed models that wrap their own layers."""

import tf_keras as keras

import tf_unilth

layers = keras.layers
prune_low_magnitude = tf_unilth.prune_low_magnitude


class Block(layers.Layer):
  """A custom layer with a wrapped one inside."""

  def __init__(self, schedule):
    super().__init__()
    self.dense = prune_low_magnitude(layers.Dense(8), schedule)

  def call(self, inputs):
    return self.dense(inputs)


class Subclassed(keras.Model):
  def __init__(self, schedule):
    super().__init__()
    self.flatten = layers.Flatten()
    self.one = prune_low_magnitude(layers.Dense(8), schedule)
    self.some = [prune_low_magnitude(layers.Dense(8), schedule)]
    self.named = {'a': prune_low_magnitude(layers.Dense(8), schedule)}
    self.network = prune_low_magnitude(
      keras.Sequential([layers.Dense(8, input_shape=(8,))]), schedule
    )
    self.block = Block(schedule)
    self.head = layers.Dense(2)

  def call(self, inputs):
    x = self.one(self.flatten(inputs))
    for layer in [*self.some, self.named['a'], self.network, self.block]:
      x = layer(x)
    return self.head(x)

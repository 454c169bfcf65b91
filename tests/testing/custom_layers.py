"""Custom layers of the random models."""

from typing import Any

import tensorflow as tf
import tf_keras as keras

layers = keras.layers


@keras.saving.register_keras_serializable('fuzz')
class LowRank(layers.Layer):
  """A custom layer that tells which of its weights are kernels."""

  def __init__(self, units: int, **kwargs: Any):
    super().__init__(**kwargs)
    self.units = units

  def build(self, input_shape: Any) -> None:
    self.down = self.add_weight('down', (input_shape[-1], 2))
    self.up = self.add_weight('up', (2, self.units))
    super().build(input_shape)

  def call(self, inputs: Any) -> Any:
    return tf.nn.relu(tf.matmul(tf.matmul(inputs, self.down), self.up))

  def get_prunable_weights(self) -> list[Any]:
    return [self.down, self.up]

  def get_config(self) -> dict[str, Any]:
    return {**super().get_config(), 'units': self.units}


@keras.saving.register_keras_serializable('fuzz')
class Opaque(layers.Layer):
  """A custom layer that does not tell its kernels: it stays dense."""

  def __init__(self, units: int, **kwargs: Any):
    super().__init__(**kwargs)
    self.units = units

  def build(self, input_shape: Any) -> None:
    self.matrix = self.add_weight('matrix', (input_shape[-1], self.units))
    super().build(input_shape)

  def call(self, inputs: Any, training: Any = None) -> Any:
    del training
    return tf.matmul(inputs, self.matrix)

  def get_config(self) -> dict[str, Any]:
    return {**super().get_config(), 'units': self.units}

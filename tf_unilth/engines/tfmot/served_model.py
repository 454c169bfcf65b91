"""ServedModel for tf_keras: what exports need of a built model."""

from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.python.ops.lookup_ops import LookupInterface
from tensorflow.python.trackable.resource import RestoredResource
from tf_keras.src.layers.preprocessing.index_lookup import IndexLookup

from tf_unilth.engines.served_model import Call
from tf_unilth.engines.tfmot import keras_access, model_layers

_RESOURCES = (IndexLookup, LookupInterface, RestoredResource)


class ServedModel:
  """See `engines.served_model.ServedModel`.

  Args:
    model: a built tf_keras model.
  """

  keras = keras_access.keras
  runs_in_tensorflow = True

  def __init__(self, model: keras_access.keras.Model):
    self.model = model

  @property
  def variables(self) -> list[Any]:
    """The model's variables."""
    return self.model.variables

  @property
  def trainable_variables(self) -> list[Any]:
    """Those that are trainable."""
    return self.model.trainable_variables

  @property
  def resources(self) -> list[Any]:
    """The lookup tables of the model."""
    descendants = tf.train.TrackableView(self.model).descendants()
    return [thing for thing in descendants if isinstance(thing, _RESOURCES)]

  def values(self) -> list[np.ndarray]:
    """Returns the values of the variables."""
    return [variable.numpy() for variable in self.model.variables]

  def signature(self) -> Any:
    """Returns the specs of the inputs."""
    spec = self.model.save_spec()
    if spec is None or not spec[0]:
      raise ValueError(
        f'model {self.model.name!r} was never called, so its inputs are '
        'unknown: it must be called once on a batch.'
      )
    return spec[0][0]

  def call(self, inputs: Any) -> Any:
    """Returns the outputs in inference mode."""
    # Keras's `export` does not set `training`, so its augmentation layers stay
    # active in the served model.
    return self.model(inputs, training=False)

  def compute(self, inputs: Any) -> Any:
    """Returns what the model computes in inference mode."""
    return self.call(inputs)

  def flatten_layers(self, layer: Any) -> list[Any]:
    """Returns all layers inside of a layer or model."""
    return model_layers.flatten_layers(layer)

  def is_network(self, layer: Any) -> bool:
    """Returns whether a layer is a Sequential or functional model."""
    return model_layers.is_network(layer)

  def network_calls(self, layer: Any) -> list[Call] | None:
    """Returns the calls of the layers of a built network."""
    return model_layers.network_calls(layer)

"""What is checked of a tf_keras model before it is exported."""

from tf_unilth.engines.tfmot import model_layers
from tf_unilth.engines.tfmot.keras_access import keras


def is_prepared(model: keras.Model) -> bool:
  """Returns whether a model has wrapped layers."""
  return model_layers.has_wrappers(model)


def check_backend(function: str) -> None:
  """Does nothing: tf_keras always computes with TensorFlow."""

"""Chooses the engine of a model by its class; imports no framework."""

from typing import Any

from tf_unilth.engines.engine import Engine


def check_model(model: Any) -> None:
  """Raises a `TypeError` if no engine supports a model in its `fit`.

  Args:
    model: the model that Keras passes to a callback.
  """
  from tf_unilth.engines.tfmot import keras_3_errors
  from tf_unilth.engines.tfmot.keras_access import keras

  keras_3_errors.check_keras(model, 'model', keras.Model)
  keras_3_errors.check_callbacks_of_fit()


def engine_for(model: Any, callback: Any) -> Engine:
  """Returns the engine of a model for the `fit` that begins.

  Args:
    model: a compiled model with wrapped layers.
    callback: the ticket callback of the `fit`.

  Raises:
    ValueError: a ticket callback cannot prune the model in this `fit`.
  """
  from tf_unilth.engines.tfmot.engine import TfmotEngine

  return TfmotEngine(model, callback)

"""Chooses the engine of a model by its class; imports no framework.

Only the engine that is chosen is imported.
"""

import importlib
from typing import Any

from tf_unilth.engines import which_keras
from tf_unilth.engines.engine import Engine


def check_keras(thing: Any, argument: str, kind: str) -> None:
  """Raises a `TypeError` if no engine prunes objects of a class.

  Args:
    thing: the value of the argument.
    argument: its name.
    kind: the name of the Keras class that it must be of.
  """
  if which_keras.package_of(thing) != 'tf_keras':
    raise which_keras.wrong_keras_error(thing, argument, kind)


def tfmot_module(name: str) -> Any:
  """Returns a module of the engine for tf_keras models.

  Args:
    name: the name of the module in `engines/tfmot`.
  """
  return importlib.import_module(f'tf_unilth.engines.tfmot.{name}')


def check_model(model: Any) -> None:
  """Raises a `TypeError` if no engine supports a model in its `fit`.

  Args:
    model: the model that Keras passes to a callback.
  """
  check_keras(model, 'model', 'Model')
  tfmot_module('keras_3_errors').check_callbacks_of_fit()


def engine_for(model: Any, callback: Any) -> Engine:
  """Returns the engine of a model for the `fit` that begins.

  Args:
    model: a compiled model with wrapped layers.
    callback: the ticket callback of the `fit`.

  Raises:
    ValueError: a ticket callback cannot prune the model in this `fit`.
  """
  return tfmot_module('engine').TfmotEngine(model, callback)

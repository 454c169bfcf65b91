"""Chooses the engine of a model by its class; imports no framework.

Only the engine that is chosen is imported.
"""

import importlib
from typing import Any

from tf_unilth.engines import which_keras
from tf_unilth.engines.engine import Engine

_ENGINES = {'tf_keras': 'tfmot', 'keras': 'keras3'}


def check_keras(thing: Any, argument: str, kind: str) -> None:
  """Raises a `TypeError` if no engine prunes objects of a class.

  Args:
    thing: the value of the argument.
    argument: its name.
    kind: the name of the Keras class that it must be of.
  """
  if which_keras.package_of(thing) not in _ENGINES:
    raise TypeError(
      f'{argument} must be a keras.{kind} or a tf_keras.{kind}, but it is a '
      f'{type(thing).__module__}.{type(thing).__qualname__}.'
    )


def module_for(thing: Any, argument: str, kind: str, name: str) -> Any:
  """Returns a module of the engine for an object.

  Args:
    thing: the value of the argument.
    argument: its name, for the message.
    kind: the name of the Keras class that it must be of.
    name: the name of the module in `engines/tfmot` and `engines/keras3`.

  Raises:
    TypeError: no engine supports the object.
  """
  check_keras(thing, argument, kind)
  package = which_keras.package_of(thing)
  assert package is not None
  engine = _ENGINES[package]
  return importlib.import_module(f'tf_unilth.engines.{engine}.{name}')


def check_model(model: Any) -> None:
  """Raises a `TypeError` if no engine supports a model in its `fit`.

  Args:
    model: the model that Keras passes to a callback.
  """
  check_keras(model, 'model', 'Model')
  if which_keras.package_of(model) == 'tf_keras':
    errors = module_for(model, 'model', 'Model', 'keras_3_errors')
    errors.check_callbacks_of_fit()


def engine_for(model: Any, callback: Any) -> Engine:
  """Returns the engine of a model for the `fit` that begins.

  Args:
    model: a compiled model that was passed to `prune_low_magnitude`.
    callback: the ticket callback of the `fit`.

  Raises:
    ValueError: a ticket callback cannot prune the model in this `fit`.
  """
  module = module_for(model, 'model', 'Model', 'engine')
  return module.create_engine(model, callback)

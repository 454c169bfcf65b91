"""Keras's export archive, which can leave the values of variables to others."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf
import tf_keras as keras

from tf_unilth.engines.tfmot.keras_access import handle


def call_without_grappler(function: Callable[[], None]) -> None:
  """Lets a graph call a function that TensorFlow does not rewrite.

  What runs once, when it is loaded, is run sooner than it is optimized. The
  function keeps to this wherever it is loaded.

  Args:
    function: of a graph that is being traced.
  """
  key = 'disable_meta_optimizer'
  before = tf.config.optimizer.get_experimental_options().get(key, False)
  # It is noted in the graph how to optimize what is called.
  tf.config.optimizer.set_experimental_options({key: True})
  try:
    tf.function(
      function, autograph=False, experimental_attributes={'_noinline': True}
    )()
  finally:
    tf.config.optimizer.set_experimental_options({key: before})


def as_concrete(function: Any) -> Any:
  """Returns a `tf.function` without arguments as its one concrete function.

  What is saved so is called by a loader without being traced again.
  """
  concrete = function.get_concrete_function()
  # What saves the initializer of a resource asks it for itself.
  concrete.get_concrete_function = lambda: concrete
  return concrete


class Untracked:
  """Holds what an object that tracks its attributes should not track."""

  def __init__(self, value: Any):
    self.value = value


class WithoutValue(tf.__internal__.tracking.Trackable):
  """A variable that is in a SavedModel, but without its value.

  Loading makes the variable; something else in the SavedModel must assign it.
  """

  _should_act_as_resource_variable = True

  def __init__(self, variable: Any):
    self._export_to_saved_model_graph = variable._export_to_saved_model_graph
    self._write_object_proto = variable._write_object_proto


class ExportArchive(keras.export.ExportArchive):
  """Keras's archive, which can leave the values of variables to others."""

  def used_variables(self) -> list[Any]:
    """Returns all variables that the endpoints use, each once."""
    trainable, others = self._get_variables_used_by_endpoints()
    return list({id(handle(v)): v for v in [*trainable, *others]}.values())

  def save_without_value(self, variables: list[Any]) -> None:
    """Keeps the values of these variables out of the SavedModel."""
    self._without = Untracked(
      {id(handle(v)): WithoutValue(v) for v in variables}
    )
    for name in ('variables', 'trainable_variables', 'non_trainable_variables'):
      setattr(self, name, self._replaced(getattr(self, name)))

  def _replaced(self, variables: Any) -> list[Any]:
    return [self._without.value.get(id(handle(v)), v) for v in variables]

  def _filter_and_track_resources(self) -> None:
    super()._filter_and_track_resources()
    if hasattr(self, '_without'):
      variables = self._replaced(self._all_variables)  # type: ignore[has-type]
      self._all_variables = variables

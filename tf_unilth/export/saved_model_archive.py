"""Keras's export archive, extended to omit the values of variables."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf
import tf_keras as keras

from tf_unilth.engines.tfmot.keras_access import handle


def call_without_grappler(function: Callable[[], None]) -> None:
  """Calls a function in a graph and excludes it from graph optimization.

  A function that runs once, at load time, takes less time to run than to
  optimize. The setting is saved with the function.

  Args:
    function: a function without arguments, called while a graph is traced.
  """
  key = 'disable_meta_optimizer'
  before = tf.config.optimizer.get_experimental_options().get(key, False)
  # The call stores the current optimizer options in the graph.
  tf.config.optimizer.set_experimental_options({key: True})
  try:
    tf.function(
      function, autograph=False, experimental_attributes={'_noinline': True}
    )()
  finally:
    tf.config.optimizer.set_experimental_options({key: before})


def as_concrete(function: Any) -> Any:
  """Returns the only concrete function of a `tf.function` without arguments.

  A saved concrete function is not traced again when it is loaded.

  Args:
    function: a `tf.function` without arguments.
  """
  concrete = function.get_concrete_function()
  # TensorFlow calls this method when it saves the initializer of a resource.
  concrete.get_concrete_function = lambda: concrete
  return concrete


class Untracked:
  """Hides a value from objects that track and save their attributes.

  Args:
    value: any object.
  """

  def __init__(self, value: Any):
    self.value = value


class WithoutValue(tf.__internal__.tracking.Trackable):
  """A variable that a SavedModel stores without its value.

  Loading creates the variable. Another object in the SavedModel must assign it.

  Args:
    variable: the variable to save.
  """

  _should_act_as_resource_variable = True

  def __init__(self, variable: Any):
    self._export_to_saved_model_graph = variable._export_to_saved_model_graph
    self._write_object_proto = variable._write_object_proto


class ExportArchive(keras.export.ExportArchive):
  """Keras's export archive, extended to omit the values of variables."""

  def __init__(self) -> None:
    super().__init__()
    self._without_values = Untracked({})

  def used_variables(self) -> list[Any]:
    """Returns all variables that the endpoints use, without duplicates."""
    trainable, others = self._get_variables_used_by_endpoints()
    return list({id(handle(v)): v for v in [*trainable, *others]}.values())

  def save_without_value(self, variables: list[Any]) -> None:
    """Omits the values of these variables from the SavedModel.

    Args:
      variables: variables that the endpoints use.
    """
    self._without_values = Untracked(
      {id(handle(v)): WithoutValue(v) for v in variables}
    )
    for name in ('variables', 'trainable_variables', 'non_trainable_variables'):
      setattr(self, name, self._replaced(getattr(self, name)))

  def _replaced(self, variables: Any) -> list[Any]:
    replacements = self._without_values.value
    return [replacements.get(id(handle(v)), v) for v in variables]

  def _filter_and_track_resources(self) -> None:
    super()._filter_and_track_resources()
    if self._without_values.value:
      variables = self._replaced(self._all_variables)  # type: ignore[has-type]
      self._all_variables = variables

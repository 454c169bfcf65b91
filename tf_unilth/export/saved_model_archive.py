"""What a SavedModel is written from; values of variables can be omitted."""

import itertools
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from tf_unilth.engines.served_model import ServedModel
from tf_unilth.export import file_errors, quiet


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


class ExportArchive(tf.__internal__.tracking.AutoTrackable):
  """The content of a SavedModel, for models of either Keras.

  It has what the archives of both Kerases have, except that values of variables
  can be omitted.

  Args:
    model: the model, whose variables and lookup tables are saved.
  """

  def __init__(self, model: ServedModel):
    super().__init__()
    self.variables = list(model.variables)
    self.trainable_variables = list(model.trainable_variables)
    trainable = {id(handle(v)) for v in self.trainable_variables}
    self.non_trainable_variables = [
      v for v in self.variables if id(handle(v)) not in trainable
    ]
    # The tables, under the name that Keras gives them.
    self._misc_assets = list(model.resources)
    self._signatures = Untracked({})
    self._without_values = Untracked({})

  def add_endpoint(
    self, name: str, function: Any, input_signature: Any = None
  ) -> None:
    """Adds a function to serve, which becomes an attribute.

    Args:
      name: its name.
      function: a `tf.function` with an input signature; any function if
        `input_signature` is given.
      input_signature: the specs of the arguments.
    """
    signature = function
    if input_signature is None:
      signature = function.get_concrete_function()
    else:
      signature = function = tf.function(
        function, input_signature=input_signature
      )
    setattr(self, name, function)
    self._signatures.value[name] = signature

  def used_variables(self) -> list[Any]:
    """Returns all variables that the endpoints use, without duplicates."""
    functions = [
      function.get_concrete_function()
      if hasattr(function, 'get_concrete_function')
      else function
      for function in self._signatures.value.values()
    ]
    used = itertools.chain.from_iterable(f.variables for f in functions)
    return list({id(handle(v)): v for v in used}.values())

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

  def write_out(self, path: str) -> None:
    """Writes the SavedModel.

    Args:
      path: a folder that does not exist.

    Raises:
      OSError: it cannot be written.
    """
    # Those of further endpoints may not be the model's.
    self._all_variables = self._replaced(self.used_variables())
    signatures = dict(self._signatures.value)
    first = next(iter(signatures.values()))
    with file_errors.as_os_errors(), quiet.without_info():
      tf.saved_model.save(
        self, path, signatures={'serving_default': first, **signatures}
      )


def handle(variable: Any) -> tf.Tensor:
  """Returns a variable's handle; of a mirrored variable, its first copy's."""
  return getattr(variable, '_primary', variable).handle

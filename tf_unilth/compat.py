"""The one Keras that the library uses, and what it must borrow from its hosts.

tfmot builds on `tf_keras` (Keras 2) whatever is imported first, so everything
here does too. What else is not public is touched in `pruned_layers.py` and
`wrapper.py` (tfmot), `prunable.py` (the kernels of attention), `optimizers.py`
and `train_step.py` (one attribute each of Keras's), `random_state.py` (Keras's
generators) and `data_position.py` (Keras's data handler).
"""

import contextlib
import functools
import inspect
import random
import sys
import types
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
import tensorflow_model_optimization as tfmot
import tf_keras as keras
from tensorflow.python.eager import context
from tensorflow_model_optimization.python.core.keras import utils
from tensorflow_model_optimization.python.core.sparsity.keras import (
  pruning_impl,
  pruning_wrapper,
)

PruneLowMagnitude = pruning_wrapper.PruneLowMagnitude
Pruning = pruning_impl.Pruning
smart_cond = utils.smart_cond
PruningSchedule = tfmot.sparsity.keras.PruningSchedule
RandomGenerator = keras.src.backend.RandomGenerator
PythonState = tf.train.experimental.PythonState

register = keras.saving.register_keras_serializable(package='tf_unilth')
# Keras's own list of layers to load lacks it, so that no file of it loads.
keras.saving.get_custom_objects().setdefault(
  'SpectralNormalization', keras.layers.SpectralNormalization
)


def registered_config(thing: Any, config: dict[str, Any]) -> dict[str, Any]:
  """Returns tfmot's nested config under the *registered* class name.

  With the bare class name, as tfmot writes it, Keras reloads the schedule as
  a string, without an error.
  """
  name = keras.saving.get_registered_name(type(thing))
  return {'class_name': name, 'config': config}


def check_keras(thing: Any, argument: str, kind: type) -> None:
  """Raises a `TypeError` that helps if `thing` is not a tf_keras `kind`."""
  if isinstance(thing, kind):
    return
  cls = type(thing)
  message = (
    f'{argument} must be a tf_keras.{kind.__name__}, but it is a '
    f'{cls.__module__}.{cls.__qualname__}.'
  )
  if is_keras_3(thing):
    message += f' That is Keras 3; tfmot works with tf_keras alone. {rebuild(kind)}'
  raise TypeError(message)


def is_keras_3(thing: Any) -> bool:
  """Returns whether something is an object of Keras 3, or of its subclass."""
  return any(
    base.__module__.split('.')[0] == 'keras' for base in type(thing).__mro__
  )


def rebuild(kind: type) -> str:
  """Returns how to come by an object of tf_keras in place of one of Keras 3."""
  words = 'with tf_keras: `import tf_keras as keras` in place of `import keras`'
  if issubclass(kind, keras.layers.Layer):
    weights = '`new_model.set_weights(keras3_model.get_weights())`'
    return f'Build it {words}, then {weights}.'
  return f'Make it {words}.'


def check_callbacks_of_fit() -> None:
  """Raises a `TypeError` that helps for callbacks of Keras 3.

  For the `set_model` of a callback: Keras calls it before it looks at what
  its list holds, and fails on those of Keras 3 without a word of what they are.
  """
  frame = inspect.currentframe()
  while frame is not None:
    is_fit = frame.f_code.co_name == 'fit'
    given = frame.f_locals.get('callbacks') if is_fit else None
    if given is not None:
      for callback in tf.nest.flatten(getattr(given, 'callbacks', given)):
        if is_keras_3(callback):
          check_keras(callback, 'callbacks', keras.callbacks.Callback)
    frame = frame.f_back


def check_when_compiled(model: keras.Model) -> None:
  """Lets a model's `compile` raise a `TypeError` that helps for Keras 3.

  Keras itself cannot interpret such an optimizer, and fails on such a metric
  in the first step. It is told to this one object; no class is changed.
  """
  # A method, which a copy of the model gets for itself.
  model.compile = types.MethodType(_compile_checked, model)


@functools.wraps(keras.Model.compile)
def _compile_checked(model: keras.Model, *args: Any, **kwargs: Any) -> None:
  plain = type(model).compile
  given = inspect.signature(plain).bind(model, *args, **kwargs).arguments
  for name, kind in (
    ('optimizer', keras.optimizers.Optimizer),
    ('metrics', keras.metrics.Metric),
    ('weighted_metrics', keras.metrics.Metric),
  ):
    for thing in tf.nest.flatten(given.get(name)):
      if is_keras_3(thing):
        check_keras(thing, name, kind)
  plain(model, *args, **kwargs)


def _running_fits() -> Iterator[dict[str, Any]]:
  """Yields the local variables of each `fit` on the call stack, inner first."""
  frame = inspect.currentframe()
  while frame is not None:
    if frame.f_code.co_name == 'fit':
      names = frame.f_locals
      if isinstance(names.get('callbacks'), keras.callbacks.CallbackList):
        yield names
    frame = frame.f_back


def fit_arguments(model: Any = None) -> dict[str, Any]:
  """Returns the arguments of the `fit` that is running, `{}` if there is none.

  Args:
    model: whose `fit` it must be; `None` for any model's.

  Keras tells a callback neither its siblings nor whether there is validation
  data. Both decide whether a run can work, and a user should hear of it before
  the first epoch, not after the last. So they are read off the call stack; a
  caller copes with `{}` (a custom loop that calls the hooks itself).
  """
  names = next(_running_fits(), None)
  if names is None or (model is not None and names.get('self') is not model):
    return {}
  return {
    'callbacks': names['callbacks'].callbacks,
    'callback_list': names['callbacks'],
    'has_validation': names.get('validation_data') is not None,
    'validation_freq': names.get('validation_freq', 1),
    'data_handler': names.get('data_handler'),
    'validation_inputs': names.get('val_x'),
    'batch_size': names.get('batch_size'),
    'shuffle': names.get('shuffle'),
    'class_weight': names.get('class_weight'),
    'validation_parts': tuple(
      names.get(f'val_{part}') for part in ('x', 'y', 'sample_weight')
    ),
  }


def is_running(data_handler: Any) -> bool:
  """Returns whether the `fit` of a data handler is on the stack of a thread.

  Keras tells nobody that a `fit` died. Its objects do not tell either, since a
  traceback may keep them alive.

  Args:
    data_handler: Keras's, of the `fit`; `None` is of none.
  """
  if data_handler is None:
    return False
  for frame in sys._current_frames().values():
    found: Any = frame
    while found is not None:
      if (
        found.f_code.co_name == 'fit'
        and found.f_locals.get('data_handler') is data_handler
      ):
        return True
      found = found.f_back
  return False


def is_training(*by: str) -> bool:
  """Returns whether a `fit` or `train_on_batch` of Keras has called us.

  Args:
    *by: which of them counts; by default both do.
  """
  return _nearest_training(by or ('fit', 'train_on_batch')) is not None


def is_innermost(model: keras.Model, data_handler: Any) -> bool:
  """Returns whether what trains a model now is the `fit` of a data handler.

  Not so in a `fit` or `train_on_batch` that a callback of it has called.
  """
  training = _nearest_training()
  return training is not None and (
    training['self'] is model and training.get('data_handler') is data_handler
  )


def _nearest_training(
  by: Sequence[str] = ('fit', 'train_on_batch'),
) -> dict[str, Any] | None:
  frame = inspect.currentframe()
  while frame is not None:
    if frame.f_code.co_name in by:
      names = frame.f_locals
      if isinstance(names.get('self'), keras.Model):
        return names
    frame = frame.f_back
  return None


def batches_of_fit() -> Iterator[list[np.ndarray]]:
  """Yields the arrays of each batch of an epoch of the `fit` that is running.

  None, if they cannot be read twice.
  """
  handler = fit_arguments().get('data_handler')
  if handler is None or reads_generator(handler):
    return
  if isinstance(handler._dataset, tf.data.Dataset):
    for batch in handler._dataset.take(handler._inferred_steps or -1):
      yield [np.asarray(tensor) for tensor in tf.nest.flatten(batch)]


def shuffles_arrays(data_handler: Any) -> bool:
  """Returns whether a `fit` draws the order of its arrays."""
  return bool(getattr(data_handler._adapter, '_shuffle', False))


def reads_generator(data_handler: Any) -> bool:
  """Returns whether a `fit` reads a Python generator or a Sequence."""
  adapter = data_handler._adapter
  return isinstance(adapter, keras.src.engine.data_adapter.GeneratorDataAdapter)


def eager_random() -> random.Random | None:
  """Returns where TensorFlow draws the seeds of eager operations from.

  `None` where no seed was set.
  """
  return getattr(context.context(), '_rng', None)


def traced_graphs(model: keras.Model) -> list[Any]:
  """Returns what was traced of a model's train function, as GraphDefs."""
  function = getattr(model, 'train_tf_function', None)
  if function is None:
    return []
  return [
    traced.graph.as_graph_def()
    for traced in function._list_all_concrete_functions()
  ]


def trace_train_step(model: keras.Model, iterator: Any) -> None:
  """Lets Keras make the metrics of a model, as its first step would.

  Args:
    model: a compiled model.
    iterator: over its batches; none is read.
  """
  if model.run_eagerly:
    trained = tf.function(lambda batches: model.train_step(next(batches)))
  else:
    trained = model.train_tf_function
  trained.get_concrete_function(iterator)


def steps_per_execution(model: keras.Model) -> int:
  """Returns how many steps the model runs between two batch hooks."""
  steps = getattr(model, '_steps_per_execution', None)
  return 1 if steps is None else int(steps.numpy())


def compile_arguments(model: keras.Model) -> dict[str, Any]:
  """Returns what a model was compiled with, the objects themselves."""
  return dict(model._compile_config.config)


def flatten_layers(
  model: keras.layers.Layer, include_self: bool = False
) -> list[keras.layers.Layer]:
  """Returns all layers, in order, those inside of models and layers too.

  tfmot's own collector looks inside of models only and misses a wrapper that
  is an attribute of a custom layer.
  """
  return list(model._flatten_layers(include_self=include_self))


def pruning_schedules(model: keras.Model) -> list[Any]:
  """Returns the schedules of a model's wrapped layers, in order."""
  layers = flatten_layers(model)
  schedules = [getattr(layer, 'pruning_schedule', None) for layer in layers]
  return list(dict.fromkeys(s for s in schedules if s is not None))


def is_network(layer: keras.layers.Layer) -> bool:
  """Returns whether it is a Sequential or functional model, not subclassed."""
  return isinstance(layer, keras.Sequential) or getattr(
    layer, '_is_graph_network', False
  )


class Call(NamedTuple):
  """The call of a layer in a functional model, with symbolic tensors."""

  layer: keras.layers.Layer
  inputs: list[Any]
  outputs: list[Any]


def network_calls(network: keras.layers.Layer) -> list[Call] | None:
  """Returns the calls of a built network's layers, in order.

  `None` for all else, such as subclassed models.
  """
  if not getattr(network, '_is_graph_network', False):
    return None
  depths = sorted(network._nodes_by_depth, reverse=True)
  return [
    Call(node.layer, list(node.keras_inputs), tf.nest.flatten(node.outputs))
    for depth in depths
    for node in network._nodes_by_depth[depth]
    if node.keras_inputs
  ]


def has_wrappers(layer: keras.layers.Layer) -> bool:
  """Returns whether there is a wrapped layer inside."""
  return any(isinstance(i, PruneLowMagnitude) for i in flatten_layers(layer))


@contextlib.contextmanager
def without_fused_recurrence(model: keras.Model) -> Iterator[None]:
  """Lets LSTM and GRU layers be traced as loops over their cells for a while.

  TFLite turns what Keras traces otherwise into an operation that goes on from
  the state in which the last call left it, so that from the second call on the
  outputs are wrong.
  """
  name = '_could_use_gpu_kernel'
  layers = [i for i in flatten_layers(model) if getattr(i, name, False)]
  for layer in layers:
    setattr(layer, name, False)
  try:
    yield
  finally:
    for layer in layers:
      setattr(layer, name, True)


def handle(variable: Any) -> tf.Tensor:
  """Returns a variable's handle, of a mirrored one that of its first copy."""
  return getattr(variable, '_primary', variable).handle


def call_as_it_is(function: Callable[[], None]) -> None:
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


def traced(function: Any) -> Any:
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

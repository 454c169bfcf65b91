"""Describes a model and its compile arguments in plain values."""

import re
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from tf_unilth.engines.tfmot import keras_access, model_layers, optimizer_traits
from tf_unilth.engines.tfmot.keras_access import keras
from tf_unilth.resume import object_description


def layers(model: keras.Model) -> dict[str, Any]:
  """Describes a model and its layers, nested ones too, by number.

  Names of layers are left out, because Keras numbers all layers that a process
  creates.

  Args:
    model: a built tf_keras model.
  """
  schedules = model_layers.pruning_schedules(model)
  wrapped = {
    id(layer.layer): schedules.index(layer.pruning_schedule)
    for layer in model_layers.flatten_layers(model)
    if isinstance(layer, keras_access.PruneLowMagnitude)
  }
  return {
    number: _layer(layer, wrapped.get(id(layer)))
    for number, layer in _numbered(model)
  }


def layer_attributes(model: keras.Model) -> dict[str, Any]:
  """Returns the plain attributes of layers of user classes, by number.

  Args:
    model: a built tf_keras model.
  """
  found = {
    number: {
      name: value
      for name, value in object_description.attributes(layer).items()
      if name not in _layer(layer, None)
    }
    for number, layer in _numbered(model)
    if object_description.is_user_class(type(layer))
  }
  return {number: values for number, values in found.items() if values}


def _numbered(model: keras.Model) -> list[tuple[str, Any]]:
  """Returns a model and its layers; a wrapped layer replaces its wrapper."""
  found = [
    layer
    for layer in (model, *model_layers.flatten_layers(model))
    if not isinstance(layer, keras_access.PruneLowMagnitude)
  ]
  return [(str(number), layer) for number, layer in enumerate(found)]


def _layer(layer: Any, schedule: int | None) -> dict[str, Any]:
  found: dict[str, Any] = {'class': type(layer).__qualname__}
  if schedule is not None:
    found['schedule'] = schedule
  if isinstance(layer, keras.Model):
    return {**found, 'trainable': layer.trainable, **_network(layer)}
  return {**found, **object_description.config(layer)}


def _network(model: keras.Model) -> dict[str, Any]:
  if model_layers.is_network(model):
    return {'connections': _connections(model)}
  if type(model).get_config is keras.Model.get_config:
    return {}  # Keras's method returns only the arguments of `__init__`.
  return object_description.config(model)


def _connections(model: keras.Model) -> Any:
  """Returns the inputs of each layer, with layers given by number.

  Other arguments of the layers' calls are included.
  """
  if not getattr(model, '_is_graph_network', False):
    return None
  try:
    with object_description.quiet():
      config = keras.src.engine.functional.get_network_config(
        model, serialize_layer_fn=lambda layer: {}
      )
  except Exception:  # A layer can be called with any object.
    return None
  numbers = {layer.name: f'#{i}' for i, layer in enumerate(model.layers)}
  found = {
    'inputs': config['input_layers'],
    'outputs': config['output_layers'],
    **{
      str(number): layer['inbound_nodes']
      for number, layer in enumerate(config['layers'])
    },
  }
  return object_description.describe(_renamed(found, numbers))


def _renamed(value: Any, numbers: Mapping[str, str]) -> Any:
  if isinstance(value, str):
    return numbers.get(value, value)
  if isinstance(value, Mapping):
    return {key: _renamed(item, numbers) for key, item in value.items()}
  if isinstance(value, list | tuple):
    return [_renamed(item, numbers) for item in value]
  return value


def loss(model: keras.Model) -> dict[str, Any]:
  """Describes the losses that a model was compiled with, and their weights.

  Args:
    model: a compiled tf_keras model.
  """
  compiled = _compiled(model)
  return {
    name: object_description.describe(compiled.get(name))
    for name in ('loss', 'loss_weights')
  }


def _compiled(model: keras.Model) -> dict[str, Any]:
  try:
    return keras_access.compile_arguments(model)
  except AttributeError:  # The user has overridden `compile`.
    return {}


# Metrics that callbacks monitor.


def monitored(
  model: keras.Model, callback: Any
) -> tuple[str | None, Any | None]:
  """Describes the metric that a callback monitors.

  Args:
    model: a compiled model.
    callback: a callback, with or without an attribute `monitor`.

  Returns:
    The monitored name without the number that Keras may have added, and the
    description of its metric; `None` for what the callback or model lacks.
  """
  name = getattr(callback, 'monitor', None)
  if not isinstance(name, str):
    return None, None
  for metric in _metrics(model):
    own = _log_name(metric)
    if own and re.fullmatch(rf'(.*_)?{re.escape(own)}', name):
      plain = name.removesuffix(own) + _without_number(metric, own)
      return plain, object_description.describe(metric)
  return name, None


def _metrics(model: keras.Model) -> list[Any]:
  compiled = _compiled(model)
  given = compiled.get('metrics'), compiled.get('weighted_metrics')
  flat = [metric for metric in tf.nest.flatten(given) if metric is not None]
  # The longest name first, because `accuracy` also ends `top_accuracy`.
  return sorted(flat, key=lambda metric: -len(_log_name(metric) or ''))


def _log_name(metric: Any) -> str | None:
  if isinstance(metric, str):
    return metric
  name = getattr(metric, 'name', None) or getattr(metric, '__name__', None)
  return name if isinstance(name, str) else None


def _without_number(metric: Any, name: str) -> str:
  kind = re.sub('(?<=[a-z0-9])(?=[A-Z])', '_', type(metric).__name__).lower()
  return kind if re.fullmatch(rf'{kind}_\d+', name) else name


# Optimizers.


def optimizer(instance: Any) -> dict[str, Any]:
  """Describes an optimizer's class and settings.

  A learning rate is included only if it is a schedule.

  Args:
    instance: an optimizer, in a loss scale optimizer or not.
  """
  inner = optimizer_traits.inner(instance)
  config: dict[str, Any] = {
    name: value
    for name, value in object_description.raw_config(inner).items()
    if isinstance(value, bool | int | float | str)
    and name not in ('learning_rate', 'name')
  }
  schedule = optimizer_traits.learning_rate_schedule(instance)
  if schedule is not None:
    config['learning_rate'] = learning_rate_schedule(schedule)
  return {'class': type(inner).__name__, **config}


def learning_rate_schedule(schedule: Any) -> dict[str, Any]:
  """Describes a learning-rate schedule's class and settings.

  Args:
    schedule: a schedule, with or without `get_config`.
  """
  return {
    'class': type(schedule).__name__,
    **(
      object_description.raw_config(schedule)
      or object_description.attributes(schedule, private=True)
    ),
  }


def optimizer_attributes(instance: Any) -> dict[str, Any]:
  """Returns settings of an optimizer that `optimizer` lacks.

  Those are numbers and attributes that `get_config` does not return as plain
  values.

  Args:
    instance: an optimizer, in a loss scale optimizer or not.
  """
  inner = optimizer_traits.inner(instance)
  schedule = optimizer_traits.learning_rate_schedule(instance)
  known = optimizer(instance)
  found = {
    **object_description.attributes(inner),
    **{
      name: value.item()
      for name, value in object_description.raw_config(inner).items()
      if hasattr(value, 'item') and getattr(value, 'size', 0) == 1
    },
    'schedule': object_description.raw_config(schedule)
    and object_description.attributes(schedule, private=True),
    'loss scale': {}
    if inner is instance
    else object_description.raw_config(instance),
  }
  left_out = (*known, 'learning_rate', 'lr', 'inner_optimizer')
  return {
    name: value
    for name, value in object_description.describe(found).items()
    if value and name not in left_out
  }


def learning_rate(instance: Any) -> float | None:
  """Returns the current learning rate of an optimizer.

  Args:
    instance: an optimizer, in a loss scale optimizer or not.

  Returns:
    The rate, `None` if a schedule sets it or it cannot be read.
  """
  if optimizer_traits.learning_rate_schedule(instance) is not None:
    return None
  try:
    rate = optimizer_traits.inner(instance).learning_rate
    number = float(tf.convert_to_tensor(rate() if callable(rate) else rate))
    return float(f'{number:.7g}')  # The value given, before it became float32.
  except Exception:  # A user's class need not have a learning rate.
    return None

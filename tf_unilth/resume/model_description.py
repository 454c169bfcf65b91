"""Describes a model and its compile arguments in plain values."""

import re
from collections.abc import Mapping
from typing import Any

from tf_unilth.engines import which_keras
from tf_unilth.resume import object_description, plain_values, training_access
from tf_unilth.resume.training_access import TrainingAccess


def layers(model: Any) -> dict[str, Any]:
  """Describes a model and its layers, nested ones too, by number.

  Names of layers are left out, because Keras numbers all layers that a process
  creates.

  Args:
    model: a built model.
  """
  access = training_access.access(model)
  schedules = access.schedule_numbers()
  return {
    number: _layer(access, layer, schedules.get(id(layer)))
    for number, layer in _numbered(access)
  }


def layer_attributes(model: Any) -> dict[str, Any]:
  """Returns the plain attributes of layers of user classes, by number.

  Args:
    model: a built model.
  """
  access = training_access.access(model)
  found = {
    number: {
      name: value
      for name, value in object_description.attributes(layer).items()
      if name not in _layer(access, layer, None)
    }
    for number, layer in _numbered(access)
    if object_description.is_user_class(type(layer))
  }
  return {number: values for number, values in found.items() if values}


def _numbered(access: TrainingAccess) -> list[tuple[str, Any]]:
  return [(str(number), one) for number, one in enumerate(access.layers())]


def _layer(access: TrainingAccess, layer: Any, schedule: Any) -> dict[str, Any]:
  found: dict[str, Any] = {'class': type(layer).__qualname__}
  if schedule is not None:
    found['schedule'] = schedule
  if which_keras.has_base(layer, 'Model'):
    network = _network(access, layer)
    return {**found, 'trainable': layer.trainable, **network}
  return {**found, **object_description.config(layer)}


def _network(access: TrainingAccess, model: Any) -> dict[str, Any]:
  if access.is_network(model):
    return {'connections': _connections(access, model)}
  if access.has_own_config(model):
    return object_description.config(model)
  return {}


def _connections(access: TrainingAccess, model: Any) -> Any:
  """Returns the inputs of each layer, with layers given by number.

  Other arguments of the layers' calls are included.
  """
  try:
    with object_description.quiet():
      config = access.network_config(model)
  except Exception:  # A layer can be called with any object.
    return None
  if config is None:
    return None
  layers = config['layers']
  numbers = {layer['name']: f'#{i}' for i, layer in enumerate(layers)}
  found = {
    'inputs': config['input_layers'],
    'outputs': config['output_layers'],
    **{
      str(number): layer['inbound_nodes'] for number, layer in enumerate(layers)
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


def loss(model: Any) -> dict[str, Any]:
  """Describes the losses that a model was compiled with, and their weights.

  Args:
    model: a compiled model.
  """
  compiled = training_access.access(model).compiled()
  return {
    name: object_description.describe(compiled.get(name))
    for name in ('loss', 'loss_weights')
  }


# Metrics that callbacks monitor.


def monitored(model: Any, callback: Any) -> tuple[str | None, Any | None]:
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


def _metrics(model: Any) -> list[Any]:
  compiled = training_access.access(model).compiled()
  given = compiled.get('metrics'), compiled.get('weighted_metrics')
  flat = [one for one in plain_values.flatten(given) if one is not None]
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


def optimizer(access: TrainingAccess, instance: Any) -> dict[str, Any]:
  """Describes an optimizer's class and settings.

  A learning rate is included only if it is a schedule.

  Args:
    access: to the model that has the optimizer.
    instance: an optimizer, in a loss scale optimizer or not.
  """
  inner = access.inner(instance)
  config: dict[str, Any] = {
    name: value
    for name, value in object_description.raw_config(inner).items()
    if isinstance(value, bool | int | float | str)
    and name not in ('learning_rate', 'name')
  }
  schedule = access.learning_rate_schedule(instance)
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


def optimizer_attributes(
  access: TrainingAccess, instance: Any
) -> dict[str, Any]:
  """Returns settings of an optimizer that `optimizer` lacks.

  Those are numbers and attributes that `get_config` does not return as plain
  values.

  Args:
    access: to the model that has the optimizer.
    instance: an optimizer, in a loss scale optimizer or not.
  """
  inner = access.inner(instance)
  schedule = access.learning_rate_schedule(instance)
  known = optimizer(access, instance)
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


def learning_rate(access: TrainingAccess, instance: Any) -> float | None:
  """Returns the current learning rate of an optimizer.

  Args:
    access: to the model that has the optimizer.
    instance: an optimizer, in a loss scale optimizer or not.

  Returns:
    The rate, `None` if a schedule sets it or it cannot be read.
  """
  if access.learning_rate_schedule(instance) is not None:
    return None
  try:
    rate = access.inner(instance).learning_rate
    number = access.number(rate() if callable(rate) else rate)
    return float(f'{number:.7g}')  # The value given, before it became float32.
  except Exception:  # A user's class need not have a learning rate.
    return None

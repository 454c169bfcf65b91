"""strip_pruning: tfmot's, for subclassed models and custom layers too."""

from typing import Any

from tf_unilth import compat
from tf_unilth.compat import keras


def strip_pruning(model: keras.Model) -> keras.Model:
  """Takes the wrappers away; what stays is a plain sparse model.

  As tfmot's function of the same name, and for subclassed models and custom
  layers with wrapped layers inside too: there tfmot's does not look. Those are
  changed in place, since Keras cannot copy them.

  Args:
    model: a tf_keras model with wrapped layers, from tfmot's or our function.

  Returns:
    A model that shares its layers with the one given; the same one if it is
    subclassed.

  Raises:
    TypeError: not a tf_keras model.

  >>> layers = [keras.layers.Dense(2, input_shape=(3,), name='small')]
  >>> model = prune_low_magnitude(keras.Sequential(layers), FixedMask())
  >>> [layer.name for layer in strip_pruning(model).layers]
  ['small']
  """
  compat.check_keras(model, 'model', keras.Model)
  if compat.is_network(model):
    model = _strip_network(model)
  for layer in [model, *compat.flatten_layers(model)]:
    if not compat.is_network(layer):
      _unwrap_attributes(layer)
  return model


def _strip_network(layer: keras.layers.Layer) -> keras.layers.Layer:
  """Copies a network without wrappers; tfmot's fails on subclassed models."""
  if compat.is_network(layer):
    return keras.models.clone_model(layer, clone_function=_strip_network)
  if not isinstance(layer, compat.PruneLowMagnitude):
    return layer
  inner, shape = layer.layer, '_batch_input_shape'
  if hasattr(layer, shape) and not hasattr(inner, shape):
    setattr(inner, shape, getattr(layer, shape))
  return inner


def _unwrap_attributes(layer: keras.layers.Layer) -> None:
  """Puts layers in the place of wrappers in the attributes of a layer."""
  for name, value in list(vars(layer).items()):
    if name.startswith(('_self_', '_obj_')):
      continue  # Keras's own books, which follow by themselves.
    stripped = _stripped(value)
    if stripped is not value:
      setattr(layer, name, stripped)


def _stripped(value: Any) -> Any:
  """Returns the layer of a wrapper, also in lists, dicts and models."""
  if isinstance(value, compat.PruneLowMagnitude):
    return value.layer
  if isinstance(value, list | tuple):
    items = [_stripped(item) for item in value]
    same = all(a is b for a, b in zip(items, value, strict=True))
    return value if same else items
  if isinstance(value, dict):
    entries = {key: _stripped(item) for key, item in value.items()}
    return value if all(entries[k] is value[k] for k in value) else entries
  if isinstance(value, keras.Model) and compat.is_network(value):
    return _strip_network(value) if compat.has_wrappers(value) else value
  return value

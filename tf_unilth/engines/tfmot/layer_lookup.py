"""Finds the layers of a model that an argument selects."""

import difflib
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NoReturn, TypeAlias

from tf_unilth.argument_checks import format_value
from tf_unilth.engines.tfmot import keras_3_errors, keras_access
from tf_unilth.engines.tfmot.keras_access import keras

Layer: TypeAlias = keras.layers.Layer
Selector: TypeAlias = str | re.Pattern[str] | Layer | Callable[[Layer], bool]

_OTHER_SELECTORS = (
  'Compiled regular expressions and functions of a layer are allowed too.'
)


def named_layers(model: keras.Model) -> Iterator[Layer]:
  """Yields the layers of a model and of its nested models."""
  for layer in model.layers:
    yield layer
    if isinstance(layer, keras.Model):
      yield from named_layers(layer)


def unwrapped(layer: Layer) -> Layer:
  """Returns the layer inside a wrapper, or any other layer itself."""
  return (
    layer.layer if isinstance(layer, keras_access.PruneLowMagnitude) else layer
  )


def find_layers(
  model: keras.Model, selectors: Any, argument: str, wrapped: bool = False
) -> list[Layer]:
  """Returns the layers of a model that an argument selects, each once.

  Args:
    model: the model. Layers of nested models are included.
    selectors: one selector or several. A selector is a layer; the exact name
      of a layer; a compiled regular expression that is searched for in the
      names (`re.search`), as in `filters` of Keras's `Model.quantize`; or a
      function that takes a layer and returns a boolean.
    argument: the name of the argument, for error messages.
    wrapped: whether selectors may match wrapped layers, by the layer or by its
      wrapper. The result then has the layers inside.

  Raises:
    TypeError: a selector has another type.
    ValueError: a selector matches no layer, or a wrapped one where `wrapped`
      is False.

  >>> layers = [keras.layers.Dense(2, name=name) for name in ('a1', 'a2', 'b')]
  >>> model = keras.Sequential(layers)
  >>> [la.name for la in find_layers(model, [re.compile('^a'), 'b'], 'skip')]
  ['a1', 'a2', 'b']
  >>> [la.name for la in find_layers(model, lambda la: la.units == 2, 'skip')]
  ['a1', 'a2', 'b']
  """
  if is_selector(selectors):
    selectors = [selectors]
  if not isinstance(selectors, Iterable) or isinstance(selectors, bytes):
    _raise_type_error(argument, 'is', selectors)
  found: dict[Layer, None] = {}
  layers = list(dict.fromkeys(named_layers(model)))
  if wrapped:
    layers = list(
      dict.fromkeys(i for layer in layers for i in (layer, unwrapped(layer)))
    )
  for selector in selectors:
    if not is_selector(selector):
      _raise_type_error(argument, 'has', selector)
    matches = [layer for layer in layers if _matches(selector, layer)]
    if not matches:
      raise ValueError(
        f'{argument} {_describe_unmatched(selector)} {model.name!r}'
        f'{_suggestion(selector, layers)}'
      )
    for layer in matches:
      if isinstance(layer, keras_access.PruneLowMagnitude) and not wrapped:
        raise ValueError(
          f'{argument} names {layer.name!r}, which is wrapped already.'
        )
    found.update(dict.fromkeys(map(unwrapped, matches)))
  return list(found)


def is_selector(value: Any) -> bool:
  """Returns whether a value is one selector, rather than several."""
  if isinstance(value, re.Pattern):
    return isinstance(value.pattern, str)
  return is_layer_or_name(value) or _is_predicate(value)


def is_layer_or_name(selector: Any) -> bool:
  """Returns whether a selector is a layer or the name of a layer."""
  return isinstance(selector, str | Layer)


def _is_predicate(value: Any) -> bool:
  # Classes and layers of Keras 3 are callable too. A layer class would create
  # a new layer for each layer of the model.
  if isinstance(value, type | Iterable):
    return False
  return callable(value) and not hasattr(value, 'get_config')


def _raise_type_error(argument: str, verb: str, value: Any) -> NoReturn:
  if hasattr(value, 'get_config') and not isinstance(value, type):
    # The error of a Keras 3 layer says how to rebuild it.
    keras_3_errors.check_keras(value, argument, Layer)
  raise TypeError(
    f'{argument} must be layers or names of layers, but {verb} '
    f'{format_value(value)}. {_OTHER_SELECTORS}'
  )


def _matches(selector: Selector, layer: Layer) -> bool:
  if isinstance(selector, str):
    return layer.name == selector
  if isinstance(selector, keras.layers.Layer):
    return layer is selector
  if isinstance(selector, re.Pattern):
    return selector.search(layer.name) is not None
  return bool(selector(layer))


def _describe_unmatched(selector: Selector) -> str:
  """Returns the words of an error for a selector that matches no layer."""
  if isinstance(selector, re.Pattern):
    return f'has the pattern {selector.pattern!r}, which matches no layer of'
  if is_layer_or_name(selector):
    return f'names {_name(selector)!r}, which is no layer of'
  return f'has {selector!r}, which is true of no layer of'


def _suggestion(selector: Selector, layers: Iterable[Layer]) -> str:
  names = [layer.name for layer in layers]
  if not is_layer_or_name(selector):
    return f': it must match at least one of {format_value(names)}'
  similar = difflib.get_close_matches(_name(selector), names)
  return f': do you mean one of {similar}?' if similar else '.'


def _name(selector: Any) -> str:
  return selector if isinstance(selector, str) else selector.name

"""Which layers of a model an argument means: names, patterns, predicates."""

import difflib
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NoReturn, TypeAlias

from tf_unilth.argument_checks import format_value
from tf_unilth.engines.tfmot import keras_3_errors, keras_access
from tf_unilth.engines.tfmot.keras_access import keras

Layer: TypeAlias = keras.layers.Layer
Selector: TypeAlias = str | re.Pattern[str] | Layer | Callable[[Layer], bool]

_MORE = 'Compiled regular expressions and functions of a layer are allowed too.'


def named_layers(model: keras.Model) -> Iterator[Layer]:
  """Yields the layers of a model and of the models inside."""
  for layer in model.layers:
    yield layer
    if isinstance(layer, keras.Model):
      yield from named_layers(layer)


def unwrapped(layer: Layer) -> Layer:
  """Returns the layer inside of a wrapper, any other as it is."""
  return (
    layer.layer if isinstance(layer, keras_access.PruneLowMagnitude) else layer
  )


def find_layers(
  model: keras.Model, wanted: Any, argument: str, wrapped: bool = False
) -> list[Layer]:
  """Returns the layers of a model that an argument means, each once.

  Args:
    model: also the layers of the models inside are looked at.
    wanted: a selector or several: a layer; a string, which is the exact name
      of a layer; a compiled regular expression, which is looked for anywhere
      in the names (`re.search`), as `filters` of Keras's `Model.quantize` are;
      or a function that is given each layer and returns whether it is meant.
    argument: its name, for errors.
    wrapped: whether wrapped layers may be meant too, by themselves or by their
      wrappers; the layers inside are returned.

  Raises:
    TypeError: something else.
    ValueError: a selector that means no layer, or one that is wrapped already.

  >>> layers = [keras.layers.Dense(2, name=name) for name in ('a1', 'a2', 'b')]
  >>> model = keras.Sequential(layers)
  >>> [la.name for la in find_layers(model, [re.compile('^a'), 'b'], 'skip')]
  ['a1', 'a2', 'b']
  >>> [la.name for la in find_layers(model, lambda la: la.units == 2, 'skip')]
  ['a1', 'a2', 'b']
  """
  if is_selector(wanted):
    wanted = [wanted]
  if not isinstance(wanted, Iterable) or isinstance(wanted, bytes):
    _refuse(argument, 'is', wanted)
  found: dict[Layer, None] = {}
  layers = list(dict.fromkeys(named_layers(model)))
  if wrapped:
    layers = list(
      dict.fromkeys(i for layer in layers for i in (layer, unwrapped(layer)))
    )
  for selector in wanted:
    if not is_selector(selector):
      _refuse(argument, 'has', selector)
    matches = [layer for layer in layers if _means(selector, layer)]
    if not matches:
      raise ValueError(
        f'{argument} {_shown(selector)} {model.name!r}{_near(selector, layers)}'
      )
    for layer in matches:
      if isinstance(layer, keras_access.PruneLowMagnitude) and not wrapped:
        raise ValueError(
          f'{argument} names {layer.name!r}, which is wrapped already.'
        )
    found.update(dict.fromkeys(map(unwrapped, matches)))
  return list(found)


def is_selector(thing: Any) -> bool:
  """Returns whether it is one selector, not several."""
  if isinstance(thing, re.Pattern):
    return isinstance(thing.pattern, str)
  return names_one(thing) or _is_predicate(thing)


def names_one(selector: Any) -> bool:
  """Returns whether it asks for a layer by name, or is the layer."""
  return isinstance(selector, str | Layer)


def _is_predicate(thing: Any) -> bool:
  # A class is no predicate: a layer's would make a layer of each layer. Nor
  # are the layers of another Keras, which can be called as well.
  if isinstance(thing, type | Iterable):
    return False
  return callable(thing) and not hasattr(thing, 'get_config')


def _refuse(argument: str, verb: str, thing: Any) -> NoReturn:
  if hasattr(thing, 'get_config') and not isinstance(thing, type):
    # A layer of Keras 3, maybe.
    keras_3_errors.check_keras(thing, argument, Layer)
  raise TypeError(
    f'{argument} must be layers or names of layers, but {verb} '
    f'{format_value(thing)}. {_MORE}'
  )


def _means(selector: Selector, layer: Layer) -> bool:
  if isinstance(selector, str):
    return layer.name == selector
  if isinstance(selector, keras.layers.Layer):
    return layer is selector
  if isinstance(selector, re.Pattern):
    return selector.search(layer.name) is not None
  return bool(selector(layer))


def _shown(selector: Selector) -> str:
  """Returns what a message says of a selector that means nothing."""
  if isinstance(selector, re.Pattern):
    return f'has the pattern {selector.pattern!r}, which matches no layer of'
  if names_one(selector):
    return f'names {_name(selector)!r}, which is no layer of'
  return f'has {selector!r}, which is true of no layer of'


def _near(selector: Selector, layers: Iterable[Layer]) -> str:
  names = [layer.name for layer in layers]
  if not names_one(selector):
    return f': it must mean at least one of {format_value(names)}'
  near = difflib.get_close_matches(_name(selector), names)
  return f': do you mean one of {near}?' if near else '.'


def _name(selector: Any) -> str:
  return selector if isinstance(selector, str) else selector.name

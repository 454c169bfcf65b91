"""Finds the groups of channels of a tf_keras model that go together.

`find_channel_groups(model)` returns a `ChannelGroups`, whose module,
`engines/channel_units.py`, says how to use it. How it is found:

- `channel_graph.py` follows the calls of a model's layers, also in nested
  models. A layer that is called several times unites the channels of its calls.
- `channel_layers.py` has the table of the known layer types, and
  `channel_operations.py` that of TensorFlow functions. All other layers pin the
  channels that they read and make.
- `channel_trace.py` collects what is found.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np

from tf_unilth.engines.channel_ids import ChannelIds
from tf_unilth.engines.channel_units import (
  ChannelGroup,
  ChannelGroups,
  Product,
  WeightAxis,
)
from tf_unilth.engines.tfmot import channel_graph
from tf_unilth.engines.tfmot.channel_trace import ChannelTrace, TracedAxis
from tf_unilth.engines.tfmot.keras_access import keras


def find_channel_groups(model: keras.Model) -> ChannelGroups:
  """Finds the coupled groups of channels of a model.

  Args:
    model: a built Sequential or functional tf_keras model, wrapped or not.

  Raises:
    ValueError: the model is not built, is subclassed, or has a `call` of its
      own.

  >>> layers = [
  ...   keras.layers.Conv2D(8, 3, input_shape=(6, 6, 3), name='conv'),
  ...   keras.layers.Flatten(), keras.layers.Dense(2, name='head')]
  >>> found = find_channel_groups(keras.Sequential(layers))
  >>> [(group.name, group.units.size, group.reasons) for group in found.groups]
  [('conv', 8, ()), ('head', 2, ('output of the model',))]
  >>> kept = found.all_kept()
  >>> found.flops(kept)  # 2 (4 x 4 x 9 x 3 x 8 + 4 x 4 x 8 x 2)
  7424
  >>> kept[found.groups[0].units[:4]] = False
  >>> found.flops(kept)
  3712
  """
  return groups_of_trace(channel_graph.trace_model(model))


def groups_of_trace(trace: ChannelTrace) -> ChannelGroups:
  """Returns the groups of a model that was traced.

  Args:
    trace: the result of `trace_model`.
  """
  units = trace.ids.units()
  found = [_weight_axis(axis, units) for axis in trace.axes.values()]
  axes = tuple(axis for axis in found if axis.role != 'shape')
  count = int(units.max(initial=-1)) + 1
  return ChannelGroups(
    groups=_groups(axes, trace.ids.pins(), count),
    axes=axes,
    shapes=tuple(axis for axis in found if axis.role == 'shape'),
    products=tuple(
      Product(
        product.layer,
        product.factor,
        None if product.inputs is None else units[product.inputs],
        None if product.outputs is None else units[product.outputs],
      )
      for product in trace.products
    ),
    count=count,
    layers=tuple(trace.layers.values()),
  )


def _weight_axis(axis: TracedAxis, units: np.ndarray) -> WeightAxis:
  return WeightAxis(
    axis.layer, axis.weight, axis.axis, units[axis.ids], axis.role
  )


def _groups(
  axes: Iterable[WeightAxis], pins: dict[int, str], count: int
) -> tuple[ChannelGroup, ...]:
  """Returns the sets of units that are connected by the layers' outputs."""
  creators = [axis for axis in axes if axis.role == 'creates']
  links = ChannelIds()
  links.create(count)
  for axis in creators:
    links.unite(axis.units[:-1], axis.units[1:])
  numbers = links.units()
  members: dict[int, list[WeightAxis]] = {}
  for axis in creators:
    members.setdefault(int(numbers[axis.units[0]]), []).append(axis)
  names = _layer_names(axes, numbers)
  return tuple(
    _group(number, group[0].layer.name, names[number], numbers, pins)
    for number, group in members.items()
  )


def _layer_names(
  axes: Iterable[WeightAxis], numbers: np.ndarray
) -> dict[int, tuple[str, ...]]:
  """Returns the names of the layers that have weights of each group."""
  names: dict[int, dict[str, Any]] = {}
  for axis in axes:
    if axis.role != 'reads':
      for number in np.unique(numbers[axis.units]).tolist():
        names.setdefault(number, {})[axis.layer.name] = None
  return {number: tuple(found) for number, found in names.items()}


def _group(
  number: int,
  name: str,
  layers: tuple[str, ...],
  numbers: np.ndarray,
  pins: dict[int, str],
) -> ChannelGroup:
  units = np.flatnonzero(numbers == number)
  reasons = [pins.get(unit) for unit in units.tolist()]
  return ChannelGroup(
    name=name,
    layers=layers,
    units=units,
    pinned=np.array([reason is not None for reason in reasons]),
    reasons=tuple(dict.fromkeys(r for r in reasons if r is not None)),
  )

"""ModelInputs: what a model takes, as one flat dictionary of named arrays."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from tf_unilth.argument_checks import format_value
from tf_unilth.engines.tfmot.keras_access import keras
from tf_unilth.export import input_ids, input_values, made_up_inputs
from tf_unilth.wording import count

Arrays = dict[str, np.ndarray]


def signature(model: keras.Model) -> Any:
  """Returns the nest of specs, as `TensorSpec`, that a model is called with.

  Raises:
    ValueError: the model was never called, and does not know.
  """
  spec = model.save_spec()
  if spec is None or not spec[0]:
    raise ValueError(
      f'model {model.name!r} was never called and does not know its inputs: '
      'call it once on a batch.'
    )
  return spec[0][0]


class ModelInputs:
  """The inputs and outputs of a model, whatever their structure, by name.

  Args:
    model: a built tf_keras model.

  Raises:
    ValueError: a subclassed model that was never called.

  >>> model = keras.Sequential([keras.layers.Dense(2, input_shape=(3,))])
  >>> [spec.shape.as_list() for spec in ModelInputs(model).specs.values()]
  [[None, 3]]
  """

  def __init__(self, model: keras.Model):
    self._model = model
    self._structure = signature(model)
    flat = tf.nest.flatten(self._structure)
    self._given_names = self._names_of(flat)
    self.specs: dict[str, Any] = dict(
      zip(_unique(self._given_names), flat, strict=True)
    )

  def _names_of(self, flat: list[Any]) -> list[str]:
    """Returns the names as users know them, which signatures may not allow."""
    if isinstance(self._structure, dict) and len(flat) == len(self._structure):
      return sorted(self._structure)  # As tf.nest flattens it.
    known = list(getattr(self._model, 'input_names', None) or [])
    if len(known) != len(flat):
      known = [f'input_{i}' for i in range(len(flat))]
    return [
      getattr(spec, 'name', None) or name for spec, name in zip(flat, known)
    ]

  @property
  def batch(self) -> int | None:
    """The batch size that the model was built for, `None` if any."""
    shape = next(iter(self.specs.values())).shape
    return shape[0] if shape.rank else None

  def nest(self, values: Iterable[Any]) -> Any:
    """Returns a value for each input in the structure that the model takes."""
    return tf.nest.pack_sequence_as(self._structure, list(values))

  def call(self, arrays: dict[str, Any]) -> dict[str, tf.Tensor]:
    """Returns the model's outputs by name."""
    outputs = self._model(self.nest(arrays.values()), training=False)
    flat = tf.nest.flatten(outputs)
    if isinstance(outputs, dict):
      names = sorted(outputs)  # As tf.nest flattens them.
    else:
      names = list(getattr(self._model, 'output_names', None) or [])
    if len(names) != len(flat):
      names = [f'output_{i}' for i in range(len(flat))]
    return dict(zip(_unique(names), flat, strict=True))

  def named(
    self, inputs: Any, argument: str, sample: bool = False
  ) -> dict[str, Any]:
    """Returns a user's batch by name, in the model's types.

    Args:
      inputs: an array, or arrays in the structure that the model takes, or a
        dict of arrays by the inputs' names; ragged and sparse tensors where the
        model takes such.
      argument: its name, for errors.
      sample: whether it may be one sample, without a batch axis.

    Returns:
      Arrays, where an input is ragged or sparse a tensor of that kind.

    Raises:
      ValueError: another structure, a shape that does not fit, or no samples.
    """
    try:
      flat = self._flat(inputs)
    except _OtherStructureError:
      raise ValueError(self._other_structure(inputs, argument)) from None
    named = {
      name: input_values.conform(spec, value, argument, name, sample)
      for (name, spec), value in zip(self.specs.items(), flat, strict=True)
    }
    counts = {n: input_values.samples(value) for n, value in named.items()}
    if len(set(counts.values())) > 1:
      raise ValueError(
        f'{argument} must hold as many samples for each input, but has {counts}'
        f' in {format_value(inputs)}.'
      )
    return named

  def _flat(self, inputs: Any) -> list[Any]:
    """Returns one value for each input, in order."""
    if isinstance(inputs, Mapping):
      for names in (self._given_names, list(self.specs)):
        if all(name in inputs for name in names):
          return [inputs[name] for name in names]
    return _matched(self._structure, inputs)

  def _other_structure(self, inputs: Any, argument: str) -> str:
    if isinstance(inputs, Mapping):
      has = f'has {", ".join(map(str, inputs)) or "nothing"}'
    else:
      several = isinstance(inputs, list | tuple)
      found = count(len(tf.nest.flatten(inputs)) if several else 1, 'array')
      has = f'has {found}'
    return (
      f'{argument} {has}, but the model takes {len(self.specs)}: '
      f'{", ".join(self._given_names)}. It is {format_value(inputs)}.'
    )

  def made_up(self, seed: int, count: int = 4) -> dict[str, Any]:
    """Returns random inputs, with ids that the embeddings behind them have.

    Raises:
      ValueError: an input is of strings, or else not made up.
    """
    specs = list(self.specs.values())
    ids = input_ids.input_ids(self._model, specs)
    return made_up(
      self.specs, seed, self.batch or count, dict(zip(self.specs, ids))
    )


def made_up(
  specs: Mapping[str, Any],
  seed: int,
  count: int,
  ids: Mapping[str, input_ids.Ids | None] | None = None,
) -> dict[str, Any]:
  """Returns random inputs: normal, for every other seed in [0, 1).

  Args:
    specs: the inputs by name; the first axis is the batch.
    seed: of the numbers.
    count: how many samples.
    ids: by name, what an input is drawn from that holds ids.

  Raises:
    ValueError: an input is neither a number nor a bool.
  """
  rng = np.random.default_rng(seed)
  values = {}
  for name, spec in specs.items():
    limits = (ids or {}).get(name)
    try:
      values[name] = made_up_inputs.made_up(
        spec, rng, count, limits, uniform=bool(seed % 2)
      )
    except ValueError as error:
      raise ValueError(
        f'no random inputs can be made up for {name}, since {error}: give a '
        'batch by inputs=.'
      ) from None
  return values


class _OtherStructureError(Exception):
  """Inputs that are not nested as the model's are."""


def _matched(structure: Any, inputs: Any) -> list[Any]:
  """Returns a value for each spec; lists, tuples and dicts as in the model."""
  if not isinstance(structure, Mapping | list | tuple):
    several = isinstance(inputs, tuple) and len(inputs) != 1
    if several or isinstance(inputs, Mapping):
      raise _OtherStructureError
    return [inputs]  # A list may be an array.
  named = isinstance(structure, Mapping)
  keys: Any = sorted(structure) if named else range(len(structure))
  if len(keys) == 1 and not isinstance(inputs, Mapping | list | tuple):
    inputs = [inputs]
  if isinstance(inputs, list | tuple) and len(inputs) == len(keys):
    parts = list(inputs)
  elif named and isinstance(inputs, Mapping) and set(keys) <= set(inputs):
    parts = [inputs[key] for key in keys]
  else:
    raise _OtherStructureError
  return [
    value
    for key, part in zip(keys, parts, strict=True)
    for value in _matched(structure[key], part)
  ]


def _unique(names: list[str]) -> list[str]:
  """Returns names that a signature may use, each once."""
  found: list[str] = []
  for name in names:
    plain = re.sub(r'\W', '_', name)
    number = sum(re.sub(r'_again\d+$', '', f) == plain for f in found)
    found.append(f'{plain}_again{number}' if number else plain)
  return found

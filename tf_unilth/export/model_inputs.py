"""The inputs of a model, as one flat dict of named arrays."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from tf_unilth.argument_checks import format_value
from tf_unilth.engines import input_ids, random_inputs, served_model
from tf_unilth.export import input_values
from tf_unilth.wording import count

Arrays = dict[str, np.ndarray]


class ModelInputs:
  """The inputs and outputs of a model by name, for any nested structure.

  Args:
    model: a built model of either Keras.

  Raises:
    ValueError: the model is subclassed and was never called.

  >>> model = keras.Sequential([keras.layers.Dense(2, input_shape=(3,))])
  >>> [spec.shape.as_list() for spec in ModelInputs(model).specs.values()]
  [[None, 3]]
  """

  def __init__(self, model: Any):
    self.served = served_model.of_model(model)
    self._model = model
    self._structure = self.served.signature()
    flat = tf.nest.flatten(self._structure)
    self._keras_names = self._find_names(flat)
    self.specs: dict[str, Any] = dict(
      zip(_signature_names(self._keras_names), flat, strict=True)
    )

  def _find_names(self, flat: list[Any]) -> list[str]:
    """Returns the model's own names, which may be invalid in a signature."""
    if isinstance(self._structure, dict) and len(flat) == len(self._structure):
      return sorted(self._structure)  # The order of tf.nest.
    names = list(getattr(self._model, 'input_names', None) or [])
    if len(names) != len(flat):
      names = [f'input_{i}' for i in range(len(flat))]
    return [
      getattr(spec, 'name', None) or name for spec, name in zip(flat, names)
    ]

  @property
  def batch(self) -> int | None:
    """The batch size that the model was built for; `None` if variable."""
    shape = next(iter(self.specs.values())).shape
    return shape[0] if shape.rank else None

  def nest(self, values: Iterable[Any]) -> Any:
    """Returns values in the model's structure.

    Args:
      values: one value for each input, in the order of `specs`.
    """
    return tf.nest.pack_sequence_as(self._structure, list(values))

  def call(self, arrays: dict[str, Any]) -> dict[str, tf.Tensor]:
    """Returns the model's outputs by name, as tensors, in inference mode.

    Args:
      arrays: the inputs by name, in the order of `specs`.
    """
    return self._named_outputs(self.served.call(self.nest(arrays.values())))

  def compute(self, arrays: dict[str, Any]) -> Arrays:
    """Returns the outputs by name that the model itself computes.

    Args:
      arrays: as of `call`.
    """
    outputs = self.served.compute(self.nest(arrays.values()))
    named = self._named_outputs(outputs)
    return {name: np.asarray(value) for name, value in named.items()}

  def _named_outputs(self, outputs: Any) -> dict[str, Any]:
    flat = tf.nest.flatten(outputs)
    if isinstance(outputs, dict):
      names = sorted(outputs)  # The order of tf.nest.
    else:
      names = list(getattr(self._model, 'output_names', None) or [])
    if len(names) != len(flat):
      names = [f'output_{i}' for i in range(len(flat))]
    return dict(zip(_signature_names(names), flat, strict=True))

  def named(
    self, inputs: Any, argument: str, sample: bool = False
  ) -> dict[str, Any]:
    """Returns a user's batch by name, in the model's types.

    Args:
      inputs: an array, arrays in the model's structure, or a dict of arrays by
        input name; ragged and sparse tensors for such inputs.
      argument: the argument's name in error messages.
      sample: whether a single sample without a batch axis is allowed.

    Returns:
      An array for each dense input; a ragged or sparse tensor for the others.

    Raises:
      ValueError: the structure or a shape does not match the model, the numbers
        of samples differ, or there are no samples.
    """
    try:
      flat = self._flatten(inputs)
    except _StructureError:
      raise ValueError(self._structure_message(inputs, argument)) from None
    named = {
      name: input_values.conform(spec, value, argument, name, sample)
      for (name, spec), value in zip(self.specs.items(), flat, strict=True)
    }
    counts = {
      name: input_values.count_samples(value) for name, value in named.items()
    }
    if len(set(counts.values())) > 1:
      raise ValueError(
        f'{argument} must have as many samples for each input, but has {counts}'
        f' in {format_value(inputs)}.'
      )
    return named

  def _flatten(self, inputs: Any) -> list[Any]:
    """Returns one value for each input, in the order of `specs`."""
    if isinstance(inputs, Mapping):
      for names in (self._keras_names, list(self.specs)):
        if all(name in inputs for name in names):
          return [inputs[name] for name in names]
    return _match_structure(self._structure, inputs)

  def _structure_message(self, inputs: Any, argument: str) -> str:
    if isinstance(inputs, Mapping):
      has = f'has {", ".join(map(str, inputs)) or "nothing"}'
    else:
      several = isinstance(inputs, list | tuple)
      found = count(len(tf.nest.flatten(inputs)) if several else 1, 'array')
      has = f'has {found}'
    return (
      f'{argument} {has}, but the model takes {len(self.specs)}: '
      f'{", ".join(self._keras_names)}. It is {format_value(inputs)}.'
    )

  def made_up(self, seed: int, count: int = 4) -> dict[str, Any]:
    """Returns random inputs by name, with valid ids for embeddings.

    Args:
      seed: the random seed, >= 0; odd seeds draw floats from [0, 1).
      count: the number of samples, unless the model has a fixed batch size.

    Raises:
      ValueError: an input has strings or another type that cannot be drawn.
    """
    specs = list(self.specs.values())
    ids = input_ids.input_ids(self._model, specs, self.served)
    return made_up(
      self.specs, seed, self.batch or count, dict(zip(self.specs, ids))
    )


def made_up(
  specs: Mapping[str, Any],
  seed: int,
  count: int,
  ids: Mapping[str, input_ids.Ids | None] | None = None,
) -> dict[str, Any]:
  """Returns random inputs by name.

  Args:
    specs: the inputs by name; the first axis is the batch.
    seed: the random seed, >= 0. Floats are normal for even seeds and uniform in
      [0, 1) for odd seeds.
    count: the number of samples.
    ids: the valid integers of inputs that hold ids, by name.

  Raises:
    ValueError: an input is neither a number nor a bool.
  """
  rng = np.random.default_rng(seed)
  values = {}
  for name, spec in specs.items():
    try:
      values[name] = random_inputs.draw_input(
        spec, rng, count, (ids or {}).get(name), uniform=bool(seed % 2)
      )
    except ValueError as error:
      raise ValueError(
        f'random inputs cannot be made up for {name}, since {error}: give a '
        'batch by inputs=.'
      ) from None
  return values


class _StructureError(Exception):
  """The inputs are nested differently than the model's."""


def _match_structure(structure: Any, inputs: Any) -> list[Any]:
  """Returns a value for each spec; lists and tuples are interchangeable."""
  if not isinstance(structure, Mapping | list | tuple):
    several = isinstance(inputs, tuple) and len(inputs) != 1
    if several or isinstance(inputs, Mapping):
      raise _StructureError
    return [inputs]  # A list can be an array.
  named = isinstance(structure, Mapping)
  keys: Any = sorted(structure) if named else range(len(structure))
  if len(keys) == 1 and not isinstance(inputs, Mapping | list | tuple):
    inputs = [inputs]
  if isinstance(inputs, list | tuple) and len(inputs) == len(keys):
    parts = list(inputs)
  elif named and isinstance(inputs, Mapping) and set(keys) <= set(inputs):
    parts = [inputs[key] for key in keys]
  else:
    raise _StructureError
  return [
    value
    for key, part in zip(keys, parts, strict=True)
    for value in _match_structure(structure[key], part)
  ]


def _signature_names(names: list[str]) -> list[str]:
  """Returns valid and distinct names for a signature."""
  found: list[str] = []
  for name in names:
    plain = re.sub(r'\W', '_', name)
    number = sum(re.sub(r'_again\d+$', '', f) == plain for f in found)
    found.append(f'{plain}_again{number}' if number else plain)
  return found

"""ModelInputs: what a model takes, as one flat dictionary of named arrays."""

import re
from typing import Any

import numpy as np
import tensorflow as tf

from tf_unilth import arguments, compat
from tf_unilth.compat import keras

Arrays = dict[str, np.ndarray]

_UNKNOWN = 32  # Of a dimension that is left open; networks halve images.


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
    spec = model.save_spec()
    if spec is None or not spec[0]:
      raise ValueError(
        f'{model.name!r} does not know its inputs: call it once on a batch.'
      )
    self._structure = spec[0][0]
    flat = tf.nest.flatten(self._structure)
    names = [item.name or f'input_{i}' for i, item in enumerate(flat)]
    if isinstance(self._structure, dict) and len(flat) == len(self._structure):
      names = sorted(self._structure)  # As tf.nest flattens it.
    names = _unique(names)
    self.specs: dict[str, tf.TensorSpec] = dict(zip(names, flat, strict=True))

  @property
  def batch(self) -> int | None:
    """The batch size that the model was built for, `None` if any."""
    shape = next(iter(self.specs.values())).shape
    return shape[0] if shape.rank else None

  def call(self, arrays: dict[str, Any]) -> dict[str, tf.Tensor]:
    """Returns the model's outputs by name."""
    batch = tf.nest.pack_sequence_as(self._structure, list(arrays.values()))
    outputs = self._model(batch, training=False)
    flat = tf.nest.flatten(outputs)
    if isinstance(outputs, dict):
      names = sorted(outputs)  # As tf.nest flattens them.
    else:
      names = list(getattr(self._model, 'output_names', None) or [])
    if len(names) != len(flat):
      names = [f'output_{i}' for i in range(len(flat))]
    return dict(zip(_unique(names), flat, strict=True))

  def named(self, inputs: Any, argument: str) -> Arrays:
    """Returns a user's batch by name, in the model's types.

    Args:
      inputs: an array, or arrays in the structure that the model takes.
      argument: its name, for errors.

    Raises:
      ValueError: another structure, a shape that does not fit, or no samples.
    """
    given = isinstance(inputs, np.ndarray | tf.Tensor)
    flat = [inputs] if given else self._flattened(inputs)
    if len(flat) != len(self.specs):
      raise ValueError(
        f'{argument} has {len(flat)} arrays, but the model takes '
        f'{len(self.specs)}: {", ".join(self.specs)}.'
      )
    named = {}
    for (name, spec), array in zip(self.specs.items(), flat, strict=True):
      try:
        value = np.asarray(array).astype(spec.dtype.as_numpy_dtype)
      except (TypeError, ValueError):
        raise ValueError(
          f'{argument} for {name} must be of {spec.dtype.name}, but is '
          f'{arguments.shown(array)}.'
        ) from None
      if not value.ndim or not len(value):
        raise ValueError(
          f'{argument} must hold samples for {name}, but is '
          f'{arguments.shown(array)}.'
        )
      if not spec.shape[1:].is_compatible_with(value.shape[1:]):
        raise ValueError(
          f'{argument} for {name} has the shape {value.shape}, but the model '
          f'takes {tuple(spec.shape)}.'
        )
      named[name] = value
    return named

  def _flattened(self, inputs: Any) -> list[Any]:
    try:
      tf.nest.assert_same_structure(
        self._structure, inputs, check_types=isinstance(inputs, dict)
      )
    except (TypeError, ValueError):
      # A list of numbers is an array, as it is for Keras.
      if isinstance(inputs, list) and len(self.specs) == 1:
        return [np.asarray(inputs)]
    return tf.nest.flatten(inputs)

  def made_up(self, seed: int, count: int = 4) -> Arrays:
    """Returns random inputs, with ids that the model's embeddings have."""
    sizes = [
      layer.input_dim
      for layer in compat.flatten_layers(self._model)
      if isinstance(layer, keras.layers.Embedding)
    ]
    ids = min(sizes, default=None)
    return made_up(self.specs, seed, self.batch or count, ids)


def made_up(
  specs: dict[str, tf.TensorSpec], seed: int, count: int, ids: int | None = None
) -> Arrays:
  """Returns random inputs: normal, for every other seed in [0, 1).

  Args:
    specs: the inputs by name; the first axis is the batch.
    seed: of the numbers.
    count: how many samples.
    ids: integers, and a single input of any type, are below it; without it
      integers are 0 and 1. Bytes are any.

  Raises:
    ValueError: an input is neither a number nor a bool.
  """
  rng = np.random.default_rng(seed)
  arrays = {}
  for name, spec in specs.items():
    shape = (count, *[size or _UNKNOWN for size in spec.shape[1:]])
    dtype = spec.dtype
    # Keras's Embedding takes floats too, and says so in its signature.
    is_id = ids is not None and (dtype.is_integer or len(specs) == 1)
    if is_id or dtype.is_integer or dtype.is_bool:
      high = ids if is_id else 256 if dtype == tf.uint8 else 2
      drawn: Any = rng.integers(0, high, shape)
    elif dtype.is_floating:
      drawn = rng.random(shape) if seed % 2 else rng.normal(size=shape)
    else:
      raise ValueError(f'{name} is of {dtype.name}, which is not made up.')
    arrays[name] = np.asarray(drawn, dtype.as_numpy_dtype)
  return arrays


def _unique(names: list[str]) -> list[str]:
  """Returns names that a signature may use, each once."""
  found: list[str] = []
  for name in names:
    plain = re.sub(r'\W', '_', name)
    number = sum(re.sub(r'_again\d+$', '', f) == plain for f in found)
    found.append(f'{plain}_again{number}' if number else plain)
  return found

"""What two model files compute from the same random inputs."""

import dataclasses
import functools
import os
import pathlib
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from tf_unilth.export.model_inputs import Arrays, ModelInputs, made_up
from tf_unilth.export.tflite_verification import SIGNATURE, Runner
from tf_unilth.inspection import readers

_SEEDS = 4


@dataclasses.dataclass(frozen=True)
class LoadedModel:
  """What a file computes.

  Args:
    inputs: by name; the first axis is the batch.
    call: returns outputs by name.
    made_up: returns random inputs for (seed, count), `None` where the file
      does not tell the range of its integers.
  """

  inputs: dict[str, tf.TensorSpec]
  call: Callable[[Arrays], Arrays]
  made_up: Callable[[int, int], Arrays] | None = None

  @property
  def batch(self) -> int | None:
    """The batch size, `None` if any."""
    return next(iter(self.inputs.values())).shape[0]


def load(path: str | os.PathLike[str]) -> LoadedModel:
  """Returns what a path computes.

  Raises:
    UnreadableError: nothing that computes, or something damaged.
  """
  kind, place = readers.kind_of(path), pathlib.Path(path)
  if kind == 'run directory':
    return load(place / 'saved_model')
  if kind not in _LOADERS:
    raise readers.UnreadableError(f'{str(path)!r}, a {kind}, computes nothing.')
  return readers.with_read_errors(
    lambda: _LOADERS[kind](str(place)), path, 'loaded'
  )


def _load_saved_model(path: str) -> LoadedModel:
  loaded = tf.saved_model.load(path)
  function = loaded.signatures[SIGNATURE]
  _, inputs = function.structured_input_signature

  def call(arrays: Arrays) -> Arrays:
    tensors = {name: tf.constant(array) for name, array in arrays.items()}
    # The name keeps what the function computes with.
    found = loaded.signatures[SIGNATURE](**tensors)
    return {name: value.numpy() for name, value in found.items()}

  return LoadedModel(dict(inputs), call)


def _load_tflite(path: str) -> LoadedModel:
  run = Runner(path)
  inputs = {}
  for name, details in run.details.items():
    signed = details['shape_signature']
    known = signed if len(signed) else details['shape']
    shape = [None if size < 0 else int(size) for size in known]
    # What is quantised is given as the numbers that it stands for.
    port = run.inputs[name]
    dtype = tf.float32 if port.scale else tf.as_dtype(port.dtype)
    inputs[name] = tf.TensorSpec(shape, dtype)
  return LoadedModel(inputs, run)


def _load_keras(path: str) -> LoadedModel:
  model = readers.load_keras(pathlib.Path(path))
  takes = ModelInputs(model)
  if not all(isinstance(s, tf.TensorSpec) for s in takes.specs.values()):
    raise readers.UnreadableError(
      f'{path!r} takes ragged or sparse tensors, which are not compared.'
    )
  return LoadedModel(takes.specs, takes.compute, takes.made_up)


_LOADERS = {
  'SavedModel': _load_saved_model,
  'TFLite file': _load_tflite,
  'Keras file': _load_keras,
}


def compare_outputs(
  path: str | os.PathLike[str], other: str | os.PathLike[str], seed: int
) -> str:
  """Returns a line with the largest difference of two files' outputs.

  Inputs and outputs belong together by name, or, where the names differ, in
  their order.

  Args:
    path: the one.
    other: the other.
    seed: of the random inputs.

  Raises:
    UnreadableError: one cannot be loaded or run, or they do not match.
  """
  one, two = load(path), load(other)
  pairs = _paired(one.inputs, two.inputs, 'inputs')
  for a, b in pairs:
    if not one.inputs[a].shape[1:].is_compatible_with(two.inputs[b].shape[1:]):
      raise readers.UnreadableError(
        f'inputs differ: {a} is {one.inputs[a].shape} in {os.fspath(path)!r}, '
        f'{two.inputs[b].shape} in {os.fspath(other)!r}.'
      )
  largest = scale = 0.0
  for number in range(_SEEDS):
    arrays = _inputs(one, two, pairs, seed + number)
    renamed = {b: arrays[a] for a, b in pairs}
    first = readers.with_read_errors(
      functools.partial(one.call, arrays), path, 'run'
    )
    second = readers.with_read_errors(
      functools.partial(two.call, renamed), other, 'run'
    )
    for a, b in _paired(first, second, 'outputs'):
      x, y = np.asarray(first[a], float), np.asarray(second[b], float)
      if x.shape != y.shape:
        raise readers.UnreadableError(
          f'outputs differ: {a} is {x.shape}, {b} of {os.fspath(other)!r} is '
          f'{y.shape}.'
        )
      # NaN on one side alone must not hide.
      difference = float(np.max(np.nan_to_num(np.abs(x - y), nan=np.inf)))
      largest = max(largest, difference)
      scale = max(scale, float(np.max(np.abs(x))))
  share = f' ({largest / scale:.2g} of the largest output)' if scale else ''
  return (
    f'\nagainst {os.fspath(other)}: outputs differ by {largest:.3g} at most'
    f'{share}, {_SEEDS} batches of random inputs'
  )


def _paired(one: dict, two: dict, what: str) -> list[tuple[str, str]]:
  if set(one) == set(two):
    return [(name, name) for name in one]
  if len(one) != len(two):
    raise readers.UnreadableError(
      f'{what} differ: {", ".join(one)} and {", ".join(two)}.'
    )
  return list(zip(one, two))


def _inputs(
  one: LoadedModel, two: LoadedModel, pairs: list[tuple[str, str]], seed: int
) -> Arrays:
  """Returns random inputs for both, by the first's names."""
  count = one.batch or two.batch or 4
  if one.made_up:
    return one.made_up(seed, count)
  if two.made_up:
    drawn = two.made_up(seed, count)
    return {a: drawn[b] for a, b in pairs}
  specs = {
    a: tf.TensorSpec(
      [
        one_size or two_size
        for one_size, two_size in zip(
          one.inputs[a].shape, two.inputs[b].shape, strict=True
        )
      ],
      one.inputs[a].dtype,
    )
    for a, b in pairs
  }
  return made_up(specs, seed, count)

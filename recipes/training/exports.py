"""Exports of the sparse model: SavedModel, TFLite, ticket."""

import dataclasses
import importlib.util
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

import tf_unilth
from recipes.training import devices

KINDS = ('saved_model', 'tflite', 'ticket')
# Those that TensorFlow writes.
OF_TENSORFLOW = ('saved_model', 'tflite')


def check(kinds: Sequence[str], method: str, target_sparsity: float) -> None:
  """Raises a `ValueError` for formats that the method cannot export."""
  for kind in kinds:
    if kind not in KINDS:
      raise ValueError(
        f'--export must be of {", ".join(KINDS)}, but has {kind!r}.'
      )
  if 'ticket' in kinds and (method == 'dense' or not target_sparsity):
    raise ValueError(
      '--export=ticket needs zeros, but --method='
      f'{method} --target_sparsity={target_sparsity} makes none.'
    )


def why_not(keras: str) -> str | None:
  """Returns why a Keras cannot write `OF_TENSORFLOW`; `None` if it can.

  Args:
    keras: one of `devices.KERASES`.
  """
  if keras == 'tf_keras':
    return None
  backend = devices.backend()
  if backend == 'torch':
    return (
      'a model on the torch backend has no SavedModel and no TFLite file; '
      '--export=ticket is possible, and a run with KERAS_BACKEND=jax or '
      'tensorflow exports both'
    )
  if importlib.util.find_spec('tensorflow') is None:
    return 'a SavedModel and a TFLite file need TensorFlow: pip install it'
  return None


def check_backend(kinds: Sequence[str], keras: str) -> None:
  """Raises a `ValueError` for formats that a Keras cannot write.

  Args:
    kinds: of `KINDS`.
    keras: one of `devices.KERASES`.
  """
  reason = why_not(keras)
  for kind in kinds:
    if reason and kind in OF_TENSORFLOW:
      raise ValueError(f'--export={kind} is not possible: {reason}.')


@dataclasses.dataclass(frozen=True)
class Export:
  """One export.

  Args:
    bytes: size on disk.
    difference: largest difference of the outputs; `None` if not compared.
    report: the summary of the library.
  """

  bytes: int
  difference: float | None
  report: str


def results(written: Mapping[str, Export]) -> dict[str, Any]:
  """Returns what `results.json` has of the exports.

  Args:
    written: the exports by kind.
  """
  saved = written.get('saved_model')
  return {
    'export_bytes': saved.bytes if saved else None,
    'export_difference': saved.difference if saved else None,
    'exports': {
      kind: {'bytes': export.bytes, 'difference': export.difference}
      for kind, export in written.items()
    },
  }


def write(
  kinds: Sequence[str],
  directory: pathlib.Path,
  plain: Any,
  ticket: tf_unilth.Ticket | None,
  inputs: np.ndarray,
) -> dict[str, Export]:
  """Writes the exports into a run directory.

  Args:
    kinds: of `KINDS`.
    directory: of the run.
    plain: the stripped model, on one device.
    ticket: of the model that was trained, where one is asked for.
    inputs: a batch, on which exports and model are compared.

  Returns:
    What was written, by kind.
  """
  written = {}
  if 'saved_model' in kinds:
    saved = tf_unilth.export_saved_model(
      plain, directory / 'saved_model', inputs=inputs, overwrite=True
    )
    written['saved_model'] = Export(
      saved.total_bytes, saved.output_difference, str(saved)
    )
  if 'tflite' in kinds:
    file = tf_unilth.export_tflite(
      plain, directory / 'model.tflite', inputs=inputs, overwrite=True
    )
    written['tflite'] = Export(file.bytes, file.difference, str(file))
  if ticket is not None:
    path = directory / 'ticket'
    ticket.save(path, overwrite=True)
    written['ticket'] = Export(path.stat().st_size, None, repr(ticket))
  return written

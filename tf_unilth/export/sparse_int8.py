"""Sparse int8 files: kept where TensorFlow and LiteRT compute the same."""

import pathlib
import tempfile
from collections.abc import Sequence

import numpy as np

from tf_unilth.export.model_inputs import Arrays
from tf_unilth.export.tflite_file import read_tflite
from tf_unilth.export.tflite_verification import (
  Runner,
  Tolerance,
  WrongOutputsError,
  compare,
  litert_interpreter,
)

# Both files hold the same integers: few outputs differ, by a step or two.
_TOLERANCE = Tolerance(0.05, 0.99)

# Why a file is not sparse at all.
TOO_FEW_ZEROS = (
  'too few weights are zero for the sparse encoding to be smaller'
)


def why_not(content: bytes) -> str | None:
  """Returns why a sparse int8 file cannot be kept, `None` if it may be.

  Args:
    content: a TFLite file in the sparse encoding.
  """
  with tempfile.TemporaryDirectory() as folder:
    path = pathlib.Path(folder, 'model.tflite')
    path.write_bytes(content)
    stored = read_tflite(path)
  sparse = [tensor for tensor in stored if tensor.sparse]
  if not sparse:
    return TOO_FEW_ZEROS
  if not all(tensor.runs_sparse for tensor in sparse):
    return (
      'sparse int8 weights load in LiteRT only where all of them are in blocks '
      'of 16 inputs, as block_size=(16, 1) makes them; quantization=None and '
      'float16 can be sparse'
    )
  if litert_interpreter() is None:
    return (
      'sparse int8 weights are kept only if LiteRT runs them too, and it is '
      'not installed: pip install ai-edge-litert'
    )
  return None


def verify(sparse: bytes, dense: bytes, batches: Sequence[Arrays]) -> None:
  """Compares a sparse int8 file with the dense one, in both interpreters.

  Args:
    sparse: a TFLite file in the sparse encoding.
    dense: the same in the dense encoding.
    batches: the inputs by name, not quantized.

  Raises:
    WrongOutputsError: the sparse file does not run, or its outputs differ.
  """
  with tempfile.TemporaryDirectory() as folder:
    paths = [pathlib.Path(folder, name) for name in ('dense', 'sparse')]
    for path, content in zip(paths, (dense, sparse), strict=True):
      path.write_bytes(content)
    expected = Runner(paths[0], delegates=False)
    try:
      runners = {
        'TensorFlow': Runner(paths[1], delegates=False),
        'LiteRT': Runner(paths[1], interpreter=litert_interpreter()),
      }
      for name, runner in runners.items():
        for batch in batches:
          _compare(name, expected(batch), runner(batch))
    except (RuntimeError, ValueError) as error:
      raise WrongOutputsError(
        f'an interpreter cannot run it: {str(error).strip()}'
      ) from error


def _compare(name: str, expected: Arrays, found: Arrays) -> None:
  for output, values in expected.items():
    try:
      compare(np.ravel(values), np.ravel(found[output]), _TOLERANCE)
    except WrongOutputsError as error:
      raise WrongOutputsError(
        f'in {name} it is not the dense file: {output}: {error}'
      ) from error

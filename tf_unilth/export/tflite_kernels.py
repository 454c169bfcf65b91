"""How each kernel runs in a TFLite file: sparse, at dense speed, or dense."""

import dataclasses
import os
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from tf_unilth.export.kernel_encoding import KernelEncoding
from tf_unilth.export.tflite_file import StoredTensor, read_patterns

# Kernels of a Dense layer and of what else TFLite computes as one.
_FULLY_CONNECTED = 'FULLY_CONNECTED'
_SINGLE_ZEROS = 'single zeros below 96.5% run at dense speed'
_BLOCKS_ARE_FASTER = '; block_size=(4, 1) would be faster'
_OTHER_LAYERS = 'TFLite skips zeros in Dense and recurrent layers only'
# Below it a sparse product takes longer than a dense one.
_LEAST_SPARSITY = 0.6
# The converter leaves a kernel with fewer zeros dense.
_LEAST_SPARSE = 0.3
_MOST_PADDING = 15


@dataclasses.dataclass(frozen=True)
class KernelsInFile:
  """The kernels of a model in a TFLite file.

  Args:
    kernels: how the file stores each kernel of the model.
    others: the file's tensors that are none of them.
    has_sparse: whether any tensor is stored sparse.
  """

  kernels: tuple[KernelEncoding, ...]
  others: tuple[StoredTensor, ...]
  has_sparse: bool


def find_kernels(
  path: str | os.PathLike[str], kernels: Iterable[tuple[str, np.ndarray]]
) -> KernelsInFile:
  """Returns how a file stores each kernel of a model.

  The converter renames and transposes kernels. Each kernel is therefore matched
  to the tensor whose zeros are in the same places.

  Args:
    path: a TFLite file.
    kernels: the names and values of a model's kernels.

  Raises:
    ValueError: the file is not a TFLite file or is damaged.
    OSError: the file cannot be read.

  >>> model = keras.Sequential([keras.layers.Dense(8, input_shape=(64,))])
  >>> path = tempfile.mkdtemp() + '/model.tflite'
  >>> export = export_tflite(model, path)
  >>> found = find_kernels(path, [('a', model.layers[0].kernel)])
  >>> [(kernel.encoding, kernel.reason) for kernel in found.kernels]
  [('dense', 'less than 30% of its weights are zero')]
  >>> found.others, found.has_sparse
  ((), False)
  """
  stored = read_patterns(path)
  has_sparse = any(tensor.sparse for tensor, _ in stored)
  used: set[int] = set()
  found = []
  for name, values in kernels:
    nonzero = np.asarray(values) != 0
    match = _best_match(nonzero, stored, used)
    if match is None:
      sparsity = 1 - float(nonzero.mean())
      found.append(KernelEncoding(name, sparsity, 'not found'))
    else:
      index, zeros_kept = match
      used.add(index)
      tensor = stored[index][0]
      found.append(_encoding(name, nonzero, tensor, zeros_kept, has_sparse))
  others = tuple(t for i, (t, _) in enumerate(stored) if i not in used)
  return KernelsInFile(tuple(found), others, has_sparse)


def _best_match(
  nonzero: np.ndarray,
  stored: Sequence[tuple[StoredTensor, np.ndarray]],
  used: set[int],
) -> tuple[int, int] | None:
  """Returns the index of a kernel's tensor, and how many zeros it has kept.

  Args:
    nonzero: where the kernel is not zero.
    stored: the tensors of a file and where they are not zero.
    used: the indices of tensors that are other kernels. Equal kernels may share
      one.
  """
  matches = []
  for index, (tensor, pattern) in enumerate(stored):
    for kernel, found in _layouts(nonzero, tensor, pattern):
      zeros_kept = int(np.count_nonzero(~kernel & ~found))
      # Rounding to int8 makes zeros, and no encoding takes any away.
      is_kept = zeros_kept == np.count_nonzero(~kernel)
      agreement = float(np.mean(kernel == found))
      if is_kept:
        matches.append((agreement, index not in used, -index, zeros_kept))
  if not matches:
    return None
  _, _, index, zeros_kept = max(matches)
  return -index, zeros_kept


def _layouts(
  nonzero: np.ndarray, tensor: StoredTensor, pattern: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
  """Yields a kernel as a tensor may have it, and the tensor without padding."""
  for matrix in _matrices(nonzero):
    if matrix.size == pattern.size:
      yield matrix.reshape(-1), pattern.reshape(-1)
    elif (
      len(tensor.shape) == 2
      and len(matrix) == len(pattern)
      and 0 < pattern.shape[1] - matrix.shape[1] <= _MOST_PADDING
      and not pattern[:, matrix.shape[1] :].any()
    ):
      yield matrix, pattern[:, : matrix.shape[1]]


def _matrices(nonzero: np.ndarray) -> Iterator[np.ndarray]:
  """Yields a kernel with its axes in the orders that TFLite uses."""
  # Outputs first, then inputs: Dense layers and convolutions.
  yield nonzero.reshape(-1, nonzero.shape[-1]).T
  yield nonzero.reshape(-1, nonzero.shape[-1])  # Embeddings, Conv3D.
  if nonzero.ndim == 3:  # EinsumDense: one axis of inputs, two of outputs.
    yield nonzero.reshape(len(nonzero), -1).T
  if nonzero.ndim == 4:  # Transposed convolutions.
    yield np.moveaxis(nonzero, 2, 0).reshape(nonzero.shape[2], -1)


def _encoding(
  name: str,
  nonzero: np.ndarray,
  tensor: StoredTensor,
  zeros_kept: int,
  has_sparse: bool,
) -> KernelEncoding:
  sparsity = 1 - float(nonzero.mean())
  if tensor.runs_sparse:
    encoding, reason = f'sparse 1x{tensor.block}', ''
    if sparsity < _LEAST_SPARSITY:
      reason = f'below {_LEAST_SPARSITY:.0%} zeros dense kernels are as fast'
  elif tensor.sparse:
    encoding, reason = 'dense speed', _why_dense_speed(nonzero, tensor)
  else:
    encoding, reason = 'dense', ''
    if sparsity < _LEAST_SPARSE:
      reason = f'less than {_LEAST_SPARSE:.0%} of its weights are zero'
    elif has_sparse and _FULLY_CONNECTED not in tensor.readers:
      reason = _OTHER_LAYERS
  return KernelEncoding(name, sparsity, encoding, reason, zeros_kept)


def _why_dense_speed(nonzero: np.ndarray, tensor: StoredTensor) -> str:
  if _FULLY_CONNECTED not in tensor.readers:
    return _OTHER_LAYERS
  # Only matrices are pruned in blocks.
  return _SINGLE_ZEROS + (_BLOCKS_ARE_FASTER if nonzero.ndim == 2 else '')

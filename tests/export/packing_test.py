"""Packed arrays come back to the bit, and take as few bytes as they may."""

import ml_dtypes
import numpy as np
import pytest

from tf_unilth.export import packing

_SPARSITIES = (0.0, 0.5, 0.8, 0.9, 0.95, 0.98, 0.995, 0.9999, 1.0)


def _sparse(sparsity, shape=(37, 53, 11), dtype=np.float32):
  rng = np.random.default_rng(0)
  array = rng.normal(size=shape) * 10
  return np.where(rng.random(shape) < sparsity, 0, array).astype(dtype)


@pytest.mark.parametrize('sparsity', _SPARSITIES)
@pytest.mark.parametrize('dtype', ['f4', 'f2', 'f8', 'i4', ml_dtypes.bfloat16])
def test_arrays_come_back(sparsity, dtype):
  array = _sparse(sparsity, dtype=dtype)
  found = packing.unpack(packing.pack(array))
  assert found.dtype == array.dtype
  assert found.shape == array.shape
  assert found.tobytes() == array.tobytes()


@pytest.mark.parametrize('sparsity', [0.5, 0.95])
def test_zeros_keep_their_signs(sparsity):
  array = _sparse(sparsity)
  array[::2][array[::2] == 0] = -0.0
  packed = packing.pack(array)
  assert packed.encoding != 'dense'
  assert packing.unpack(packed).tobytes() == array.tobytes()


@pytest.mark.parametrize('sparsity', _SPARSITIES)
def test_bytes_are_those_of_values_and_the_smaller_of_mask_and_indices(
  sparsity,
):
  array = _sparse(sparsity)
  kept = np.count_nonzero(array)
  bound = 4 * kept + min(-(-array.size // 8), 4 * kept)
  assert packing.pack(array).nbytes <= min(bound, array.nbytes)


@pytest.mark.parametrize('distance', [1, 254, 255, 256, 510, 65535, 65536, 2e5])
def test_steps_of_any_length(distance):
  kept = np.zeros(1_000_000, bool)
  kept[:: int(distance)] = True
  kept[[1, 2, -1]] = True
  positions = packing.encode(kept)
  np.testing.assert_array_equal(
    packing.decode(positions, kept.size), np.flatnonzero(kept)
  )
  assert positions.encoding == ('mask' if distance == 1 else 'steps')


@pytest.mark.parametrize(
  ('sparsity', 'encoding', 'kind'),
  [(0.8, 'mask', 'u1'), (0.95, 'steps', 'u1'), (0.9999, 'steps', 'u2')],
)
def test_the_smallest_encoding_is_taken(sparsity, encoding, kind):
  kept = packing.pack(_sparse(sparsity)).kept
  assert (kept.encoding, kept.data.dtype) == (encoding, np.dtype(kind))


def test_an_array_without_zeros_is_dense():
  array = _sparse(0)
  packed = packing.pack(array)
  assert (packed.encoding, packed.nbytes) == ('dense', array.nbytes)


def test_a_narrower_type_is_rounded_to():
  array = _sparse(0.9) / 1e6  # Some become zero.
  packed = packing.pack(array, np.dtype('float16'))
  found = packing.unpack(packed)
  assert found.dtype == np.float32
  np.testing.assert_array_equal(found, array.astype('f2').astype('f4'))
  assert packed.values.all()

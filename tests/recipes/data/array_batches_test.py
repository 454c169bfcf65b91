"""Batches of NumPy arrays are functions of (seed, epoch, step)."""

import numpy as np
import pytest

from recipes.data import array_batches, augmentation, dataset, digits, pipeline
from recipes.data.channels import Channels

_CHANNELS = Channels((0.5, 0.4, 0.3), (0.2, 0.25, 0.3))


@pytest.fixture(scope='module')
def images():
  return np.random.default_rng(0).integers(0, 256, (23, 9, 9, 3), np.uint8)


def _split(images, padding=0):
  labels, indices = np.arange(23), np.arange(20)
  return array_batches.ArraySplit(images, labels, indices, _CHANNELS, padding)


def _equal(first, second):
  return len(first) == len(second) and all(
    x.tobytes() == u.tobytes() and y.tobytes() == v.tobytes()
    for (x, y), (u, v) in zip(first, second)
  )


@pytest.mark.parametrize('padding', [0, 2])
def test_a_later_epoch_is_the_same_however_one_comes_to_it(padding, images):
  split = _split(images, padding)
  batches = list(split.epochs(8, 3, 0, 3))
  assert [len(y) for _, y in batches] == [8, 8, 4] * 3
  assert batches[0][0].dtype == np.float32
  assert _equal(batches[3:], list(split.epochs(8, 3, 1, 3)))
  assert not _equal(batches, list(split.epochs(8, 4, 0, 3)))
  for epoch in range(3):
    labels = [y for _, y in batches[3 * epoch : 3 * epoch + 3]]
    assert sorted(np.concatenate(labels)) == list(range(20))
  assert (batches[0][1] != batches[3][1]).any()


def test_an_image_is_shifted_anew_each_time(images):
  batches = _split(images, padding=2).epochs(20, 0, 0, 6)
  seen = [x[list(y).index(5)] for x, y in batches]
  assert len({x.tobytes() for x in seen}) > 3  # Shifts repeat.


def test_evaluation_is_that_of_tensorflow(images):
  split = _split(images, padding=2)
  theirs = pipeline.ArraySplit(
    pipeline.on_host(images),
    pipeline.on_host(np.arange(23)),
    np.arange(20),
    augmentation.shifted(_CHANNELS, 2),
  )
  batches = split.batches(8)
  for (x, y), (u, v) in zip(batches, theirs.batches(8), strict=True):
    np.testing.assert_allclose(x, u, atol=1e-5)
    np.testing.assert_array_equal(y, v)
  assert len(batches) == 3 and _equal([batches[2]], list(batches)[2:])


def test_shifts_are_cuts_from_the_padded_image_some_mirrored():
  image = np.arange(1, 13, dtype=np.uint8).reshape(3, 4, 1)
  batch = np.repeat(image[np.newaxis], 400, axis=0)
  padded = np.pad(image, [(1, 1), (1, 1), (0, 0)])
  cuts = {
    padded[i : i + 3, j : j + 4][:, ::step].tobytes(): step
    for i in range(3)
    for j in range(3)
    for step in (1, -1)
  }
  rng = np.random.default_rng(0)
  found = array_batches.shift_and_flip(batch, rng, padding=1)
  steps = [cuts[x.tobytes()] for x in found]  # KeyError: no such cut.
  assert len({x.tobytes() for x in found}) == len(cuts)
  assert 150 < steps.count(-1) < 250


def test_the_parts_of_a_data_set_are_those_of_tensorflow():
  tensors, arrays = (
    digits.digits(dataset.DataOptions(seed=3, as_arrays=as_arrays))
    for as_arrays in (False, True)
  )
  for part in ('train', 'validation', 'test'):
    ((x, y),) = getattr(arrays, part).batches(2000)
    ((u, v),) = getattr(tensors, part).batches(2000)
    np.testing.assert_array_equal(x, u)
    np.testing.assert_array_equal(y, v)

"""Pipelines: order and augmentation are functions of (seed, epoch, step)."""

import numpy as np
import pytest
import tensorflow as tf

from recipes.data import (
  augmentation,
  dataset,
  digits,
  image_decoding,
  image_files,
  pipeline,
)
from recipes.data.arrays import DataError, Parts
from tests.testing import made_data

_CHANNELS = augmentation.Channels((0.5, 0.4, 0.3), (0.2, 0.25, 0.3))
_SIZE = 16


@pytest.fixture(scope='module')
def images():
  return np.random.default_rng(0).integers(0, 256, (23, 18, 18, 3), np.uint8)


@pytest.fixture(scope='module')
def folder(images, tmp_path_factory):
  path = tmp_path_factory.mktemp('images')
  made_data.write_images(path, images[:12])
  made_data.write_images(path, images[12:], 'jpg')
  made_data.write_images(path, images[:12])
  return path


def _split(kind, images, folder):
  labels = pipeline.on_host(np.arange(23))
  indices = np.array([*range(20)])
  if kind == 'files':
    paths = [f'{folder}/{i}.png' for i in range(12)]
    paths += [f'{folder}/{i}.jpg' for i in range(11)]
    paths = pipeline.on_host(np.array(paths, object))
    return image_files.FileSplit(paths, labels, indices, _CHANNELS, _SIZE)
  transform = {
    'plain': augmentation.plain(_CHANNELS),
    'shifted': augmentation.shifted(_CHANNELS, padding=2),
    'resized': augmentation.resized(_CHANNELS, _SIZE),
  }[kind]
  images = pipeline.on_host(images)
  return pipeline.ArraySplit(images, labels, indices, transform)


def _read(batches):
  return [(x.numpy(), y.numpy()) for x, y in batches]


def _equal(first, second):
  return len(first) == len(second) and all(
    x.tobytes() == u.tobytes() and y.tobytes() == v.tobytes()
    for (x, y), (u, v) in zip(first, second)
  )


@pytest.mark.parametrize('kind', ['plain', 'shifted', 'resized', 'files'])
def test_a_later_epoch_is_the_same_however_one_comes_to_it(
  kind, images, folder
):
  split = _split(kind, images, folder)
  batches = _read(split.epochs(8, 3, 0, 3))
  assert [len(y) for _, y in batches] == [8, 8, 4] * 3
  assert batches[0][0].dtype == np.float32
  assert _equal(batches[3:], _read(split.epochs(8, 3, 1, 3)))
  assert _equal(batches[3:6], _read(split.epochs(8, 3, 1, 2)))
  assert not _equal(batches, _read(split.epochs(8, 4, 0, 3)))
  for epoch in range(3):
    labels = [y for _, y in batches[3 * epoch : 3 * epoch + 3]]
    assert sorted(np.concatenate(labels)) == list(range(20))
  assert (batches[0][1] != batches[3][1]).any()


@pytest.mark.parametrize('kind', ['shifted', 'resized', 'files'])
def test_an_image_is_augmented_anew_each_time(kind, images, folder):
  split = _split(kind, images, folder)
  seen = [x[list(y).index(5)] for x, y in _read(split.epochs(20, 0, 0, 6))]
  assert len({x.tobytes() for x in seen}) > 3  # Shifts repeat.
  if kind != 'resized':
    return
  # Nor alike within a batch.
  images = np.repeat(images[:1], 23, axis=0)
  ((x, _),) = _read(_split(kind, images, folder).epochs(20, 0, 0, 1))
  assert len({image.tobytes() for image in x}) == 20


@pytest.mark.parametrize('kind', ['plain', 'shifted', 'resized', 'files'])
def test_evaluation_is_in_order_and_not_augmented(kind, images, folder):
  split = _split(kind, images, folder)
  assert split.examples == 20
  batches = _read(split.batches(8))
  assert [list(y) for _, y in batches] == [
    list(range(8)),
    list(range(8, 16)),
    list(range(16, 20)),
  ]
  assert _equal(batches, _read(split.batches(8)))
  if kind == 'files':  # Resized from 7/8 of 18 pixels, and JPEG is lossy.
    return
  seen = images[:20] if kind != 'resized' else images[:20, 1:17, 1:17]
  expected = (seen / 255 - [0.5, 0.4, 0.3]) / [0.2, 0.25, 0.3]
  found = np.concatenate([x for x, _ in batches])
  np.testing.assert_allclose(found, expected, atol=1e-5)


def test_the_end_of_a_run_waits_for_no_tuning(images, folder):
  split = _split('plain', images, folder)
  for batches in (split.epochs(8, 0, 0, 2), split.batches(8).repeat()):
    assert batches.options().autotune.enabled is False


def test_shifts_are_cuts_from_the_padded_image_some_mirrored():
  image = np.arange(1, 13, dtype=np.uint8).reshape(3, 4, 1)
  count = 400
  batch = tf.constant(np.repeat(image[np.newaxis], count, axis=0))
  key = tf.constant([5, 7], tf.int64)
  padded = np.pad(image, [(1, 1), (1, 1), (0, 0)])
  cuts = {
    padded[i : i + 3, j : j + 4][:, ::step].tobytes(): step
    for i in range(3)
    for j in range(3)
    for step in (1, -1)
  }
  found = augmentation.shift_and_flip(batch, key, 1, flip=True).numpy()
  steps = [cuts[x.tobytes()] for x in found]  # KeyError: no such cut.
  assert len({x.tobytes() for x in found}) == len(cuts)
  assert 150 < steps.count(-1) < 250
  found = augmentation.shift_and_flip(batch, key, 1, flip=False).numpy()
  assert {cuts[x.tobytes()] for x in found} == {1}


def test_crop_boxes_have_the_areas_and_ratios_of_inception():
  noise = augmentation.crop_noise(tf.constant([1, 2], tf.int64), 5000)
  boxes = np.stack(
    [b.numpy() for b in augmentation.crop_boxes(noise, 300, 400)]
  )
  top, left, bottom, right = boxes
  assert top.min() == 0 and left.min() == 0
  assert bottom.max() == 299 and right.max() == 399
  height, width = bottom - top + 1, right - left + 1
  assert height.min() > 0 and width.min() > 0
  # What does not fit is cut, so ratios may leave their range there.
  inside = (height < 300) & (width < 400)
  ratio = (width / height)[inside]
  assert 0.74 < ratio.min() < 0.78 and 1.3 < ratio.max() < 1.35
  area = height * width / (300 * 400)
  assert 0.075 < area.min() < 0.085
  assert np.mean(area < 0.54) == pytest.approx(0.5, abs=0.04)


def test_a_box_of_all_is_all():
  # The noise that asks for all of the area of a square.
  noise = [tf.constant([n]) for n in (1.0, 0.5, 0.0, 0.0, 1.0)]
  box = [side.numpy()[0] for side in augmentation.crop_boxes(noise, 16, 16)]
  assert box == [0, 0, 15, 15]


@pytest.mark.parametrize('ending', ['png', 'jpeg'])
def test_a_part_of_an_encoded_image_is_that_part(ending):
  ramp = np.arange(0, 240, 5, dtype=np.uint8)
  image = np.add.outer(ramp, ramp // 12)[..., None].repeat(3, axis=2)
  encode = tf.io.encode_png if ending == 'png' else tf.io.encode_jpeg
  found = image_decoding.decode_part(encode(image), (8, 4, 39, 19)).numpy()
  np.testing.assert_allclose(found, image[8:40, 4:20], atol=4)


def test_the_centre_of_an_encoded_image_is_evaluated():
  rng = np.random.default_rng(0)
  image = rng.integers(0, 256, (40, 56, 3), np.uint8)
  same = augmentation.Channels((0.0,) * 3, (1.0,) * 3)
  crops = image_decoding.cropped(same, size=35, read=tf.identity)  # 7/8 of 40.
  found = crops.evaluate(tf.stack([tf.io.encode_png(image)]))
  np.testing.assert_allclose(found[0] * 255, image[2:37, 10:45], atol=1e-3)


@pytest.mark.parametrize('kind', ['in memory', 'encoded'])
def test_half_of_the_crops_are_mirrored(kind):
  ramp = np.arange(0, 256, 8, dtype=np.uint8)
  image = np.broadcast_to(ramp[None, :, None], (32, 32, 3))
  if kind == 'encoded':
    crops = image_decoding.cropped(_CHANNELS, _SIZE, read=tf.identity)
    batch = tf.stack([tf.io.encode_png(image)] * 200)
  else:
    crops = augmentation.resized(_CHANNELS, _SIZE)
    batch = tf.constant(np.stack([image] * 200))
  found = crops.train(batch, tf.constant([1, 2], tf.int64)).numpy()
  rises = found[:, :, -1] - found[:, :, 0]
  assert (np.abs(rises) > 0.1).all()
  assert 70 < np.sum(rises[:, 0, 0] > 0) < 130


def test_broken_files_are_found_by_a_check(tmp_path, images):
  made_data.write_images(tmp_path, images[:4])
  (tmp_path / '2.png').write_bytes(b'\x89PNG')
  paths = [f'{tmp_path}/{i}.png' for i in range(4)]
  split = image_files.FileSplit(
    pipeline.on_host(np.array(paths, object)),
    pipeline.on_host(np.zeros(4, int)),
    np.array([0, 2, 3]),
    _CHANNELS,
    _SIZE,
  )
  with pytest.raises(DataError, match=r'2\.png'):
    split.check()


def _parts(options, parts):
  return dataset.assembled(
    'name', 2, (1,), parts, options, split=lambda indices: indices
  )


def test_the_parts_are_disjoint_and_depend_on_the_seed():
  parts = Parts(np.arange(10, 110), None, np.arange(5))
  options = dataset.DataOptions(validation_fraction=0.2, seed=1)
  found = _parts(options, parts)
  assert len(found.train) == 80 and len(found.validation) == 20
  both = np.concatenate([found.train, found.validation])
  assert sorted(both) == list(range(10, 110))
  assert list(found.test) == list(range(5))
  again = _parts(options, parts)
  assert (again.validation == found.validation).all()
  other = _parts(dataset.DataOptions(validation_fraction=0.2, seed=2), parts)
  assert set(other.validation) != set(found.validation)


def test_a_subset_leaves_validation_and_test_alone():
  parts = Parts(np.arange(100), None, None)
  whole = _parts(dataset.DataOptions(), parts)
  some = _parts(dataset.DataOptions(train_examples=7), parts)
  assert (some.train == whole.train[:7]).all()
  assert (some.validation == whole.validation).all()
  assert (some.test == whole.test).all() and len(some.test) == 20
  for count in (0, 69):
    with pytest.raises(DataError, match=f'from 1 to 68.* but is {count}'):
      _parts(dataset.DataOptions(train_examples=count), parts)


def test_a_validation_set_of_its_own_is_taken():
  parts = Parts(np.arange(50), np.arange(50, 60), np.arange(60, 70))
  found = _parts(dataset.DataOptions(train_examples=20), parts)
  assert list(found.validation) == list(range(50, 60))
  assert len(set(found.train)) == 20 and max(found.train) < 50
  assert list(found.train) != list(range(20))


def test_a_part_without_images_is_refused():
  with pytest.raises(DataError, match=r'0\.01 of 40 images leaves'):
    options = dataset.DataOptions(validation_fraction=0.01)
    _parts(options, Parts(np.arange(50), None, None))


def test_digits_are_split_as_ever():
  import sklearn.datasets

  bundle = sklearn.datasets.load_digits()
  data = digits.digits(dataset.DataOptions(seed=3))
  order = np.random.default_rng(0).permutation(1797)
  rest, test = order[359:], order[:359]
  order = np.random.default_rng(3).permutation(1438)
  for part, indices in (
    (data.train, rest[order[216:]]),
    (data.validation, rest[order[:216]]),
    (data.test, test),
  ):
    ((x, y),) = part.batches(2000)
    expected = (bundle.images / 16).astype(np.float32)[indices, ..., None]
    np.testing.assert_array_equal(x, expected)
    np.testing.assert_array_equal(y, bundle.target[indices])
  ((x, y),) = data.train.epochs(2000, 0, 0, 1)
  images = {image.tobytes() for image in x.numpy()}
  assert images <= {image.tobytes() for image in data.train._images.numpy()}

"""Streams of TFDS, with a module in its place that gives what it would."""

import re
import sys
import types

import numpy as np
import pytest
import tensorflow as tf

from recipes.data import standard_datasets
from recipes.data.arrays import DataError
from recipes.data.dataset import DataOptions

_COUNTS = {'train': 40, 'validation': 7}


class _Splits(dict):
  def __missing__(self, split):
    slices = [map(int, s) for s in re.findall(r'\[(\d+):(\d+)\]', split)]
    count = sum(end - begin for begin, end in slices)
    return types.SimpleNamespace(num_examples=count)


class _Builder:
  """Labels are positions, so that they tell which images were read."""

  data_dir = 'prepared'

  def __init__(self):
    self.info = types.SimpleNamespace(
      splits=_Splits(
        (name, types.SimpleNamespace(num_examples=count))
        for name, count in _COUNTS.items()
      ),
      features={'label': types.SimpleNamespace(num_classes=1000)},
    )
    rng = np.random.default_rng(0)
    self.images = [
      tf.io.encode_jpeg(rng.integers(0, 256, (20, 24, 3), np.uint8)).numpy()
      for _ in range(max(_COUNTS.values()))
    ]

  def as_dataset(self, split, decoders, shuffle_files, read_config):
    assert decoders == {'image': 'skip'}
    assert shuffle_files == (read_config.shuffle_seed is not None)
    slices = re.findall(r'\[(\d+):(\d+)\]', split) or [(0, _COUNTS[split])]
    labels = [i for a, b in slices for i in range(int(a), int(b))]
    images = [self.images[i] for i in labels]
    content = {'image': images, 'label': np.array(labels, np.int64)}
    return tf.data.Dataset.from_tensor_slices(content)


@pytest.fixture
def builder(tmp_path, monkeypatch):
  folder = tmp_path / 'imagenet2012' / '5.1.0'
  folder.mkdir(parents=True)
  (folder / 'dataset_info.json').touch()
  made = _Builder()
  module = types.SimpleNamespace(
    builder_from_directory=lambda _: made,
    decode=types.SimpleNamespace(SkipDecoding=lambda: 'skip'),
    ReadConfig=types.SimpleNamespace,
  )
  monkeypatch.setitem(sys.modules, 'tensorflow_datasets', module)
  return made


def _labels(batches):
  return [int(label) for _, labels in batches for label in labels]


@pytest.mark.parametrize('seed', [0, 1])
def test_parts_are_disjoint_and_drawn_by_the_seed(seed, builder, tmp_path):
  options = DataOptions(str(tmp_path), validation_fraction=0.25, seed=seed)
  data = standard_datasets.imagenet(options)
  assert (data.name, data.classes) == ('imagenet', 1000)
  sizes = [p.examples for p in (data.train, data.validation, data.test)]
  assert sizes == [30, 10, 7]
  held = _labels(data.validation.batches(4))
  rest = _labels(data.train.batches(4))
  assert sorted(held + rest) == list(range(40))
  begin = np.random.default_rng(seed).integers(40)
  assert set(held) == {(begin + i) % 40 for i in range(10)}
  assert _labels(data.test.batches(4)) == list(range(7))


def test_a_later_epoch_is_the_same_however_one_comes_to_it(builder, tmp_path):
  train = standard_datasets.imagenet(
    DataOptions(str(tmp_path), train_examples=9)
  ).train
  batches = list(train.epochs(4, 3, 0, 3))
  assert [len(labels) for _, labels in batches] == [4, 4, 1] * 3
  assert batches[0][0].shape == (4, 224, 224, 3)
  later = list(train.epochs(4, 3, 1, 3))
  for (x, y), (u, v) in zip(batches[3:], later, strict=True):
    assert (x.numpy() == u.numpy()).all() and (y.numpy() == v.numpy()).all()
  first, second = _labels(batches[:3]), _labels(batches[3:6])
  assert sorted(first) == sorted(second) and first != second
  # The same image is cut differently.
  images = [
    {int(label): image.numpy() for x, y in part for image, label in zip(x, y)}
    for part in (batches[:3], batches[3:6])
  ]
  assert all((images[0][i] != images[1][i]).any() for i in first)


def test_what_is_missing_or_broken_is_named(builder, tmp_path):
  def error(**given):
    with pytest.raises(DataError) as raised:
      standard_datasets.imagenet(
        DataOptions(str(tmp_path), **given)
      ).test.check()
    return str(raised.value)

  for count in (0, 35):
    assert 'from 1 to 34' in error(train_examples=count)
  assert 'leaves a part without' in error(validation_fraction=0.01)
  builder.images[3] = builder.images[3][:40]
  assert "'prepared', validation: an image cannot be decoded" in error()
  del builder.info.splits['validation']
  assert "no split 'validation'" in error()

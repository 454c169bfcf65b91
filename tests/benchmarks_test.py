"""Binaries: each loads its data and trains; networks are the published ones."""

import importlib
import pathlib

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras
from absl import flags
from absl.testing import flagsaver

from recipes import (
  benchmarks,
  class_folders,
  image_files,
  image_folder,
  input_speed,
)
from recipes.arrays import DataError
from recipes.datasets import Request
from tests import made_data


@pytest.fixture(autouse=True, scope='module')
def parsed_flags():
  flags.FLAGS(['test'])


def _mnist(folder):
  made_data.write_idx(folder, made_data.arrays((28, 28), 10), packed=True)


def _cifar10(folder):
  made_data.write_cifar10_binary(folder, made_data.arrays((32, 32, 3), 10))


def _cifar100(folder):
  data = made_data.arrays((32, 32, 3), 100)
  made_data.write_npz(folder / 'cifar100.npz', data)


def _tiny_imagenet(folder):
  """As it is unpacked: labels of val/ in a table, none for test/."""
  data = made_data.arrays((64, 64, 3), 200, train=200, test=3)
  for label, image in enumerate(data.x_train):
    name = f'n{label:08}'
    made_data.write_images(folder / 'train' / name / 'images', image[None])
    boxes = folder / 'train' / name / f'{name}_boxes.txt'
    boxes.write_text('0.png\t0\t0\t63\t63\n')
  made_data.write_images(folder / 'val' / 'images', data.x_test)
  made_data.write_images(folder / 'test' / 'images', data.x_test)
  table = [f'{i}.png\tn{i:08}\t0\t0\t63\t63\n' for i in range(3)]
  (folder / 'val' / 'val_annotations.txt').write_text(''.join(table))


def _imagenet(folder):
  data = made_data.arrays((40, 50, 3), 4)
  made_data.write_class_folders(folder, data, 'val', 'jpeg')


# What it trains on, image shape, classes, and the published number of trained
# parameters with `published` classes:
# - LeNet-300-100: 784 x 300 + 300 x 100 + 100 x 10 and biases.
# - ResNet-20, ResNet-56 (He et al. 2016: 0.27 and 0.85 million): those of
#   akamaster's pytorch_resnet_cifar10, option A.
# - VGG-16: the sum of its layers without biases before normalization (14.7
#   million in the literature).
# - ResNet-18: torchvision's 11,689,512, with a first convolution of 3x3.
# - ResNet-50, MobileNet: of keras.applications, its 25,636,712 and 4,253,864
#   with the statistics of normalization, 53,120 and 21,888.
_BINARIES = {
  'mnist_lenet': (_mnist, (28, 28, 1), 10, 266_610, 10),
  'cifar10_resnet20': (_cifar10, (32, 32, 3), 10, 269_722, 10),
  'cifar10_vgg16': (_cifar10, (32, 32, 3), 10, 14_724_042, 10),
  'cifar100_resnet56': (_cifar100, (32, 32, 3), 100, 853_018, 10),
  'tiny_imagenet_resnet18': (
    _tiny_imagenet,
    (64, 64, 3),
    200,
    11_689_512 - 64 * 3 * (49 - 9),
    1000,
  ),
  'imagenet_resnet50': (_imagenet, (224, 224, 3), 4, 25_583_592, 1000),
  'imagenet_mobilenet': (_imagenet, (224, 224, 3), 4, 4_231_976, 1000),
  'image_folder': (_imagenet, (224, 224, 3), 4, 4_231_976, 1000),
}


def _trained(model):
  return sum(int(np.prod(w.shape)) for w in model.trainable_weights)


@pytest.mark.parametrize('name', _BINARIES)
def test_a_binary_loads_its_data_and_takes_two_steps(name, tmp_path):
  make, shape, classes, parameters, published = _BINARIES[name]
  make(tmp_path)
  recipe = importlib.import_module(f'recipes.{name}').RECIPE
  assert recipe.name == name
  data = recipe.load(Request(str(tmp_path)))
  assert data.image_shape == shape and data.classes == classes
  batches = [*data.train.epochs(2, 0, 0, 1).take(2), *data.test.batches(2)]
  for images, labels in batches:
    assert images.shape[1:] == shape and images.dtype == tf.float32
    assert labels.dtype == tf.int64 and max(labels) < classes
    assert np.abs(images).max() < 4
  # What takes images of any size takes small ones, to be quick.
  side = min(shape[0], 32)
  model = recipe.build((side, side, shape[-1]), classes)
  more_classes = (published - classes) * _of_a_class(model)
  assert _trained(model) + more_classes == parameters
  before = model.get_weights()
  for images, labels in batches[:2]:
    _step(model, images[:, :side, :side], labels)
  after = model.get_weights()
  assert all(np.isfinite(w).all() for w in after)
  assert any((a != b).any() for a, b in zip(after, before))


def _step(model, images, labels):
  """Takes a step of gradient descent, without what Keras makes of it."""
  with tf.GradientTape() as tape:
    loss = keras.losses.sparse_categorical_crossentropy(
      labels, model(images, training=True), from_logits=True
    )
  gradients = tape.gradient(loss, model.trainable_variables)
  for variable, gradient in zip(model.trainable_variables, gradients):
    variable.assign_sub(0.001 * gradient)


def _of_a_class(model):
  """Returns the parameters of one class in the last layer."""
  last = [layer for layer in model.layers if layer.weights][-1]
  return sum(w.shape.num_elements() // w.shape[-1] for w in last.weights)


def test_every_binary_has_a_docstring_with_its_command():
  folder = pathlib.Path(benchmarks.__file__).parent
  for name in _BINARIES:
    text = (folder / f'{name}.py').read_text()
    assert f'python -m recipes.{name} --data_dir' in text


def test_image_folder_reads_its_flags(tmp_path):
  _imagenet(tmp_path)
  with flagsaver.flagsaver(model='lenet_300_100', image_size=28):
    data = image_folder.RECIPE.load(Request(str(tmp_path)))
    model = image_folder.RECIPE.build(data.image_shape, data.classes)
  assert data.image_shape == (28, 28, 3) and data.name == tmp_path.name
  assert model.name == 'lenet_300_100'


@pytest.mark.parametrize('in_memory', [True, False])
def test_folders_of_pictures_however_large(in_memory, tmp_path, monkeypatch):
  # One colour a class, which crops, mirroring and JPEG leave alone.
  colours = np.array([[200, 30, 30], [30, 200, 30], [30, 30, 200]], np.uint8)
  for label, colour in enumerate(colours):
    x = np.broadcast_to(colour, (10, 20 + label, 30, 3))
    made_data.write_images(tmp_path / f'{label}', x[:5], 'jpeg')
    made_data.write_images(tmp_path / f'{label}', x[5:], 'png')
  if not in_memory:
    monkeypatch.setattr(image_files, 'FITS_BYTES', 1)
  data = benchmarks.image_folder(Request(str(tmp_path)), 16)
  assert isinstance(data.train, image_files.FileSplit) is not in_memory
  sizes = [s.examples for s in (data.train, data.validation, data.test)]
  assert sizes == [20, 4, 6]
  assert data.classes == 3
  for batches in (
    data.train.epochs(5, 0, 0, 2),
    data.validation.batches(5),
    data.test.batches(5),
  ):
    for images, labels in batches:
      pixels = images * [0.229, 0.224, 0.225] + [0.485, 0.456, 0.406]
      seen = np.round(pixels.numpy().mean(axis=(1, 2)) * 255)
      np.testing.assert_allclose(seen, colours[labels], atol=2)


def test_validation_and_test_folders_are_taken(tmp_path):
  data = made_data.arrays((8, 8, 3), 3)
  made_data.write_class_folders(tmp_path, data, 'val')
  found = class_folders.read(tmp_path)
  assert found.parts.validation is None and len(found.parts.test) == 6
  made_data.write_images(tmp_path / 'test' / 'class001', data.x_test[:2])
  (tmp_path / 'train' / 'class000' / 'notes.txt').touch()
  found = class_folders.read(tmp_path)
  assert found.classes == ('class000', 'class001', 'class002')
  parts = found.parts
  assert [len(p) for p in (parts.train, parts.validation, parts.test)] == [
    20,
    6,
    2,
  ]
  for part, name in ((parts.train, 'train'), (parts.test, 'test')):
    for i in part:
      assert f'/{name}/class00{found.labels[i]}/' in found.paths[i]


def test_bad_folders_are_named(tmp_path):
  def error():
    with pytest.raises(DataError) as raised:
      benchmarks.image_folder(Request(str(tmp_path)), 16)
    return str(raised.value)

  assert f"'{tmp_path}' holds neither" in error()
  data = made_data.arrays((8, 8, 3), 3)
  made_data.write_class_folders(tmp_path, data, 'val')
  (tmp_path / 'train' / 'empty').mkdir()
  assert f"'{tmp_path}/train/empty' has no images" in error()
  (tmp_path / 'train' / 'empty').rmdir()
  made_data.write_images(tmp_path / 'val' / 'other', data.x_test)
  assert f"'{tmp_path}/val/other' is a class without training" in error()
  broken = tmp_path / 'train' / 'class001' / '3.png'
  broken.write_bytes(broken.read_bytes()[:80])
  (tmp_path / 'val' / 'other').rename(tmp_path / 'gone')
  assert f"'{broken}' cannot be decoded" in error()
  with pytest.raises(DataError, match='needs --data_dir'):
    benchmarks.imagenet(Request())
  with pytest.raises(DataError, match='cannot be downloaded'):
    benchmarks.imagenet(Request(str(tmp_path), download=True))
  with pytest.raises(DataError, match='is no folder'):
    benchmarks.imagenet(Request(str(broken)))


def test_bad_annotations_are_named(tmp_path):
  _tiny_imagenet(tmp_path)
  table = tmp_path / 'val' / 'val_annotations.txt'
  for line, expected in (
    ('0.png\tn1\n', "line 1: unknown class 'n1'"),
    ('9.png\tn00000001\n', "9.png' is missing"),
    ('', 'is empty'),
  ):
    table.write_text(line)
    with pytest.raises(DataError) as raised:
      class_folders.read(tmp_path)
    assert expected in str(raised.value)


def test_input_speed_times_both_in_turn(tmp_path):
  _mnist(tmp_path)
  recipe = importlib.import_module('recipes.mnist_lenet').RECIPE
  data = recipe.load(Request(str(tmp_path)))
  model = recipe.build(data.image_shape, data.classes)
  before = model.get_weights()
  speeds = input_speed.measure(data, model, 4, seconds=0.01, repeats=2)
  assert list(speeds) == ['pipeline', 'training']
  assert all(len(s) == 2 and min(s) > 0 for s in speeds.values())
  assert (model.get_weights()[0] != before[0]).any()  # It did train.

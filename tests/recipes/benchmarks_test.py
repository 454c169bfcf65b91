"""Binaries: each trains for real; networks are the published ones."""

import csv
import json
import pathlib
import runpy
import shutil

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras
from absl import flags
from absl.testing import flagsaver

from recipes.costs import input_pipeline
from recipes.data import image_files, standard_datasets
from recipes.data.arrays import DataError
from recipes.data.dataset import DataOptions
from recipes.data.formats import class_folders
from recipes.networks import small
from recipes.training import command_line, run
from tests.testing import made_data

pytestmark = pytest.mark.long


@pytest.fixture(autouse=True, scope='module')
def parsed_flags():
  flags.FLAGS(['test'])


def _mnist(folder):
  made_data.write_idx(
    folder, made_data.arrays((28, 28), 10, test=2), packed=True
  )


def _cifar10(folder):
  made_data.write_cifar10_binary(
    folder, made_data.arrays((32, 32, 3), 10, test=2)
  )


def _cifar100(folder):
  data = made_data.arrays((32, 32, 3), 100, test=2)
  made_data.write_npz(folder / 'cifar100.npz', data)


def _tiny_imagenet(folder):
  """As it is unpacked: labels of val/ in a table, none for test/."""
  data = made_data.arrays((64, 64, 3), 200, train=200, test=2)
  for label, image in enumerate(data.x_train):
    name = f'n{label:08}'
    made_data.write_images(folder / 'train' / name / 'images', image[None])
    boxes = folder / 'train' / name / f'{name}_boxes.txt'
    boxes.write_text('0.png\t0\t0\t63\t63\n')
  made_data.write_images(folder / 'val' / 'images', data.x_test)
  made_data.write_images(folder / 'test' / 'images', data.x_test)
  table = [f'{i}.png\tn{i:08}\t0\t0\t63\t63\n' for i in range(2)]
  (folder / 'val' / 'val_annotations.txt').write_text(''.join(table))


def _imagenet(folder):
  data = made_data.arrays((40, 50, 3), 4, test=1)
  made_data.write_class_folders(folder, data, 'val', 'jpeg')


# What it trains on, image shape, classes, inputs of the last layer, and the
# published number of parameters with `published` classes:
# - LeNet-300-100: 784 x 300 + 300 x 100 + 100 x 10 and biases.
# - ResNet-20, ResNet-56 (He et al. 2016: 0.27 and 0.85 million): those of
#   akamaster's pytorch_resnet_cifar10, option A, 269,722 and 853,018, and the
#   statistics of normalization.
# - VGG-16: the sum of its layers without biases before normalization (14.7
#   million in the literature), and its statistics.
# - ResNet-18: torchvision's 11,689,512, with a first convolution of 3x3, and
#   its statistics.
# - ResNet-50, MobileNet: of keras.applications.
_BINARIES = {
  'mnist_lenet': (_mnist, (28, 28, 1), 10, 100, 266_610, 10),
  'cifar10_small': (_cifar10, (16, 16, 3), 10, 128, 189_290, 10),
  'cifar10_resnet20': (_cifar10, (32, 32, 3), 10, 64, 269_722 + 1_376, 10),
  'cifar10_vgg16': (_cifar10, (32, 32, 3), 10, 512, 14_724_042 + 8_448, 10),
  'cifar100_resnet56': (_cifar100, (32, 32, 3), 100, 64, 853_018 + 4_064, 10),
  'tiny_imagenet_resnet18': (
    _tiny_imagenet,
    (64, 64, 3),
    200,
    512,
    11_689_512 - 64 * 3 * (49 - 9) + 9_600,
    1000,
  ),
  'imagenet_resnet50': (_imagenet, (224, 224, 3), 4, 2048, 25_636_712, 1000),
  'imagenet_mobilenet': (_imagenet, (224, 224, 3), 4, 1024, 4_253_864, 1000),
  'image_folder': (_imagenet, (48, 48, 3), 4, 128, 1_237_866, 10),
}
# As a user runs it. The others do not prune, and compute without tracing a
# graph, which takes longer than their two steps.
_RECIPES = pathlib.Path(__file__).parents[2] / 'recipes'
_THREE_EPOCHS = ['--epochs=3', '--batch_size=1']
_TWO_STEPS = ['--method=dense', '--epochs=1', '--batch_size=1']
# Recipes with flags of their own, whose defaults are tried here.
_HAS_FLAGS = {'image_folder'}


@pytest.fixture
def main(monkeypatch):
  """Returns a function that does what `python -m recipes.NAME` does.

  It returns the exit code and the data set that the run was made with.
  """
  seen = []
  look_at = run.Run._validate_data

  def look(self, data):
    seen.append(data)
    look_at(self, data)

  monkeypatch.setattr(run.Run, '_validate_data', look)

  def run_binary(name, *arguments):
    path = _RECIPES / f'{name}.py'
    monkeypatch.setattr('sys.argv', [str(path), *arguments])
    with flagsaver.flagsaver(), pytest.raises(SystemExit) as left:
      # Another test may have imported the recipe, whose flags are defined then.
      for flag in flags.FLAGS.get_flags_for_module(command_line.RECIPE_FLAGS):
        flag.allow_override = True
      runpy.run_path(str(path), run_name='__main__')
    return left.value.code, *seen

  return run_binary


@pytest.mark.parametrize('name', _BINARIES)
def test_a_binary_trains_for_two_steps(name, main, tmp_path):
  make, shape, classes, width, parameters, published = _BINARIES[name]
  make(tmp_path)
  prunes = name == 'mnist_lenet'
  tf.config.run_functions_eagerly(not prunes)
  try:
    code, data = main(
      name,
      f'--data_dir={tmp_path}',
      f'--output_dir={tmp_path}/run',
      '--train_examples=2',
      f'--validation_fraction={0.01 if classes == 200 else 0.05}',
      '--export=',
      '--noplots',  # They take time.
      *(_THREE_EPOCHS if prunes else _TWO_STEPS),
    )
  finally:
    tf.config.run_functions_eagerly(False)
  assert code is None
  assert data.image_shape == shape and data.classes == classes
  for images, labels in data.test.batches(2):
    assert images.shape[1:] == shape and images.dtype == tf.float32
    assert labels.dtype == tf.int64 and max(labels) < classes
    assert np.abs(images).max() < 4
  results = json.loads((tmp_path / 'run' / 'results.json').read_text())
  assert results['model'] == name and results['steps'] >= 2
  more_classes = (published - classes) * (width + 1)
  assert results['dense_parameters_bytes'] == 4 * (parameters - more_classes)
  if prunes:
    zeros = results['total_weights'] - results['nonzero_weights']
    assert zeros == round(0.9 * results['total_weights'])
  history = (tmp_path / 'run' / 'history.csv').read_text()
  rows = list(csv.DictReader(history.splitlines()))
  assert all(np.isfinite(float(row['val_loss'])) for row in rows)


@pytest.mark.parametrize('name', _BINARIES)
def test_help_begins_with_a_command_and_fits_a_terminal(name, main, capsys):
  assert main(name, '--help') == (0,)
  said = capsys.readouterr().out
  head, _, flags_told = said.partition('\n\nData:\n')
  assert f'python -m recipes.{name} --data_dir' in head
  assert ('\nRecipe:\n' in head) == (name in _HAS_FLAGS)
  assert '--epochs: ' in flags_told
  assert max(map(len, said.splitlines())) <= 80


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
  data = standard_datasets.image_folder(DataOptions(str(tmp_path)), 16)
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
      standard_datasets.image_folder(DataOptions(str(tmp_path)), 16)
    return str(raised.value)

  assert f"'{tmp_path}' holds neither" in error()
  data = made_data.arrays((8, 8, 3), 3)
  made_data.write_images(tmp_path / 'one', data.x_test)
  assert error() == f"'{tmp_path}' has one class, 'one'; two are the minimum."
  (tmp_path / 'one').rename(tmp_path / 'gone')
  made_data.write_images(tmp_path / 'one' / 'inner', data.x_test)
  (tmp_path / 'gone').rename(tmp_path / 'one' / 'other')
  assert f"may be the classes: data_dir='{tmp_path}/one'." in error()
  (tmp_path / 'one').rename(tmp_path / 'train')
  (tmp_path / 'train' / 'inner').rename(tmp_path / 'inner')
  assert error() == f"'{tmp_path}' has one class, 'other'; two are the minimum."
  (tmp_path / 'inner').rename(tmp_path / 'train' / 'inner')
  (tmp_path / 'train' / 'inner' / 'a.WebP').touch()
  assert f"'{tmp_path}/train/inner/a.WebP' is of a format" in error()
  shutil.rmtree(tmp_path / 'train')
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
    standard_datasets.imagenet(DataOptions())
  with pytest.raises(DataError, match='cannot be downloaded'):
    standard_datasets.imagenet(DataOptions(str(tmp_path), download=True))
  with pytest.raises(DataError, match='is no folder'):
    standard_datasets.imagenet(DataOptions(str(broken)))


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
  data = standard_datasets.MNIST.load(DataOptions(str(tmp_path)))
  model = small.lenet_300_100(keras, data.image_shape, data.classes)
  before = model.get_weights()
  speeds = input_pipeline.measure(data, model, 4, seconds=0.01, repeats=2)
  assert list(speeds) == ['pipeline', 'training']
  assert all(len(s) == 2 and min(s) > 0 for s in speeds.values())
  assert (model.get_weights()[0] != before[0]).any()  # It did train.

"""All recipes by name, and the flag that picks one of them."""

import importlib

from absl import flags

from recipes.training.recipe import Recipe

NAMES = (
  'digits_cnn',
  'mnist_lenet',
  'cifar10_small',
  'cifar10_resnet20',
  'cifar10_vgg16',
  'cifar100_resnet56',
  'tiny_imagenet_resnet18',
  'imagenet_resnet50',
  'imagenet_mobilenet',
  'image_folder',
)

flags.DEFINE_enum('recipe', 'digits_cnn', NAMES, 'Which recipe.')


def load(name: str) -> Recipe:
  """Returns a recipe, and defines the flags that it has of its own."""
  return importlib.import_module(f'recipes.{name}').RECIPE

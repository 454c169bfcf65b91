"""All recipes by name, and the flag that chooses one of them."""

import importlib
from collections.abc import Sequence

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

DEFAULT = 'digits_cnn'

# How this flag is headed in `--help`.
GROUP = 'Recipe choice'

flags.DEFINE_enum('recipe', DEFAULT, NAMES, 'Recipe to run.', module_name=GROUP)


def chosen(arguments: Sequence[str]) -> Recipe:
  """Returns the recipe that a command line names, before it is parsed.

  Its numbers become defaults of flags, and it may define flags of its own, so
  it must be known first.

  Args:
    arguments: the name of the program, then flags.
  """
  name = DEFAULT
  for index, argument in enumerate(arguments):
    flag, equals, value = argument.lstrip('-').partition('=')
    if argument.startswith('-') and flag == 'recipe':
      name = value if equals else ''.join(arguments[index + 1 : index + 2])
  # The parser refuses an unknown name.
  return load(name if name in NAMES else DEFAULT)


def load(name: str) -> Recipe:
  """Returns a recipe by its name; defines its own flags."""
  return importlib.import_module(f'recipes.{name}').RECIPE

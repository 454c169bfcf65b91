r"""Any of the networks on your own images, in one folder per class.

python -m recipes.image_folder --data_dir=photos
python -m recipes.image_folder --data_dir=photos --model=mobilenet \
  --image_size=224 --batch_size=64

`photos` contains a folder per class, or train/ with such folders and optionally
val/ and test/. Missing splits are taken from the training images: a fifth for
the test, --validation_fraction of the rest for validation. Files are JPEG, PNG,
GIF or BMP images of any size. Networks start from random weights unless
--initial_weights is given. The defaults, a small network and small images, suit
some hundred to some thousand images; for more, take a larger network.
"""

import dataclasses
import functools
from collections.abc import Callable

from absl import flags

from recipes.data import standard_datasets
from recipes.data.dataset import DataOptions, Dataset
from recipes.networks import registry
from recipes.training import command_line, experiment

_SIZE = 48

flags.DEFINE_enum(
  'model',
  'small_cnn',
  list(registry.MODELS),
  'Network to train.',
  module_name=command_line.RECIPE_FLAGS,
)
flags.DEFINE_integer(
  'image_size',
  _SIZE,
  'Height and width of the input of the network.',
  8,
  module_name=command_line.RECIPE_FLAGS,
)


def _images(size: int) -> Callable[[DataOptions], Dataset]:
  return functools.partial(standard_datasets.image_folder, size=size)


def _with_flags(model: str, image_size: int) -> experiment.Recipe:
  return dataclasses.replace(
    RECIPE, load=_images(image_size), build=registry.MODELS[model]
  )


RECIPE = experiment.Recipe(
  name='image_folder',
  load=_images(_SIZE),
  build=registry.MODELS['small_cnn'],
  epochs=60,
  batch_size=16,
  # A larger one may stop the network from learning at all.
  learning_rate=0.005,
  weight_decay=5e-4,
  warmup_epochs=3,
  # The validation loss of some tens of pictures rises and falls by chance.
  patience=10,
  flags=('model', 'image_size'),
  with_flags=_with_flags,
)

if __name__ == '__main__':
  experiment.launch(RECIPE)

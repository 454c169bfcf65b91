r"""Any of the networks on pictures of your own, in one folder per class.

python -m recipes.image_folder --data_dir=photos
python -m recipes.image_folder --data_dir=photos --model=resnet18 \
  --image_size=64

`photos` holds a folder per class, or train/ with such folders and, if there
are, val/ and test/. What is missing is cut off: a fifth for the test, and
--validation_fraction of the rest for validation. Files are JPEG, PNG, GIF or
BMP, of any size. What accuracy there is to expect depends on the pictures;
networks start from random weights, so some thousand per class are few.
"""

import tf_keras as keras
from absl import flags

from recipes.data import standard_datasets
from recipes.data.dataset import Dataset, Request
from recipes.networks import registry
from recipes.training import experiment

_MODEL = flags.DEFINE_enum(
  'model', 'mobilenet', list(registry.MODELS), 'Which network.'
)
_IMAGE_SIZE = flags.DEFINE_integer(
  'image_size', 224, 'Height and width that the network sees.', 8
)


def _load(request: Request) -> Dataset:
  return standard_datasets.image_folder(request, _IMAGE_SIZE.value)


def _build(image_shape: tuple[int, ...], classes: int) -> keras.Model:
  return registry.MODELS[_MODEL.value](image_shape, classes)


RECIPE = experiment.Recipe(
  name='image_folder',
  load=_load,
  build=_build,
  epochs=90,
  batch_size=64,
  learning_rate=0.05,
  weight_decay=1e-4,
  warmup_epochs=5,
  flags=('model', 'image_size'),
)

if __name__ == '__main__':
  experiment.launch(RECIPE)

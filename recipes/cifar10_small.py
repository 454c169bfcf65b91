"""A small convolutional network on CIFAR-10 at 16x16 pixels.

python -m recipes.cifar10_small --data_dir=...
python -m recipes.cifar10_small --data_dir=... --train_examples=20000

For comparisons on a machine without a GPU: each pixel is the mean of four, and
an epoch of 20,000 images takes some ten seconds on two x86 cores. No figure is
published for it.
"""

from recipes.data import standard_datasets
from recipes.networks import small
from recipes.training import experiment

RECIPE = experiment.Recipe(
  name='cifar10_small',
  load=standard_datasets.CIFAR10_16X16.load,
  build=small.small_cnn,
  epochs=15,
  batch_size=128,
  learning_rate=0.1,
  weight_decay=5e-4,
)

if __name__ == '__main__':
  experiment.launch(RECIPE)

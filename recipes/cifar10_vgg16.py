"""VGG-16 with batch normalization on CIFAR-10.

python -m recipes.cifar10_vgg16 --data_dir=... --target_sparsity=0.95

Renda et al. 2020 publish a test accuracy of 93.33% for the dense network
(median of three trials). The settings are those of open_lth: 160 epochs, at
half and at three quarters of them the learning rate falls to a tenth.
"""

from recipes.data import standard_datasets
from recipes.networks import vgg
from recipes.training import experiment

RECIPE = experiment.Recipe(
  name='cifar10_vgg16',
  load=standard_datasets.CIFAR10.load,
  build=vgg.vgg16,
  epochs=160,
  batch_size=128,
  learning_rate=0.1,
  weight_decay=1e-4,
  decay='step',
  boundaries=(0.5, 0.75),
)

if __name__ == '__main__':
  experiment.launch(RECIPE)

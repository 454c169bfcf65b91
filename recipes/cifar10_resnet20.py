"""ResNet-20 on CIFAR-10.

python -m recipes.cifar10_resnet20 --data_dir=... --target_sparsity=0.95
python -m recipes.cifar10_resnet20 --data_dir=... --train_examples=10000

He et al. 2016 publish a test accuracy of 91.25% for the dense network, Renda
et al. 2020 91.71% (median of three trials) and, with iterative learning-rate
rewinding, 91.2% at 89.3% sparsity. The settings are those of open_lth: 160
epochs, at half and at three quarters of them the learning rate falls to a
tenth. The validation split leaves less to train on: for published numbers give
a small --validation_fraction.

Measured, seed 0, --train_examples=20000 --epochs=15: dense 74.90% on the test
set, unilth 74.01% at 90% sparsity; reports of both are in recipes/results. The
learning rate falls within those 15 epochs as it does within 160.

On two x86 cores it trains on some 360 images a second, two minutes an epoch
(recipes.costs.input_pipeline); --train_examples takes a subset.
"""

from recipes.data import standard_datasets
from recipes.networks import resnet
from recipes.training import experiment

RECIPE = experiment.Recipe(
  name='cifar10_resnet20',
  load=standard_datasets.CIFAR10.load,
  build=resnet.resnet20,
  epochs=160,
  batch_size=128,
  learning_rate=0.1,
  weight_decay=1e-4,
  decay='step',
  boundaries=(0.5, 0.75),
)

if __name__ == '__main__':
  experiment.launch(RECIPE)

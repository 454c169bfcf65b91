"""ResNet-56 on CIFAR-100, the benchmark of DLTH.

python -m recipes.cifar100_resnet56 --data_dir=... --method=dlth
python -m recipes.cifar100_resnet56 --data_dir=... --method=unidlth

The settings are those in which the code of DLTH finetunes: 200 epochs, at half
and at three quarters of them the learning rate falls to a tenth. Its own tables
are not public, and no other figure for a sparse ResNet-56 is known to us.
Dense, after training on all 50,000 images with weight decay 5e-4, are published
72.34% (RepDistiller, Tian et al. 2020: 240 epochs in batches of 64, a tenth of
0.05 at 150, 180 and 210) and 72.63% (chenyaofo's pytorch-cifar-models: 200
epochs in batches of 256, a cosine, Nesterov's momentum, convolutions in the
shortcuts). The latter is the best epoch on the test set; its log ends at
72.37%. Here the test set is read once, and validation takes some of the images.
"""

from recipes.data import standard_datasets
from recipes.networks import resnet
from recipes.training import experiment

RECIPE = experiment.Recipe(
  name='cifar100_resnet56',
  load=standard_datasets.CIFAR100.load,
  build=resnet.resnet56,
  epochs=200,
  batch_size=128,
  learning_rate=0.1,
  weight_decay=5e-4,
  decay='step',
  boundaries=(0.5, 0.75),
)

if __name__ == '__main__':
  experiment.launch(RECIPE)

"""ResNet-56 on CIFAR-100, the benchmark of DLTH.

python -m recipes.cifar100_resnet56 --data_dir=... --method=dlth
python -m recipes.cifar100_resnet56 --data_dir=... --method=unidlth

The settings are those in which the code of DLTH finetunes: 200 epochs, at half
and at three quarters of them the learning rate falls to a tenth. Its tables are
not public, so there is no figure to compare with; it evaluates the test set in
every epoch, and here it is read once.
"""

from recipes import benchmarks, experiment, residual_networks

RECIPE = experiment.Recipe(
  name='cifar100_resnet56',
  load=benchmarks.CIFAR100.load,
  build=residual_networks.resnet56,
  epochs=200,
  batch_size=128,
  learning_rate=0.1,
  weight_decay=5e-4,
  decay='step',
  boundaries=(0.5, 0.75),
)

if __name__ == '__main__':
  experiment.launch(RECIPE)

"""LeNet-300-100 on MNIST.

python -m recipes.mnist_lenet --data_dir=... --epochs=15
python -m recipes.mnist_lenet --download --method=lth --target_sparsity=0.98

The settings are those of open_lth (plain SGD, no momentum, batches of 128,
40 epochs at 0.1), but with a learning rate that decays.
"""

from recipes import benchmarks, experiment, models

RECIPE = experiment.Recipe(
  name='mnist_lenet',
  load=benchmarks.MNIST.load,
  build=models.lenet_300_100,
  epochs=40,
  batch_size=128,
  learning_rate=0.1,
  momentum=0.0,
)

if __name__ == '__main__':
  experiment.launch(RECIPE)

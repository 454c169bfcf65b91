"""ResNet-18 on Tiny ImageNet: 200 classes, 100,000 images of 64x64.

python -m recipes.tiny_imagenet_resnet18 --data_dir=.../tiny-imagenet-200

The folder is the official one, as it is unpacked; its validation images, which
have labels, are the test set. The network is that of SynFlow's code (no stride
and no pooling before the first block), the schedule the one of the CIFAR-100
recipe. There is no published figure for just these settings.
"""

from recipes import benchmarks, experiment, residual_networks

RECIPE = experiment.Recipe(
  name='tiny_imagenet_resnet18',
  load=benchmarks.TINY_IMAGENET.load,
  build=residual_networks.resnet18,
  epochs=200,
  batch_size=128,
  learning_rate=0.1,
  weight_decay=5e-4,
  decay='step',
  boundaries=(0.5, 0.75),
)

if __name__ == '__main__':
  experiment.launch(RECIPE)

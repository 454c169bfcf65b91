"""ResNet-18 on Tiny ImageNet: 200 classes, 100,000 images of 64x64.

python -m recipes.tiny_imagenet_resnet18 --data_dir=.../tiny-imagenet-200

The folder is the official one, as it is unpacked; its validation images, which
have labels, are the test set. The network is that of SynFlow's code (no stride
and no pooling before the first block), the schedule the one of the CIFAR-100
recipe. For just these settings no published figure is known to us. OpenMixup's
benchmark has 61.68% for this network, dense, on those test images (median of
the last 10 of 400 epochs; a cosine from 0.2, 100 images per GPU, weight decay
1e-4, crops of random size, all 100,000 images for training).
"""

from recipes.data import standard_datasets
from recipes.networks import resnet
from recipes.training import experiment

RECIPE = experiment.Recipe(
  name='tiny_imagenet_resnet18',
  load=standard_datasets.TINY_IMAGENET.load,
  build=resnet.resnet18,
  epochs=200,
  batch_size=128,
  learning_rate=0.1,
  weight_decay=5e-4,
  decay='step',
  boundaries=(0.5, 0.75),
)

if __name__ == '__main__':
  experiment.launch(RECIPE)

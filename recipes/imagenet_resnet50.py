r"""ResNet-50 on ImageNet at 224x224.

python -m recipes.imagenet_resnet50 --data_dir=... --mixed_precision=bfloat16 \
  --strategy=mirrored --validation_fraction=0.02

The folder holds train/CLASS/ and val/CLASS/ with JPEG files, or what TFDS has
prepared as imagenet2012; val is the test set. open_lth publishes 76.1% for the
dense network in these settings: 90 epochs, 5 of them of warm-up, at 30, 60 and
80 the learning rate falls to a tenth. At 90% sparsity the literature has 73.9%
(gradual pruning, uniform; Gale et al. 2019) to 75.9% (iterative magnitude
pruning with rewinding, many times the epochs).
"""

from recipes.data import standard_datasets
from recipes.networks import registry
from recipes.training import experiment

RECIPE = experiment.Recipe(
  name='imagenet_resnet50',
  load=standard_datasets.imagenet,
  build=registry.resnet50,
  epochs=90,
  batch_size=1024,
  learning_rate=0.4,
  weight_decay=1e-4,
  warmup_epochs=5,
  decay='step',
  boundaries=(30 / 90, 60 / 90, 80 / 90),
)

if __name__ == '__main__':
  experiment.launch(RECIPE)

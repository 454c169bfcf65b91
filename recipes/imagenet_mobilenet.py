r"""MobileNet (the first) on ImageNet at 224x224.

python -m recipes.imagenet_mobilenet --data_dir=... --mixed_precision=bfloat16 \
  --strategy=mirrored --validation_fraction=0.02

The folder holds train/CLASS/ and val/CLASS/ with JPEG files, or what TFDS has
prepared as imagenet2012; val is the test set. The settings are those of the
code of STR (Kusupati et al. 2020): 100 epochs, 5 of them of warm-up, a cosine,
smoothed labels. It publishes 70.6% for the dense network, and 68.35% at 75.28%
and 62.10% at 89.01% sparsity.
"""

from recipes.data import standard_datasets
from recipes.networks import registry
from recipes.training import experiment

RECIPE = experiment.Recipe(
  name='imagenet_mobilenet',
  load=standard_datasets.imagenet,
  build=registry.mobilenet,
  epochs=100,
  batch_size=256,
  learning_rate=0.256,
  momentum=0.875,
  weight_decay=2**-15,
  warmup_epochs=5,
  label_smoothing=0.1,
)

if __name__ == '__main__':
  experiment.launch(RECIPE)

"""A small convolutional network on scikit-learn's digits; no download.

python -m recipes.digits_cnn
python -m recipes.digits_cnn --method=lth --target_sparsity=0.98 --seed=1
"""

from recipes.data import digits
from recipes.networks import small
from recipes.training import experiment

RECIPE = experiment.Recipe(
  name='digits_cnn',
  load=digits.digits,
  build=small.digits_cnn,
  epochs=60,
  batch_size=32,
  learning_rate=0.1,
)

if __name__ == '__main__':
  experiment.launch(RECIPE)

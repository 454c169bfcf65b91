"""Measures whether the wrapper changes training in half precision.

  python -m recipes.costs.mixed_precision
  python -m recipes.costs.mixed_precision --output=differences.json

Trains a small convolutional network three times from the same weights on the
same batches: unwrapped, wrapped by tfmot's `prune_low_magnitude`, and wrapped
by ours, both with a target of 0, under each precision policy. Prints the
largest difference of a weight to the unwrapped network; 0 is correct. The head
is float32, as Keras recommends; a second row of each policy has a head in half
precision, since tfmot cannot wrap the former. Takes a minute on two cores.
"""

from collections.abc import Callable

import numpy as np
import tensorflow_model_optimization as tfmot
import tf_keras as keras
from absl import app

import tf_unilth
from recipes.common import tables
from recipes.costs import result_file

_POLICIES = ('float32', 'mixed_bfloat16', 'mixed_float16')
_WRAPS: dict[str, Callable] = {
  'tfmot': tfmot.sparsity.keras.prune_low_magnitude,
  'tf_unilth': tf_unilth.prune_low_magnitude,
}


def build(head: str | None) -> keras.Model:
  """Returns a small network; `head` is the dtype of its last layer."""
  inputs = keras.layers.Input((8, 8, 1))
  x = keras.layers.Conv2D(8, 3, activation='relu')(inputs)
  x = keras.layers.BatchNormalization()(x)
  x = keras.layers.Flatten()(x)
  x = keras.layers.Dense(16, activation='relu')(x)
  return keras.Model(inputs, keras.layers.Dense(10, dtype=head)(x))


def train(wrap: Callable | None, head: str | None) -> list[np.ndarray]:
  """Trains 40 steps; returns the weights of the network."""
  keras.utils.set_random_seed(0)
  model = build(head)
  callbacks = []
  if wrap is not None:
    model = wrap(model, tf_unilth.IterativeSparsity(0.0))
    callbacks = [tf_unilth.UniLTH(verbose=0)]
  model.compile(
    keras.optimizers.SGD(1e-3, momentum=0.9),
    keras.losses.SparseCategoricalCrossentropy(from_logits=True),
  )
  rng = np.random.default_rng(0)
  x, y = rng.normal(size=(160, 8, 8, 1)), rng.integers(0, 10, 160)
  model.fit(x, y, 16, epochs=4, shuffle=False, verbose=0, callbacks=callbacks)
  if wrap is not None:
    model = tf_unilth.strip_pruning(model)
  return [weight.astype(np.float32) for weight in model.get_weights()]


def difference(wrap: Callable, head: str | None) -> float | str:
  """Returns the largest difference of a weight to unwrapped training.

  Args:
    wrap: wraps a model for a schedule.
    head: the dtype of the head, `None` for that of the policy.

  Returns:
    The difference, or the name of the error.
  """
  try:
    pairs = zip(train(None, head), train(wrap, head), strict=True)
    return max(float(np.abs(a - b).max()) for a, b in pairs)
  except TypeError as error:
    return type(error).__name__


def _text(value: str | float) -> str:
  return value if isinstance(value, str) else f'{value:.2g}'


def main(argv: list[str]) -> None:
  """Prints the table."""
  del argv
  rows = []
  for policy in _POLICIES:
    keras.mixed_precision.set_global_policy(policy)
    for head in ('float32', None)[: 1 + policy.startswith('mixed')]:
      found = {name: difference(wrap, head) for name, wrap in _WRAPS.items()}
      dtype = head or policy.removeprefix('mixed_')
      rows.append({'policy': policy, 'head': dtype, **found})
  keras.mixed_precision.set_global_policy('float32')
  cells = [[_text(value) for value in row.values()] for row in rows]
  print(tables.plain(cells, ('policy', 'head', *_WRAPS), right=[2, 3]))
  result_file.write(result_file.OUTPUT.value, differences=rows)


if __name__ == '__main__':
  app.run(main)

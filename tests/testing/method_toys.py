"""A toy network that a `--method` of the recipes prunes."""

from collections.abc import Sequence
from typing import Any

import tf_keras as keras

import tf_unilth
from recipes.training import methods
from recipes.training.method_settings import Settings, TrainingSetup


def wrapped(
  method: str,
  sizes: Sequence[int],
  steps: int,
  momentum: float = 0.0,
  **given: Any,
) -> tuple[keras.Model, TrainingSetup]:
  """Returns a compiled regression network and what its method trains it by.

  Args:
    method: one of `methods.METHODS`.
    sizes: of the inputs and of each Dense layer.
    steps: of the training.
    momentum: of SGD.
    **given: `Settings` besides those of the network and of the rate.
  """
  rate = tf_unilth.StagedLearningRate(0.01, decay_steps=steps)
  options = {
    'lr_restart': False,
    'begin_fraction': None,
    'end_fraction': 0.7,
    'schedule': {},
    'callback': {'verbose': 0},
  }
  settings = Settings(
    steps=steps, rate=rate, keras=keras, **{**options, **given}
  )
  made = methods.training_setup(method, settings)
  layers = [keras.layers.Dense(n) for n in sizes[1:]]
  model = keras.Sequential([keras.layers.Input(sizes[:1]), *layers])
  model = tf_unilth.prune_low_magnitude(model, made.schedule)
  model.compile(keras.optimizers.SGD(rate, momentum=momentum), 'mse')
  return model, made

"""start_anew: a model depends on no model before it, settings stay."""

import keras
import numpy as np
import pytest
import tf_keras

from tf_unilth.engines import fresh_models


@pytest.mark.parametrize('module', [keras, tf_keras], ids=lambda m: m.__name__)
def test_models_have_the_same_names_and_weights(module):
  found = []
  for _ in range(2):
    fresh_models.start_anew(3)
    layer = module.layers.Dense(2)
    layer.build((None, 3))
    found.append((layer.name, layer.get_weights()[0], np.random.random()))
  assert found[0][0] == found[1][0] == 'dense'
  assert (found[0][1] == found[1][1]).all() and found[0][2] == found[1][2]


@pytest.mark.keras3
def test_settings_stay():
  before = keras.config.dtype_policy()
  keras.config.set_dtype_policy('mixed_bfloat16')
  try:
    fresh_models.start_anew(3)
    assert keras.config.dtype_policy().name == 'mixed_bfloat16'
  finally:
    keras.config.set_dtype_policy(before)

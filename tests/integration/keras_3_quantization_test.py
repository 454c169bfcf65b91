"""Keras's own quantization after pruning: no zero comes back."""

import keras
import numpy as np
import pytest

import tf_unilth
from tests.testing import keras_3_toys, toys
from tf_unilth import inspection

pytestmark = pytest.mark.keras3


def test_int8_keeps_the_zeros_of_a_stripped_model():
  keras.utils.set_random_seed(0)
  model = keras_3_toys.planned(
    keras_3_toys.dense(), tf_unilth.IterativeSparsity(0.8)
  )
  keras_3_toys.fit(model, tf_unilth.DLTH(verbose=0), epochs=4)
  model = tf_unilth.strip_pruning(model)
  pruned = inspection.read_kernels(model)
  zeros = tf_unilth.sparsity_summary(model).zeros
  x, _ = toys.data()
  expected = model.predict_on_batch(x)
  model.quantize('int8')
  quantized = inspection.read_kernels(model)
  for before, after in zip(pruned, quantized, strict=True):
    assert after.values.dtype == np.int8
    assert np.any(before.values == 0)
    assert not np.any(after.values[before.values == 0])
  # A weight that rounds to 0 adds to them.
  assert tf_unilth.sparsity_summary(model).zeros >= zeros
  found = model.predict_on_batch(x)
  largest = np.abs(expected).max()
  np.testing.assert_allclose(found, expected, atol=0.05 * largest)

"""export_tflite tells how the kernels of a Keras 3 model run."""

import keras
import numpy as np
import pytest

import tf_unilth

pytestmark = pytest.mark.keras3
layers = keras.layers


@pytest.mark.skipif(
  keras.backend.backend() == 'torch', reason='torch has no TFLite export'
)
def test_blocks_of_any_inputs_run_sparse(tmp_path):
  model = keras.Sequential([layers.Input((46,)), layers.Dense(64, name='a')])
  kept = np.random.default_rng(0).random((12, 64)) > 0.9
  kernel = keras.ops.convert_to_numpy(model.layers[0].kernel)
  model.layers[0].kernel.assign(kernel * kept.repeat(4, axis=0)[:46])
  export = tf_unilth.export_tflite(model, tmp_path / 'a')
  assert [(k.name, k.encoding) for k in export.kernels] == [('a', 'sparse 1x4')]
  assert export.zeros_kept == export.zeros > 0

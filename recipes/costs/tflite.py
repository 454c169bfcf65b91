"""Measures export_tflite on two networks: bytes, encodings, differences.

  python -m recipes.costs.tflite
  python -m recipes.costs.tflite --target_sparsities=0.8,0.95 --output=x.json

The networks are the recipes' convolutional network for 8x8 images and a
perceptron with two hidden layers. They are not trained, since sizes do not
depend on training; in each layer the smallest weights are zero. Outputs are
compared on uniform inputs, which also calibrate int8.
"""

import tempfile
from typing import Any

import numpy as np
import tf_keras as keras
from absl import app, flags

from recipes.common import tables
from recipes.costs import result_file
from recipes.networks import small
from tf_unilth import export_tflite

_SPARSITIES = flags.DEFINE_list(
  'target_sparsities',
  '0.8,0.9,0.95',
  'Sparsities of each layer, in [0, 1).',
)

_QUANTIZATIONS = (None, 'float16', 'dynamic', 'int8')


def _mlp() -> keras.Model:
  return keras.Sequential(
    [
      keras.layers.Dense(300, activation='relu', input_shape=(64,)),
      keras.layers.Dense(100, activation='relu'),
      keras.layers.Dense(10),
    ]
  )


_NETWORKS = {
  'digits_cnn': lambda: small.digits_cnn(keras, (8, 8, 1), 10),
  'mlp': _mlp,
}


def _make_sparse(model: keras.Model, sparsity: float) -> None:
  for weight in model.trainable_weights:
    if len(weight.shape) > 1:
      value = weight.numpy()
      order = np.argsort(np.abs(value).ravel(), kind='stable')
      value.ravel()[order[: round(sparsity * value.size)]] = 0
      weight.assign(value)


def measure(
  name: str, sparsity: float, quantization: str | None, seed: int
) -> Any:
  """Returns what export_tflite says of one network.

  Args:
    name: `digits_cnn` or `mlp`.
    sparsity: of each kernel, in [0, 1).
    quantization: of export_tflite.
    seed: of weights and inputs.
  """
  keras.utils.set_random_seed(seed)
  model = _NETWORKS[name]()
  _make_sparse(model, sparsity)
  rng = np.random.default_rng(seed)
  samples = rng.random((100, *model.input_shape[1:]))
  with tempfile.TemporaryDirectory() as folder:
    return export_tflite(
      model,
      f'{folder}/model.tflite',
      quantization,
      representative_data=samples if quantization == 'int8' else None,
      inputs=samples,
    )


def _cells(
  name: str, sparsity: float, quantization: str | None, found: Any
) -> tuple[str, ...]:
  """Returns a row of the printed table."""
  return (
    name,
    f'{100 * sparsity:g}%',
    f'{found.encoding} {quantization or "float32"}',
    f'{found.bytes:,}',
    f'{found.dense_bytes:,}',
    f'{found.dense_bytes / found.bytes:.1f}x',
    f'{found.difference:.1g}',
  )


def _record(
  name: str, sparsity: float, quantization: str | None, found: Any
) -> dict[str, Any]:
  """Returns an entry of the JSON file."""
  return {
    'network': name,
    'target_sparsity': sparsity,
    'weights': quantization or 'float32',
    'encoding': found.encoding,
    'bytes': found.bytes,
    'plain_bytes': found.dense_bytes,
    'difference': float(found.difference),
  }


def _main(_: list[str]) -> None:
  rows = [
    (name, sparsity, quantization)
    for name in _NETWORKS
    for sparsity in map(float, _SPARSITIES.value)
    for quantization in _QUANTIZATIONS
  ]
  found = [(*row, measure(*row, seed=0)) for row in rows]
  headers = (
    *('network', 'zeros', 'weights', 'bytes', 'plain', 'smaller'),
    'difference',
  )
  print('\n'.join(tables.markdown(headers, [_cells(*row) for row in found])))
  files = [_record(*row) for row in found]
  result_file.write(result_file.OUTPUT.value, files=files)


if __name__ == '__main__':
  app.run(_main)

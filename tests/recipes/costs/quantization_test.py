"""recipes.costs.quantization: int8 after pruning, in either Keras."""

import dataclasses
import json

import pytest

from recipes.costs import quantization
from recipes.networks import small
from recipes.training import devices
from tests.testing import tiny_recipe

_RECIPE = dataclasses.replace(tiny_recipe.RECIPE, build=small.lenet_300_100)


@pytest.mark.long
@pytest.mark.parametrize('keras', devices.KERASES)
def test_int8_loses_no_zero(keras, tmp_path):
  config = tiny_recipe.config(
    keras=keras, epochs=4, output_dir=str(tmp_path), verbose=0, plots=False
  )
  found = quantization.measure(_RECIPE, config)
  results = json.loads((tmp_path / 'results.json').read_text())
  assert found['test_accuracy'] == pytest.approx(results['test_accuracy'])
  assert found['zeros'] == results['total_weights'] - results['nonzero_weights']
  assert found['zeros_lost'] == 0 and found['zeros'] > 0
  assert abs(found['quantized_test_accuracy'] - found['test_accuracy']) < 0.1


def test_a_run_without_a_saved_model_is_refused(tmp_path):
  config = tiny_recipe.config(output_dir=str(tmp_path), export=[])
  with pytest.raises(ValueError, match='--export must have saved_model'):
    quantization.measure(_RECIPE, config)

"""The public functions: they choose the engine, and import only that one."""

import inspect
import warnings

import pytest
import tf_keras as keras

import tf_unilth
from tests.testing import import_order


@pytest.mark.parametrize(
  'call',
  [
    lambda model: tf_unilth.prune_low_magnitude(
      model, tf_unilth.FixedMask(), skip='dense_1'
    ),
    lambda model: tf_unilth.prune_low_magnitude(
      model, tf_unilth.IterativeSparsity(0.2222), sparsity_m_by_n=(2, 9)
    ),
    lambda model: tf_unilth.prune_low_magnitude(
      [tf_unilth.prune_low_magnitude(model.layers[0])], tf_unilth.FixedMask()
    ),
    lambda model: tf_unilth.strip_pruning(
      tf_unilth.prune_low_magnitude(model, tf_unilth.IterativeSparsity(0.5))
    ),
  ],
  ids=['empty mask', 'units', 'list', 'strip'],
)
def test_warnings_point_at_the_caller(call):
  layers = [keras.layers.Dense(s, name=f'dense_{s}') for s in (9, 1)]
  model = keras.Sequential([keras.Input((3,)), *layers])
  model.layers[0].kernel.assign(0 * model.layers[0].kernel)
  with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter('always')
    call(model)
  assert caught and {w.filename for w in caught} == {__file__}


def test_help_shows_the_signature():
  signature = str(inspect.signature(tf_unilth.prune_low_magnitude))
  for part in (
    "pruning_schedule: 'PruningSchedule' = ConstantSparsity(0.5, 0)",
    'block_size:',
    'sparsity_m_by_n:',
    'skip:',
    'targets:',
  ):
    assert part in signature


def test_the_default_schedule_is_tfmots():
  wrapper = tf_unilth.prune_low_magnitude(keras.layers.Dense(2))
  config = wrapper.pruning_schedule.get_config()
  assert config['class_name'] == 'ConstantSparsity'
  assert config['config']['target_sparsity'] == 0.5


def test_what_is_of_no_keras_is_refused_without_any():
  program = """
import tf_unilth
for function in (
  tf_unilth.prune_low_magnitude, tf_unilth.strip_pruning,
  tf_unilth.sparsity_summary, lambda m: tf_unilth.prune_low_magnitude([m]),
):
  try:
    function(3)
    print('no error')
  except TypeError as error:
    assert 'must be a keras.' in str(error), error
    assert 'or a tf_keras.' in str(error), error
    assert 'builtins.int' in str(error), error
for function in (tf_unilth.shrink, tf_unilth.shrink_report):
  try:
    function(3)
    print('no error')
  except TypeError as error:
    assert 'must be a tf_keras.Model, but it is a builtins.int' in str(error)
assert tf_unilth.SparsitySummary(()).sparsity == 0
print(sorted({'tensorflow', 'tf_keras', 'keras'} & sys.modules.keys()))
"""
  blocked = ('tensorflow', 'tf_keras', 'tensorflow_model_optimization')
  assert import_order.run(program, blocked) == '[]'

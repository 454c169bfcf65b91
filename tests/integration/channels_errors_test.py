"""What cannot be done with whole channels is an error that says why."""

import pytest
import tf_keras as keras

import tf_unilth
from tests.testing import toys

layers = keras.layers


def _network():
  stem = layers.Dense(8, 'relu', input_shape=(3,), name='stem')
  return keras.Sequential([stem, layers.Dense(2)])


def _prune(model=None, schedule=None, **arguments):
  schedule = schedule or tf_unilth.IterativeSparsity(0.5)
  arguments = {'structure': 'channels', **arguments}
  model = _network() if model is None else model
  return tf_unilth.prune_low_magnitude(model, schedule, **arguments)


def _linear():
  return keras.Sequential([layers.Dense(2, input_shape=(3,), name='only')])


@pytest.mark.parametrize(
  ('make', 'message'),
  [
    (lambda: _prune(structure='filters'), 'structure must be'),
    (lambda: _prune(block_size=(2, 1)), 'without block_size'),
    (lambda: _prune(sparsity_m_by_n=(2, 4)), 'without block_size'),
    (lambda: _prune(targets={'stem': 0.5}), 'targets is given: use skip'),
    (lambda: _prune(schedule=tf_unilth.FixedMask()), 'it is a FixedMask'),
    (
      lambda: _prune(schedule=tf_unilth.IterativeSparsity(0.5, begin_step=1)),
      'begin_step of the schedule is 1',
    ),
    (lambda: _prune(layers.Dense(2)), 'to_prune is a Dense'),
    (
      lambda: _prune(keras.Sequential([layers.Dense(2)])),
      'has no weights yet',
    ),
    (lambda: _prune(_prune()), 'call strip_pruning first'),
    (lambda: _prune(_linear()), 'finds no channel that can go.*only .output'),
    (
      lambda: _prune(
        schedule=tf_unilth.IterativeSparsity(0.5, of='flops'), structure=None
      ),
      "of='flops' of pruning_schedule needs structure='channels'",
    ),
  ],
)
def test_what_cannot_be_done_is_an_error(make, message):
  with pytest.raises(ValueError, match=message):
    make()


def test_flops_of_inputs_without_a_fixed_shape_are_not_known():
  inputs = layers.Input((None, None, 1))
  x = layers.Conv2D(4, 3, name='conv')(inputs)
  x = layers.GlobalAveragePooling2D()(x)
  model = keras.Model(inputs, layers.Dense(2, name='head')(x))
  wrapped = _prune(model)
  assert tf_unilth.sparsity_summary(wrapped).channels.flops is None
  toys.compiled_for_labels(wrapped)
  history = toys.fit(wrapped, tf_unilth.LTH(verbose=0), epochs=3)
  assert history.history['sparsity'][-1] >= 0.5
  assert 'flops_sparsity' not in history.history
  wrapped = _prune(model, schedule=tf_unilth.IterativeSparsity(0.5, of='flops'))
  toys.compiled_for_labels(wrapped)
  with pytest.raises(ValueError, match='inputs have a fixed shape'):
    toys.fit(wrapped, tf_unilth.LTH(verbose=0), epochs=3)

"""IterativeSparsity: arguments, standing alone under tfmot, configuration."""

import json

import numpy as np
import pytest
import tensorflow_model_optimization as tfmot
import tf_keras as keras

import tf_unilth
from tests.testing import toys


@pytest.mark.parametrize(
  'arguments, match',
  [
    ({'target_sparsity': 1.0}, r'target_sparsity must be in \[0, 1\)'),
    ({'target_sparsity': -0.1}, 'target_sparsity .* but is -0.1'),
    ({'target_sparsity': float('nan')}, 'target_sparsity .* but is nan'),
    ({'prune_fraction': 0.0}, r'prune_fraction must be in \(0, 1\)'),
    ({'prune_fraction': 1.0}, 'prune_fraction .* but is 1.0'),
    ({'rounds': 0}, 'rounds must be None or a whole number >= 1, but is 0'),
    ({'rounds': 2.5}, 'rounds must be None or a whole number >= 1, but is 2.5'),
    ({'pace': 'linear'}, "pace must be .* but is 'linear'"),
    ({'scope': 'net'}, "scope must be .* but is 'net'"),
    ({'begin_step': 0}, 'begin_step must be None or a whole number'),
    ({'frequency': 0}, 'frequency must be a whole number >= 1'),
    ({'target_sparsity': True}, 'target_sparsity must be a number in'),
    ({'target_sparsity': 1j}, 'target_sparsity must be a number in'),
    ({'rounds': True}, 'rounds must .* but is True'),
    ({'pace': np.ones(2)}, 'pace must be '),
    ({'begin_step': 1, 'rounds': 10**9}, 'begin_step needs 100000 rounds'),
    ({'begin_step': 1, 'prune_fraction': 1e-9}, 'begin_step needs 100000 rou'),
  ],
)
def test_arguments_out_of_range_are_named(arguments, match):
  with pytest.raises(ValueError, match=match):
    tf_unilth.IterativeSparsity(**{'target_sparsity': 0.5, **arguments})


def test_it_works_alone_with_tfmot_own_callback():
  schedule = tf_unilth.IterativeSparsity(
    0.75, rounds=3, pace='geometric', begin_step=5, frequency=10
  )
  model = toys.wrapped(toys.dense(), schedule)
  spy = toys.Spy()
  update = tfmot.sparsity.keras.UpdatePruningStep()
  toys.fit(model, update, spy, epochs=5)
  kernel = [masks[0] for masks, _ in spy.batches]  # One mask per step from 1.
  sparsity = [1 - np.mean(mask) for mask in kernel]
  assert sparsity[3] == 0
  for step, expected in ((5, 0.37), (15, 0.6031), (25, 0.75), (40, 0.75)):
    assert sparsity[step - 1] == pytest.approx(expected, abs=2e-3)
  assert len({round(s, 4) for s in sparsity}) == 4


def test_alone_without_a_begin_step_is_loud():
  model = toys.wrapped(toys.dense(), tf_unilth.IterativeSparsity(0.5))
  update = tfmot.sparsity.keras.UpdatePruningStep()
  with pytest.raises(ValueError, match=r'callbacks=\[tf_unilth.UniLTH\(\)\]'):
    toys.fit(model, update, epochs=1)


def test_a_ticket_callback_overrules_begin_step():
  schedule = tf_unilth.IterativeSparsity(0.5, begin_step=1, frequency=1)
  model = toys.wrapped(toys.dense(), schedule)
  history = toys.fit(model, tf_unilth.UniLTH(verbose=0), epochs=6)
  assert history.history['sparsity'][0] == 0
  assert history.history['sparsity'][-1] == 0.5


def test_the_configuration_goes_through_a_wrapped_model():
  arguments = {
    'target_sparsity': 0.7,
    'prune_fraction': 0.3,
    'rounds': 4,
    'pace': 'cubic',
    'scope': 'erk',
    'begin_step': 3,
    'frequency': 7,
  }
  model = toys.wrapped(toys.dense(), tf_unilth.IterativeSparsity(**arguments))
  with tfmot.sparsity.keras.prune_scope():
    copy = keras.models.model_from_json(model.to_json())
  for layer in copy.layers:
    schedule = layer.pruning_schedule
    assert type(schedule) is type(tf_unilth.IterativeSparsity(0.7))
    config = schedule.get_config()['config']
    assert config.pop('group')
    assert config == arguments


def test_from_config_takes_what_get_config_gives():
  schedule = tf_unilth.IterativeSparsity(0.7, rounds=4)
  copy = tf_unilth.IterativeSparsity.from_config(schedule.get_config())
  assert copy.get_config() == schedule.get_config()


def test_its_configuration_is_of_plain_numbers():
  schedule = tf_unilth.IterativeSparsity(
    np.float32(0.5), np.float64(0.3), np.int64(3), begin_step=np.int32(2)
  )
  given = schedule.get_config()['config']
  assert json.loads(json.dumps(given)) == given

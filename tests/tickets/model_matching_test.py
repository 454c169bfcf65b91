"""Tickets and models that do not match are refused by their difference."""

import functools
import math

import numpy as np
import pytest
import tf_keras as keras

import tf_unilth
from tests.testing import found_ticket, toys
from tf_unilth.engines.tfmot import prunable_weights

layers = keras.layers
EPOCHS = 6
# The plateau is seen at epoch 4 and rewound to the end of epoch 2.
VAL_LOSS = (3, 2, 2.5, 2.2)


@functools.cache
def _found_by():
  """Returns a UniLTH, to run once."""
  return tf_unilth.UniLTH(verbose=0)


@functools.cache
def _found():
  """Returns a ticket that it has found, and its run."""
  callback = _found_by()
  model, after = found_ticket.run(callback)
  return tf_unilth.Ticket.from_model(model, callback), model, after


def _assert_equal(some, others):
  for one, other in zip(some, others, strict=True):
    assert one.dtype == other.dtype
    np.testing.assert_array_equal(one, other)


def _with_zeros(model):
  """Cuts the first half of each kernel of a model."""
  for _, kernel in prunable_weights.model_kernels(model):
    value = kernel.numpy()
    value.reshape(-1)[: value.size // 2] = 0
    kernel.assign(value)
  return model


def _three(names=('a', 'b', 'c'), units=(4, 3, 2), **options):
  stack = [layers.Input((5,))]
  for name, count in zip(names, units):
    stack.append(layers.Dense(count, name=name, **options))
  return keras.Sequential(stack, name='three')


@pytest.mark.parametrize(
  ('make', 'words'),
  [
    (
      functools.partial(_three, units=(4, 6, 2)),
      r"its kernel 2 is 'b' of shape \(4, 3\), the model's 'b' of shape "
      r'\(4, 6\)\.',
    ),
    (
      functools.partial(_three, names=('a', 'x', 'c')),
      r"its kernel 2 is 'b' of shape \(4, 3\), the model's 'x'",
    ),
    (
      functools.partial(_three, names='ab', units=(4, 3)),
      r"it has 3 kernels, the model 2; only the ticket has 'c' of shape",
    ),
    (
      functools.partial(_three, names='abcd', units=(4, 3, 2, 1)),
      r"it has 3 kernels, the model 4; only the model has 'd' of shape",
    ),
    (
      functools.partial(_three, use_bias=False),
      r"its weight 2 is 'a/bias' of shape \(4,\) and dtype float32, the "
      r"model's 'b/kernel' of shape \(4, 3\) and dtype float32",
    ),
    (
      lambda: keras.Sequential([layers.Flatten()], name='three'),
      'it has no kernels; build it',
    ),
  ],
)
def test_another_architecture_is_refused_by_its_first_difference(make, words):
  source = _with_zeros(_three())
  ticket = tf_unilth.Ticket.from_model(
    source, rewind_weights=source.get_weights()
  )
  model = make()
  before = [weight.numpy() for weight in model.weights] if model.built else []
  with pytest.raises(
    ValueError, match=f"^ticket does not fit .*three': {words}"
  ):
    ticket.apply(model)
  if before:
    _assert_equal(model.get_weights(), before)


def test_dtypes_are_compared():
  source = _with_zeros(_three())
  ticket = tf_unilth.Ticket.from_model(
    source, rewind_weights=source.get_weights()
  )
  model = _three(dtype='float64')
  with pytest.raises(ValueError, match=r'dtype float32, the model.*float64'):
    ticket.apply(model)
  ticket.apply(model, weights=False)


def test_numbers_that_keras_counts_do_not_matter():
  ticket = tf_unilth.Ticket.from_model(_with_zeros(_three('abc')))
  model = ticket.apply(_three(('a_1', 'b_2', 'c_30')), weights=False)
  _assert_equal(toys.masks(model), ticket.masks.values())


@pytest.mark.parametrize('thing', [toys.dense, 'model'])
def test_what_is_no_model_is_refused(thing):
  ticket, _, _ = _found()
  for use in (ticket.apply, tf_unilth.Ticket.from_model):
    with pytest.raises(TypeError, match=r'must be a keras\.Model or'):
      use(thing)


_EYE = {'dense': np.eye(3, dtype=bool)}


@pytest.mark.parametrize(
  'arguments, match',
  [
    ({'masks': {}}, 'masks must be arrays of booleans by name, but is {}'),
    ({'masks': {'a': np.eye(3)}}, 'masks must be arrays of booleans by name'),
    ({'masks': None}, 'masks must be arrays of booleans by name, but is None'),
    ({'rewind_weights': {'a': None}}, 'rewind_weights must be arrays of'),
    ({'rewind_weights': [1]}, 'rewind_weights must be arrays of'),
    ({'method': 7}, 'method must be None or a string'),
    ({'seed': -1}, 'seed must be None or a whole number >= 0, but is -1'),
    (
      {'provenance': {'a': math.nan}},
      'provenance must be serializable as JSON',
    ),
    ({'provenance': 7}, 'provenance must be a mapping, but is 7'),
  ],
)
def test_what_a_file_could_not_hold_is_refused_at_once(arguments, match):
  with pytest.raises(ValueError, match=match):
    tf_unilth.Ticket(**{'masks': _EYE, **arguments})


def test_a_seed_of_numpys_can_be_saved(tmp_path):
  ticket = tf_unilth.Ticket(_EYE, seed=np.int64(3))
  ticket.save(tmp_path / 'ticket')
  assert tf_unilth.Ticket.load(tmp_path / 'ticket').seed == 3


def test_arguments_that_are_neither_true_nor_false_are_refused(tmp_path):
  ticket = tf_unilth.Ticket(_EYE)
  with pytest.raises(ValueError, match='weights must be True or False, but is'):
    ticket.apply(toys.dense(), weights='no')
  ticket.save(tmp_path / 'ticket')
  with pytest.raises(ValueError, match='overwrite must be True or False'):
    ticket.save(tmp_path / 'ticket', overwrite='no')


@pytest.mark.parametrize('weights', [7, 'w', {}, np.ones(4)])
def test_rewind_weights_that_are_no_list_are_refused(weights):
  model = toys.dense()
  model.set_weights(
    [np.eye(*w.shape) for w in model.get_weights()[:1]]
    + model.get_weights()[1:]
  )
  with pytest.raises(
    ValueError, match=r'rewind_weights must be what get_weigh'
  ):
    tf_unilth.Ticket.from_model(model, rewind_weights=weights)

"""Ticket.apply: what a model gets of a ticket, and which models are refused."""

import functools
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import tensorflow_model_optimization as tfmot
import tf_keras as keras

import tf_unilth
from tests.testing import found_ticket, toys
from tf_unilth.engines.tfmot import prunable_weights
from tf_unilth.engines.tfmot.pruned_model import PrunedLayers

layers = keras.layers
_ROOT = pathlib.Path(__file__).parents[2]
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


def _other_data(count=64):
  rng = np.random.default_rng(7)
  x = rng.normal(size=(count, 6, 6, 1)).astype(np.float32)
  return x, (x[:, :, :3].sum((1, 2, 3)) > 0).astype(np.int64)


@pytest.mark.parametrize(
  ('make', 'weights'),
  [
    (tf_unilth.UniLTH, True),
    (tf_unilth.DLTH, False),  # The re-initialised control.
  ],
)
def test_it_trains_sparse_on_other_data(make, weights, tmp_path):
  ticket, _, after = _found()
  ticket.save(tmp_path / 'a.ticket')
  ticket = tf_unilth.Ticket.load(tmp_path / 'a.ticket')
  fresh = toys.conv()
  initial = fresh.get_weights()
  model = ticket.apply(fresh, weights=weights)
  _assert_begins_from(ticket, model, after[2] if weights else initial)
  toys.compiled_for_labels(model)
  spy, x_y = toys.Spy(), _other_data()
  before = toys.kernels(model)
  history = model.fit(
    *x_y, batch_size=8, epochs=2, verbose=0, callbacks=[make(verbose=0), spy]
  )
  assert history.history['sparsity'] == [ticket.sparsity] * 2
  for masks, kernels in spy.batches:
    _assert_equal(masks, ticket.masks.values())
    for mask, kernel in zip(masks, kernels, strict=True):
      assert not kernel[~mask].any() and kernel[mask].all()
  trained = tf_unilth.strip_pruning(model)
  assert tf_unilth.sparsity_summary(trained).zeros == ticket.zeros
  assert any(
    (a != b).any() for a, b in zip(before, toys.kernels(model), strict=True)
  )


def _assert_begins_from(ticket, model, expected):
  """Asserts that a model holds weights, but for the zeros of a ticket."""
  found = PrunedLayers(model).model_weights
  masks = iter(ticket.masks.values())
  for weight, value in zip(found, expected, strict=True):
    mask = next(masks) if 'kernel' in weight.name else True
    np.testing.assert_array_equal(weight.numpy(), np.where(mask, value, 0))


def test_a_kept_weight_that_is_zero_stays_kept():
  mask = np.array([[True, False], [True, True]])
  ticket = tf_unilth.Ticket({'dense': mask})
  model = keras.Sequential(
    [layers.Dense(2, input_shape=(2,), kernel_initializer='zeros')]
  )
  _assert_equal(toys.masks(ticket.apply(model, weights=False)), [mask])


def test_a_wrapped_model_takes_it_and_goes_on_from_there():
  ticket, _, _ = _found()
  model = tf_unilth.prune_low_magnitude(
    toys.conv(), tf_unilth.IterativeSparsity(0.9, rounds=2)
  )
  assert ticket.apply(model) is model
  _assert_equal(toys.masks(model), ticket.masks.values())
  toys.compiled_for_labels(model)
  toys.fit(model, tf_unilth.UniLTH(verbose=0), epochs=5)
  for before, after in zip(
    ticket.masks.values(), toys.masks(model), strict=True
  ):
    assert not (after & ~before).any()
  assert toys.zeros(toys.kernels(model)) == round(0.9 * 444)


def test_tfmots_wrapper_takes_it_too():
  ticket, _, _ = _found()
  model = tfmot.sparsity.keras.prune_low_magnitude(
    toys.conv(), tf_unilth.IterativeSparsity(0.8)
  )
  toys.compiled_for_labels(ticket.apply(model))
  toys.fit(model, tf_unilth.UniLTH(verbose=0), epochs=1)
  _assert_equal(toys.masks(model), ticket.masks.values())
  assert toys.zeros(toys.kernels(model)) == ticket.zeros


@pytest.mark.parametrize(
  ('schedule', 'skip', 'words'),
  [
    (tf_unilth.IterativeSparsity(0.0), (), 'would not keep'),
    (tfmot.sparsity.keras.ConstantSparsity(0.5, 0), (), 'would not keep'),
    (tf_unilth.IterativeSparsity(0.8), ['head'], 'does not wrap'),
  ],
)
def test_wrappers_that_would_not_hold_it_are_refused(schedule, skip, words):
  def make():
    return keras.Sequential(
      [layers.Dense(4, input_shape=(3,)), layers.Dense(2, name='head')]
    )

  ticket = tf_unilth.Ticket.from_model(_with_zeros(make()))
  model = tf_unilth.prune_low_magnitude(make(), schedule, skip=skip)
  before = model.get_weights()
  with pytest.raises(ValueError, match=words):
    ticket.apply(model, weights=False)
  _assert_equal(model.get_weights(), before)


def test_layers_that_it_leaves_dense_need_not_be_wrapped():
  masks = {'a': np.eye(5, 4, dtype=bool), 'b': np.ones((4, 3), bool)}
  ticket = tf_unilth.Ticket({**masks, 'c': np.eye(3, 2, dtype=bool)})
  model = tf_unilth.prune_low_magnitude(
    _three(), tf_unilth.FixedMask(), skip=['b']
  )
  assert ticket.apply(model, weights=False) is model
  _assert_equal(toys.masks(model), [masks['a'], ticket.masks['c']])


_IN_PART = np.arange(32).reshape(8, 4) % 5 > 0


@pytest.mark.parametrize(
  ('arguments', 'whole'),
  [
    ({'block_size': (3, 4)}, np.repeat([1, 0, 1], 3)[:8, None]),
    ({'sparsity_m_by_n': (2, 4)}, np.array([1, 0, 0, 1] * 2)[:, None]),
    # Groups that are not cut yet: further rounds cut them.
    ({'sparsity_m_by_n': (2, 4)}, np.array([1, 0, 0, 1] + [1] * 4)[:, None]),
    # A group of three at the end: it is filled up by a zero.
    ({'sparsity_m_by_n': (3, 5)}, np.array([1, 0, 0, 0, 1, 1, 0, 1])[:, None]),
  ],
)
def test_whole_units_are_applied_and_cut_ones_refused(arguments, whole):
  def wrapped():
    model = keras.Sequential([layers.Dense(4, input_shape=(8,), name='a')])
    target = 0.5
    if 'sparsity_m_by_n' in arguments:
      m, n = arguments['sparsity_m_by_n']
      target = m / n
    schedule = tf_unilth.IterativeSparsity(target)
    return tf_unilth.prune_low_magnitude(model, schedule, **arguments)

  mask = np.broadcast_to(whole, (8, 4)).astype(bool)
  model = tf_unilth.Ticket({'a': mask}).apply(wrapped(), weights=False)
  _assert_equal(toys.masks(model), [mask])
  model = wrapped()
  before = model.get_weights()
  ((name, value),) = arguments.items()
  with pytest.raises(ValueError) as error:
    tf_unilth.Ticket({'a': _IN_PART}).apply(model, weights=False)
  assert f"layer 'a' is wrapped with {name}={value}, but" in str(error.value)
  assert 'in part' in str(error.value)
  _assert_equal(model.get_weights(), before)


def _with_zeros(model):
  """Cuts the first half of each kernel of a model."""
  for _, kernel in prunable_weights.model_kernels(model):
    value = kernel.numpy()
    value.reshape(-1)[: value.size // 2] = 0
    kernel.assign(value)
  return model


def _shared():
  """A model with many kinds of layers, in a model, shared and nested."""
  tokens = layers.Input((5,))
  x = layers.Embedding(9, 4)(tokens)
  x = layers.Bidirectional(layers.LSTM(3, return_sequences=True))(x)
  x = layers.RNN([layers.GRUCell(3), layers.GRUCell(3)], return_sequences=True)(
    x
  )
  x = layers.MultiHeadAttention(2, 2)(x, x)
  x = layers.TimeDistributed(layers.Dense(4))(x)
  inside = keras.Sequential(
    [
      layers.Input((5, 4)),
      layers.Dense(4, name='hidden'),
      layers.LayerNormalization(),
    ]
  )
  other = keras.Sequential(
    [layers.Input((5, 4)), layers.Dense(4, name='hidden')]
  )
  x = layers.SeparableConv1D(4, 2)(other(inside(inside(x))))
  x = layers.BatchNormalization()(x)
  return keras.Model(tokens, layers.Dense(2)(layers.Flatten()(x)))


def test_every_kind_of_layer_goes_there_and_back(tmp_path):
  source = _with_zeros(_shared())
  values = source.get_weights()
  ticket = tf_unilth.Ticket.from_model(source, rewind_weights=values)
  assert 'hidden' in ticket.masks and 'hidden#2' in ticket.masks
  ticket.save(tmp_path / 'a.ticket')
  fresh = _shared()
  model = tf_unilth.Ticket.load(tmp_path / 'a.ticket').apply(fresh)
  _assert_equal(tf_unilth.strip_pruning(model).get_weights(), values)
  again = tf_unilth.Ticket.from_model(model)
  _assert_equal(again.masks.values(), ticket.masks.values())


def test_a_subclassed_model_is_wrapped_by_its_author():
  class Subclassed(keras.Model):
    def __init__(self, wrap):
      super().__init__()
      self.hidden = wrap(layers.Dense(4))
      self.head = wrap(layers.Dense(2))

    def call(self, inputs):
      return self.head(self.hidden(inputs))

  def wrap(layer):
    return tf_unilth.prune_low_magnitude(layer, tf_unilth.FixedMask())

  x = np.ones((1, 3), np.float32)
  plain, wrapped = Subclassed(lambda layer: layer), Subclassed(wrap)
  plain(x)
  wrapped(x)
  ticket = tf_unilth.Ticket.from_model(
    _with_zeros(plain), rewind_weights=plain.get_weights()
  )
  _assert_equal(toys.masks(ticket.apply(wrapped)), ticket.masks.values())
  np.testing.assert_array_equal(wrapped(x), plain(x))
  with pytest.raises(ValueError, match='a subclassed model'):
    ticket.apply(plain)


def test_mixed_precision_keeps_float32():
  keras.mixed_precision.set_global_policy('mixed_bfloat16')
  try:
    source, fresh = _with_zeros(toys.dense()), toys.dense()
  finally:
    keras.mixed_precision.set_global_policy('float32')
  values = source.get_weights()
  ticket = tf_unilth.Ticket.from_model(source, rewind_weights=values)
  model = ticket.apply(fresh)
  _assert_equal(tf_unilth.strip_pruning(model).get_weights(), values)
  assert {v.dtype.name for v in ticket.rewind_weights.values()} == {'float32'}


@pytest.mark.long
def test_another_process_has_other_numbers(tmp_path):
  ticket, _, _ = _found()
  ticket.save(tmp_path / 'a.ticket')
  code = (
    'import sys; from tests.testing import toys; import tf_unilth;'
    f'ticket = tf_unilth.Ticket.load({str(tmp_path / "a.ticket")!r});'
    'model = ticket.apply(toys.conv());'
    'print([layer.name for layer in model.layers if "conv" in layer.name]);'
    'print(tf_unilth.sparsity_summary(model).zeros, ticket)'
  )
  finished = subprocess.run(
    [sys.executable, '-c', code],
    capture_output=True,
    text=True,
    check=True,
    cwd=_ROOT,
  )
  names, found = finished.stdout.splitlines()
  assert names == (
    "['prune_low_magnitude_conv2d', 'prune_low_magnitude_conv2d_1']"
  )
  assert found == f'{ticket.zeros} {ticket!r}'


def test_the_control_has_the_same_zeros_and_weights_of_its_own(tmp_path):
  _, model, after = _found()
  path = tmp_path / 'digits.ticket'
  tf_unilth.Ticket.from_model(model, _found_by()).save(path)
  ticket = tf_unilth.Ticket.load(path)
  ticketed = ticket.apply(toys.conv())
  other = ticket.apply(toys.conv(), weights=False)
  _assert_begins_from(ticket, ticketed, after[2])
  for sparse, control in zip(
    toys.kernels(ticketed), toys.kernels(other), strict=True
  ):
    np.testing.assert_array_equal(sparse == 0, control == 0)
    assert (sparse != control).any()


def _three(names=('a', 'b', 'c'), units=(4, 3, 2), **options):
  stack = [layers.Input((5,))]
  for name, count in zip(names, units):
    stack.append(layers.Dense(count, name=name, **options))
  return keras.Sequential(stack, name='three')

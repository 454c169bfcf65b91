"""Ticket.from_model: masks, rewind weights, and tickets of masks only."""

import functools
import warnings

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
def _run(make=tf_unilth.UniLTH):
  """Returns a callback that has run once, its model and what that had."""
  callback = make(verbose=0)
  return callback, *found_ticket.run(callback)


@functools.cache
def _found():
  """Returns a ticket that UniLTH has found, and its run."""
  callback, model, after = _run()
  return tf_unilth.Ticket.from_model(model, callback), model, after


def _assert_equal(some, others):
  for one, other in zip(some, others, strict=True):
    assert one.dtype == other.dtype
    np.testing.assert_array_equal(one, other)


# Taking it.


@pytest.mark.parametrize(
  ('make', 'method', 'seed', 'rewound_to'),
  [
    (tf_unilth.UniLTH, 'UniLTH', None, 2),
    (functools.partial(tf_unilth.LTH, rewind_step=8), 'LTH', None, 1),
    (functools.partial(tf_unilth.DLTH, seed=3), 'DLTH', 3, None),
    (
      functools.partial(tf_unilth.UniLTH, rewind_epochs=0),
      'UniLTH',
      None,
      None,
    ),
  ],
)
def test_one_line_takes_masks_and_what_was_rewound_to(
  make, method, seed, rewound_to
):
  callback, model, after = _run(make)
  ticket = tf_unilth.Ticket.from_model(model, callback)
  _assert_equal(ticket.masks.values(), toys.masks(model))
  assert (ticket.method, ticket.seed) == (method, seed)
  assert ticket.sparsity == callback.sparsity == round(0.8 * 444) / 444
  assert ticket.provenance['target_sparsities'] == [0.8]
  assert ticket.provenance['epochs'] == EPOCHS
  if rewound_to is None:
    assert ticket.rewind_weights is None
  else:
    _assert_equal(ticket.rewind_weights.values(), after[rewound_to])
    assert toys.zeros([ticket.rewind_weights[k] for k in _kernels(ticket)]) == 0


def _kernels(ticket):
  return [n for n in ticket.rewind_weights if n.endswith('kernel')]


def test_a_model_tells_its_method_without_the_callback():
  ticket, model, _ = _found()
  alone = tf_unilth.Ticket.from_model(model)
  assert alone.method == 'UniLTH' and alone.seed is None
  assert alone.rewind_weights is None
  _assert_equal(alone.masks.values(), ticket.masks.values())


def test_a_second_run_forgets_what_the_first_was_rewound_to():
  callback = tf_unilth.UniLTH(verbose=0)
  found_ticket.run(callback, toys.dense)
  assert callback.rewind_weights is not None
  model = tf_unilth.prune_low_magnitude(
    toys.dense(), tf_unilth.IterativeSparsity(0.5)
  )
  toys.compiled_for_labels(model)
  toys.fit(model, toys.SetValLoss(*range(9, 0, -1)), callback, epochs=5)
  assert callback.rewind_weights is None


def test_weights_of_before_training_are_taken_wrapped_or_not():
  model = toys.conv()
  plain = model.get_weights()
  model = tf_unilth.prune_low_magnitude(model, tf_unilth.IterativeSparsity(0.8))
  wrapped = model.get_weights()
  toys.compiled_for_labels(model)
  toys.fit(model, tf_unilth.DLTH(verbose=0), epochs=3)
  for initial in (plain, wrapped):
    ticket = tf_unilth.Ticket.from_model(model, rewind_weights=initial)
    _assert_equal(ticket.rewind_weights.values(), plain)


def test_a_stripped_model_gives_the_same_ticket():
  ticket, model, after = _found()
  stripped = tf_unilth.strip_pruning(
    keras.models.clone_model(model, clone_function=None)
  )
  stripped.set_weights(tf_unilth.strip_pruning(model).get_weights())
  again = tf_unilth.Ticket.from_model(
    stripped, rewind_weights=after[2], method='found', seed=5
  )
  _assert_equal(again.masks.values(), ticket.masks.values())
  _assert_equal(again.rewind_weights.values(), ticket.rewind_weights.values())
  assert (again.method, again.seed) == ('found', 5)


def test_layers_left_dense_are_in_it():
  callback = tf_unilth.UniLTH(verbose=0)
  make = functools.partial(
    keras.Sequential,
    [
      layers.Input((6, 6, 1)),
      layers.Flatten(),
      layers.Dense(16),
      layers.Dense(2, name='head'),
    ],
  )
  model, _ = found_ticket.run(callback, make, skip=['head'])
  ticket = tf_unilth.Ticket.from_model(model, callback)
  *_, head = ticket.masks.values()
  assert head.shape == (16, 2) and head.all()
  assert ticket.zeros == round(0.8 * 36 * 16)


@pytest.mark.parametrize(
  ('arguments', 'error', 'words'),
  [
    ({}, ValueError, 'has no zeros'),
    ({'callback': 'UniLTH'}, TypeError, 'ticket callback of a fit'),
    ({'seed': -1}, ValueError, 'seed must be None or a whole number >= 0'),
  ],
)
def test_what_is_no_ticket_is_refused(arguments, error, words):
  with pytest.raises(error, match=words):
    tf_unilth.Ticket.from_model(toys.dense(), **arguments)


def test_rewind_weights_of_another_model_are_refused():
  _, model, after = _found()
  take = functools.partial(tf_unilth.Ticket.from_model, model)
  with pytest.raises(ValueError, match=r'must be the 10 of model.*but are 9'):
    take(rewind_weights=after[0][:-1])
  wrong = [np.ones((7, *after[0][0].shape)), *after[0][1:]]
  with pytest.raises(ValueError, match=r"'conv2d.*kernel' of shape \(3, 3, 1"):
    take(rewind_weights=wrong)
  with pytest.raises(ValueError, match='no kernels; it must be built'):
    tf_unilth.Ticket.from_model(keras.Sequential([layers.Dense(2)]))


# Putting it onto a model.


def _with_zeros(model):
  """Cuts the first half of each kernel of a model."""
  for _, kernel in prunable_weights.model_kernels(model):
    value = kernel.numpy()
    value.reshape(-1)[: value.size // 2] = 0
    kernel.assign(value)
  return model


# Masks only.


@functools.cache
def _run_without_rewind(make):
  """Returns a callback that has run once, and its model."""
  callback = make(verbose=0)
  model = tf_unilth.prune_low_magnitude(
    toys.dense(), tf_unilth.IterativeSparsity(0.5)
  )
  toys.compiled_for_labels(model)
  toys.fit(model, callback, epochs=5)
  return callback, model


@pytest.mark.parametrize(
  ('make', 'method', 'why'),
  [
    (
      functools.partial(tf_unilth.UniLTH, patience=None),
      None,
      'its run by UniLTH of 5 epochs was never rewound',
    ),
    (tf_unilth.DLTH, None, 'a DLTH rewinds nothing'),
    (tf_unilth.DLTH, 'mine', 'its run by mine of 5 epochs was never rewound'),
  ],
)
def test_a_ticket_that_was_never_rewound_has_masks_only_and_says_so(
  make, method, why, tmp_path
):
  callback, model = _run_without_rewind(make)
  with pytest.warns(UserWarning, match=f'has masks only.*rewind.*: {why}') as w:
    ticket = tf_unilth.Ticket.from_model(model, callback, method=method)
  assert [warning.filename for warning in w] == [__file__]
  assert 'are zero; masks only;' in repr(ticket)
  ticket.save(tmp_path / 'a.ticket')
  fresh = toys.dense()
  before = fresh.get_weights()
  for one in (ticket, tf_unilth.Ticket.load(tmp_path / 'a.ticket')):
    with pytest.raises(ValueError, match=f'no rewind weights.*: {why}') as e:
      one.apply(fresh)
    assert 'apply(model, weights=False)' in str(e.value)
    _assert_equal(fresh.get_weights(), before)
  _assert_equal(
    toys.masks(ticket.apply(fresh, weights=False)), ticket.masks.values()
  )


def test_it_is_told_where_its_rewind_weights_were_left():
  _, model, after = _found()
  words = 'rewound to the end of epoch 2, but the callback that has those'
  with pytest.warns(UserWarning, match=words):
    alone = tf_unilth.Ticket.from_model(model)
  with pytest.raises(ValueError, match=words):
    alone.apply(toys.conv())
  with pytest.warns(UserWarning, match='none were given'):
    tf_unilth.Ticket.from_model(tf_unilth.strip_pruning(model))
  with warnings.catch_warnings():
    warnings.simplefilter('error')
    ticket = tf_unilth.Ticket.from_model(model, rewind_weights=after[2])
  assert 'are zero; rewind weights;' in repr(ticket)


def _zero_kernels():
  zero = functools.partial(layers.Dense, kernel_initializer='zeros')
  return keras.Sequential(
    [layers.Input((36,)), zero(16, activation='relu'), zero(2)]
  )


@pytest.mark.parametrize('weights', [True, False])
@pytest.mark.parametrize('saved', [True, False])
def test_a_model_of_zeros_is_given_its_masks_without_a_warning(
  weights, saved, tmp_path
):
  source = keras.Sequential(
    [layers.Input((36,)), layers.Dense(16, activation='relu'), layers.Dense(2)]
  )
  values = source.get_weights()
  with warnings.catch_warnings():
    warnings.simplefilter('error')
    ticket = tf_unilth.Ticket.from_model(
      _with_zeros(source), rewind_weights=values
    )
    model = ticket.apply(_zero_kernels(), weights=weights)
    toys.compiled_for_labels(model)
    if saved:
      model.save(tmp_path / 'model.keras')
      model = keras.models.load_model(tmp_path / 'model.keras')
    x, y = toys.data()
    model.fit(
      x.reshape(-1, 36), y, verbose=0, callbacks=[tf_unilth.UniLTH(verbose=0)]
    )
  _assert_equal(toys.masks(model), ticket.masks.values())
  _, last = toys.kernels(model)
  assert last.any() == weights


def test_a_ticket_that_keeps_nothing_of_a_layer_is_warned_of_in_fit():
  ticket = tf_unilth.Ticket(
    {'a': np.zeros((36, 4), bool), 'b': np.ones((4, 2), bool)}
  )
  model = keras.Sequential(
    [
      layers.Input((6, 6, 1)),
      layers.Flatten(),
      layers.Dense(4, name='a'),
      layers.Dense(2, name='b'),
    ]
  )
  model = toys.compiled_for_labels(ticket.apply(model, weights=False))
  with pytest.warns(UserWarning, match="layer 'a' masks all weights"):
    toys.fit(model, tf_unilth.UniLTH(verbose=0), epochs=1)

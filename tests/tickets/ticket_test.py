"""Ticket: taken from a run, put onto another model, trained there."""

import functools
import math
import pathlib
import re
import subprocess
import sys
import warnings

import numpy as np
import pytest
import tensorflow_model_optimization as tfmot
import tf_keras as keras

import tf_unilth
from tests.testing import toys
from tf_unilth.engines.tfmot import prunable_weights
from tf_unilth.engines.tfmot.pruned_model import PrunedLayers

layers = keras.layers
_ROOT = pathlib.Path(__file__).parents[2]
EPOCHS = 6
# The plateau is seen at epoch 4 and rewound to the end of epoch 2.
VAL_LOSS = (3, 2, 2.5, 2.2)


class _Weights(keras.callbacks.Callback):
  """Keeps the weights that the model has at the start and after epochs."""

  def __init__(self):
    super().__init__()
    self.after = []

  def _keep(self):
    weights = PrunedLayers(self.model).model_weights
    self.after.append([weight.numpy() for weight in weights])

  def on_train_begin(self, logs=None):
    self._keep()

  def on_epoch_end(self, epoch, logs=None):
    self._keep()


def _run(callback, make=toys.conv, wrap=tf_unilth.prune_low_magnitude, **skip):
  """Returns a trained wrapped model, and its weights epoch by epoch."""
  keras.utils.set_random_seed(1)
  model = wrap(make(), tf_unilth.IterativeSparsity(0.8, rounds=2), **skip)
  toys.compiled_for_labels(model)
  kept = _Weights()
  toys.fit(model, toys.SetValLoss(*VAL_LOSS), kept, callback, epochs=EPOCHS)
  return model, kept.after


@functools.cache
def _found_by():
  """Returns a UniLTH, to run once."""
  return tf_unilth.UniLTH(verbose=0)


@functools.cache
def _found():
  """Returns a ticket that it has found, and its run."""
  callback = _found_by()
  model, after = _run(callback)
  return tf_unilth.Ticket.from_model(model, callback), model, after


def _assert_equal(some, others):
  for one, other in zip(some, others, strict=True):
    assert one.dtype == other.dtype
    np.testing.assert_array_equal(one, other)


def _other_data(count=64):
  rng = np.random.default_rng(7)
  x = rng.normal(size=(count, 6, 6, 1)).astype(np.float32)
  return x, (x[:, :, :3].sum((1, 2, 3)) > 0).astype(np.int64)


# Taking it.


@pytest.mark.parametrize(
  ('make', 'method', 'seed', 'rewound_to'),
  [
    (tf_unilth.UniLTH, 'UniLTH', None, 2),
    (functools.partial(tf_unilth.UniDLTH, seed=3), 'UniDLTH', 3, 2),
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
  callback = make(verbose=0)
  model, after = _run(callback)
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
  _run(callback)
  assert callback.rewind_weights is not None
  model = tf_unilth.prune_low_magnitude(
    toys.conv(), tf_unilth.IterativeSparsity(0.5)
  )
  toys.compiled_for_labels(model)
  toys.fit(model, toys.SetValLoss(*range(9, 0, -1)), callback, epochs=5)
  assert callback.rewind_weights is None


@pytest.mark.parametrize('wrapped_first', [False, True])
def test_weights_of_before_training_are_taken_wrapped_or_not(wrapped_first):
  model = toys.conv()
  plain = initial = model.get_weights()
  model = tf_unilth.prune_low_magnitude(model, tf_unilth.IterativeSparsity(0.8))
  if wrapped_first:
    initial = model.get_weights()
  toys.compiled_for_labels(model)
  toys.fit(model, tf_unilth.DLTH(verbose=0), epochs=3)
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
  model, _ = _run(callback, make, skip=['head'])
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
  with pytest.raises(ValueError, match='no kernels; build it'):
    tf_unilth.Ticket.from_model(keras.Sequential([layers.Dense(2)]))


# Putting it onto a model.


@pytest.mark.parametrize(
  ('make', 'weights'),
  [
    (tf_unilth.UniLTH, True),
    (tf_unilth.UniLTH, False),  # The re-initialised control.
    (tf_unilth.UniDLTH, False),
    (tf_unilth.LTH, True),
    (tf_unilth.DLTH, False),
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


def test_the_readmes_program_runs(tmp_path, monkeypatch):
  readme = (_ROOT / 'README.md').read_text()
  (program,) = re.findall(r'```python\n(ticket = .*?)```', readme, re.S)
  _, model, after = _found()
  names = {
    'tf_unilth': tf_unilth,
    'build': toys.conv,
    'model': model,
    'callback': _found_by(),
  }
  monkeypatch.chdir(tmp_path)
  exec(program, names)
  _assert_begins_from(names['ticket'], names['sparse'], after[2])
  for sparse, control in zip(
    toys.kernels(names['sparse']), toys.kernels(names['control']), strict=True
  ):
    np.testing.assert_array_equal(sparse == 0, control == 0)
    assert (sparse != control).any()


# Masks only.


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
  callback = make(verbose=0)
  model = tf_unilth.prune_low_magnitude(
    toys.dense(), tf_unilth.IterativeSparsity(0.5)
  )
  toys.compiled_for_labels(model)
  toys.fit(model, callback, epochs=5)
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


# Another head.


def _with_head(*units, name='head', filters=6):
  inputs = layers.Input((6, 6, 1))
  x = layers.Conv2D(4, 3, padding='same')(inputs)
  x = layers.BatchNormalization()(x)
  x = layers.Conv2D(filters, 3, activation='relu')(layers.ReLU()(x))
  x = layers.Flatten()(x)
  for number, count in enumerate(units):
    x = layers.Dense(count, name=f'{name}{number or ""}')(x)
  return keras.Model(inputs, x, name='other')


@functools.cache
def _found_with_head():
  """Returns a ticket whose head has two units, and what it was rewound to."""
  callback = tf_unilth.UniLTH(verbose=0)
  model, after = _run(callback, functools.partial(_with_head, 2))
  return tf_unilth.Ticket.from_model(model, callback), after[2]


@pytest.mark.parametrize(
  ('units', 'name', 'skip'),
  [
    ((3,), 'head', ['head']),  # Another shape.
    ((2,), 'classes', 'classes'),  # Another name.
    ((5, 3), 'new', ['new', 'new1']),  # Another number of layers.
  ],
)
@pytest.mark.parametrize('wrapped', [False, True])
def test_a_model_with_another_head_takes_the_rest(units, name, skip, wrapped):
  ticket, rewound = _found_with_head()
  model = _with_head(*units, name=name)
  heads = {
    layer: layer.get_weights() for layer in model.layers if name in layer.name
  }
  assert len(heads) == len(units)
  if wrapped:
    model = tf_unilth.prune_low_magnitude(model, tf_unilth.FixedMask())
  model = ticket.apply(model, skip=skip)
  for layer, weights in heads.items():
    _assert_equal(layer.get_weights(), weights)
  masks = list(ticket.masks.values())[:-1]
  _assert_equal(toys.masks(model)[:2], masks)
  assert all(mask.all() for mask in toys.masks(model)[2:])
  rest = len(rewound) - 2
  variables = PrunedLayers(model).model_weights
  # The statistics of the normalisation stand behind the head's weights.
  expected = dict(zip(ticket.rewind_weights, rewound, strict=True))
  for kind in ('gamma', 'beta', 'moving_mean', 'moving_variance', 'bias'):
    (first, *_) = [v.numpy() for v in variables if kind in v.name]
    (value, *_) = [v for n, v in expected.items() if kind in n]
    np.testing.assert_array_equal(first, value)
  for kernel, value, mask in zip(
    toys.kernels(model),
    [v for n, v in expected.items() if n.endswith('kernel')][:-1],
    masks,
  ):
    np.testing.assert_array_equal(kernel, np.where(mask, value, 0))
  assert len(variables) == rest + 2 * len(units)
  _assert_trains(model, masks, heads)


def _assert_trains(model, masks, heads):
  """Asserts that layers train, and that masks are held meanwhile."""
  before = {layer: layer.get_weights() for layer in heads}
  toys.compiled_for_labels(model)
  toys.fit(model, tf_unilth.UniLTH(verbose=0), epochs=1)
  for layer, weights in before.items():
    assert all((a != b).any() for a, b in zip(layer.get_weights(), weights))
  for kernel, mask in zip(toys.kernels(model), masks):
    assert not kernel[~mask].any() and kernel[mask].all()


def test_layers_in_the_middle_and_models_inside_are_left_too():
  def make(middle, count=4):
    inside = [layers.Input((4,)), layers.Dense(4), layers.Dense(count)]
    return keras.Sequential(
      [
        layers.Input((5,)),
        layers.Dense(4, name='first'),
        keras.Sequential(inside, name=middle),
        layers.Dense(3, name='last'),
      ]
    )

  source = _with_zeros(make('body'))
  ticket = tf_unilth.Ticket.from_model(
    source, rewind_weights=source.get_weights()
  )
  model = make('other', 6)
  inner = model.get_layer('other')
  before = inner.get_weights()
  with pytest.raises(ValueError, match="its kernel 4 is 'last' of shape "):
    ticket.apply(model, skip=[inner])
  model = make('other')
  inner = model.get_layer('other')
  before = inner.get_weights()
  sparse = ticket.apply(model, skip=[inner])
  _assert_equal(inner.get_weights(), before)
  first, _, _, last = ticket.masks.values()
  _assert_equal(toys.masks(sparse), [first, last])


def test_what_does_not_fit_beside_what_is_skipped_is_named():
  ticket, _ = _found_with_head()
  model = _with_head(3, filters=5)
  before = model.get_weights()
  with pytest.raises(
    ValueError,
    match=r"kernel 2 is 'conv2d_\d+' of shape \(3, 3, 4, 6\), the model's "
    r"'conv2d_\d+' of shape \(3, 3, 4, 5\)",
  ):
    ticket.apply(model, skip=['head'])
  with pytest.raises(ValueError, match="skip names 'heat', which is no layer"):
    ticket.apply(model, skip=['heat'])
  with pytest.raises(ValueError, match='skip names all layers'):
    ticket.apply(model, skip=model.layers)
  with pytest.raises(ValueError, match='kernel 3 is'):
    ticket.apply(_with_head(3))
  _assert_equal(model.get_weights(), before)


def test_more_than_one_way_to_skip_is_refused():
  # One of two like layers is to be put between layers that are skipped.
  like = np.eye(4, dtype=bool)
  ticket = tf_unilth.Ticket({'d': like, 'd_1': like, 'head': like[:, :2]})
  model = keras.Sequential(
    [
      layers.Input((4,)),
      layers.Dense(4, name='x'),
      layers.Dense(4, name='d_7'),
      layers.Dense(4, name='y'),
      layers.Dense(2, name='head'),
    ]
  )
  with pytest.raises(ValueError, match="'d' or 'd_1': skip fewer layers"):
    ticket.apply(model, weights=False, skip=['x', 'y'])


# Another architecture.


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
    with pytest.raises(TypeError, match=r'must be a tf_keras.Model'):
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

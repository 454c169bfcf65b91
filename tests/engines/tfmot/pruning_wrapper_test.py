"""PruneLowMagnitude: the layer inside computes what it does without it."""

import copy
import pickle

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_model_optimization as tfmot
import tf_keras as keras

import tf_unilth
from recipes.costs import mixed_precision
from tests.testing import toys
from tf_unilth.engines.tfmot.pruned_model import PrunedLayers

layers = keras.layers
ours = tf_unilth.prune_low_magnitude
tfmots = tfmot.sparsity.keras.prune_low_magnitude


def _schedule(target=0.5):
  return tf_unilth.IterativeSparsity(target)


def _assert_same_function(model, x):
  """Checks that wrapping changes no output; returns the wrapped model."""
  wrapped = ours(model, _schedule())
  PrunedLayers(wrapped).disable_tfmot_updates()
  for training in (False, True):
    plain, other = (m(x, training=training) for m in (model, wrapped))
    tf.nest.map_structure(np.testing.assert_array_equal, plain, other)
  return wrapped


def _tokens(count=16):
  rng = np.random.default_rng(0)
  tokens = rng.integers(1, 20, (count, 6))
  tokens[:, 3:] *= rng.integers(0, 2, (count, 1))  # 0 is no token.
  return tokens


def _text(encode, mask_zero=True):
  inputs = layers.Input((6,), dtype='int32')
  x = layers.Embedding(20, 4, mask_zero=mask_zero)(inputs)
  return keras.Model(inputs, encode(x))


# Calls.


@pytest.mark.parametrize(
  'encode',
  [
    lambda x: layers.Bidirectional(layers.GRU(3))(x),
    lambda x: layers.GlobalAveragePooling1D()(layers.Dense(3)(x)),
    lambda x: layers.MultiHeadAttention(2, 3)(x, x),
    lambda x: layers.TimeDistributed(layers.Dense(3))(
      layers.LSTM(3, return_sequences=True)(x)
    ),
  ],
  ids=['bidirectional', 'dense', 'attention', 'time_distributed'],
)
def test_masks_of_sequences_go_on(encode):
  tokens = _tokens()
  model = _text(encode)
  _assert_same_function(model, tokens)
  # They matter here: another padding, another output.
  unmasked = _text(encode, mask_zero=False)
  unmasked.set_weights(model.get_weights())
  assert np.abs(model(tokens) - unmasked(tokens)).max() > 1e-4


def test_tfmots_wrapper_loses_them():
  model = _text(lambda x: layers.LSTM(3)(x))
  tokens = _tokens()
  difference = np.abs(tfmots(model, _schedule())(tokens) - model(tokens)).max()
  assert difference > 1e-4


def test_an_initial_state_goes_in_and_states_come_out():
  inputs, state = layers.Input((4, 2)), layers.Input((3,))
  outputs = layers.LSTM(3, return_state=True)(
    inputs, initial_state=[state, state]
  )
  model = keras.Model([inputs, state], outputs)
  rng = np.random.default_rng(0)
  x = [rng.normal(size=size).astype('f4') for size in ((5, 4, 2), (5, 3))]
  _assert_same_function(model, x)


@pytest.mark.parametrize('wrap', [lambda x: x, layers.Bidirectional])
def test_states_are_reset_by_the_model(wrap):
  inputs = layers.Input(batch_shape=(2, 3, 4))
  outputs = wrap(layers.LSTM(3, stateful=True))(inputs)
  model = ours(keras.Model(inputs, outputs), _schedule())
  x = np.ones((2, 3, 4), np.float32)
  first, second = model(x), model(x)
  model.reset_states()
  assert np.abs(first - second).max() > 0
  np.testing.assert_array_equal(model(x), first)


def test_attention_takes_its_other_inputs():
  query, value = layers.Input((4, 6)), layers.Input((5, 6))
  mask = layers.Input((4, 5), dtype='bool')
  attention = layers.MultiHeadAttention(2, 3)
  outputs = attention(
    query, value, attention_mask=mask, return_attention_scores=True
  )
  model = keras.Model([query, value, mask], outputs)
  rng = np.random.default_rng(0)
  x = [rng.normal(size=(2, n, 6)).astype('f4') for n in (4, 5)]
  x.append(rng.integers(0, 2, (2, 4, 5)).astype(bool))
  wrapped = _assert_same_function(model, x)
  assert len(PrunedLayers(wrapped).kernels) == 4


@keras.saving.register_keras_serializable('wrapper_test')
class _Late(layers.Layer):
  """Its kernel comes with its first call, which takes a plain number."""

  def __init__(self, **kwargs):
    super().__init__(**kwargs)
    self.inner = layers.Dense(3)

  def call(self, inputs, scale=1.0):
    return scale * self.inner(inputs)

  def get_prunable_weights(self):
    return [self.inner.kernel]


def test_kernels_may_come_with_a_call_with_plain_numbers(tmp_path):
  inputs = layers.Input((4,))
  wrapper = ours(_Late(), _schedule())
  model = keras.Model(inputs, wrapper(inputs, scale=2.0))
  x = np.ones((2, 4), np.float32)
  np.testing.assert_allclose(model(x), 2 * wrapper.layer.inner(x))
  model.save(tmp_path / 'model.keras')
  loaded = keras.models.load_model(tmp_path / 'model.keras')
  np.testing.assert_array_equal(loaded(x), model(x))


def test_training_reaches_a_layer_that_takes_it_by_keyword():
  class Noisy(layers.Dense):
    def call(self, inputs, *, training=False):
      return super().call(inputs) + (1.0 if training else 0.0)

  x = np.ones((2, 3), np.float32)
  model = keras.Sequential([Noisy(2, input_shape=(3,))])
  _assert_same_function(model, x)
  assert np.all(model(x, training=True) == model(x) + 1.0)


class _Sublayer(layers.Layer):
  """Its kernel is made by its first call."""

  def __init__(self):
    super().__init__()
    self.inside = layers.Dense(3)

  def call(self, x, training=None):
    return self.inside(x) + (1.0 if training else 0.0)

  def get_prunable_weights(self):
    return [self.inside.kernel]


@pytest.mark.parametrize('training', [None, False])
def test_a_first_call_may_have_arguments_that_are_no_tensors(training):
  x = np.ones((2, 4, 3), np.float32)
  attention = ours(layers.MultiHeadAttention(2, 4), _schedule())
  outputs, scores = attention(
    query=x, value=x, return_attention_scores=True, training=training
  )
  assert outputs.shape == (2, 4, 3) and scores.shape == (2, 2, 4, 4)
  assert ours(_Sublayer(), _schedule())(x, training=training).shape[-1] == 3
  assert ours(_Sublayer(), _schedule())(x=x).shape[-1] == 3


def test_training_is_seen_where_it_is_positional():
  wrapper = ours(_Sublayer(), tfmot.sparsity.keras.ConstantSparsity(0.5, 9))
  x = np.ones((2, 3), np.float32)
  plain = wrapper(x, False)
  wrapper.pruning_step.assign(0)
  np.testing.assert_array_equal(wrapper(x, True), plain + 1.0)
  assert wrapper.pruning_step.numpy() == 1


def test_copies_of_a_wrapper_are_their_own():
  wrapper = ours(layers.Dense(2), tfmot.sparsity.keras.ConstantSparsity(0.5, 1))
  x = np.ones((1, 4), np.float32)
  wrapper(x)
  twin = copy.deepcopy(wrapper)
  twin.pruning_step.assign(0)
  twin(x, training=True)
  assert wrapper.pruning_step.numpy() == -1
  assert np.mean(twin.pruning_vars[0][1].numpy()) == 0.5
  assert twin.layer.get_prunable_weights()[0] is twin.layer.kernel
  pickle.dumps(wrapper.layer)


@pytest.mark.parametrize('built', [True, False])
def test_activity_regularizers_count_once(built):
  def build():
    keras.utils.set_random_seed(0)
    dense = layers.Dense(8, activity_regularizer=keras.regularizers.L2(0.1))
    if built:
      model = keras.Sequential(
        [layers.Input((6, 6, 1)), layers.Flatten(), dense]
      )
      return model, ours(model, _schedule())
    wrapped = [
      layers.Input((6, 6, 1)),
      layers.Flatten(),
      ours(dense, _schedule()),
    ]
    return None, keras.Sequential(wrapped)

  plain = keras.Sequential([layers.Input((6, 6, 1)), layers.Flatten()])
  model, wrapped = build()
  model = model or wrapped
  x, _ = toys.data()
  outputs = wrapped(x)
  expected = 0.1 * float(tf.reduce_sum(outputs**2)) / len(x)
  wrapped.compile('sgd', lambda y, p: tf.constant(0.0))
  assert wrapped.evaluate(x, plain(x), 64, verbose=0) == pytest.approx(expected)


# Precision.


@pytest.mark.parametrize(
  ('policy', 'head'),
  [
    pytest.param('mixed_bfloat16', None, marks=pytest.mark.long),
    pytest.param('mixed_float16', 'float32', marks=pytest.mark.long),
    ('mixed_float16', None),
  ],
)
def test_half_precision_trains_as_without_the_wrapper(policy, head):
  keras.mixed_precision.set_global_policy(policy)
  try:
    assert mixed_precision.difference(ours, head) == 0
    # And tfmot's rounds, or does not take the float32 head.
    assert mixed_precision.difference(tfmots, head) != 0
  finally:
    keras.mixed_precision.set_global_policy('float32')


def test_half_precision_reaches_the_target():
  keras.mixed_precision.set_global_policy('mixed_float16')
  try:
    model = toys.compiled_for_labels(ours(toys.conv(), _schedule(0.9)))
    toys.fit(model, tf_unilth.UniLTH(verbose=0), epochs=4)
  finally:
    keras.mixed_precision.set_global_policy('float32')
  kernels = [kernel.weight for kernel in PrunedLayers(model).kernels]
  assert all(kernel.dtype == tf.float32 for kernel in kernels)
  values = [kernel.numpy() for kernel in kernels]
  assert toys.zeros(values) == round(0.9 * toys.size(values))
  # Full precision: more digits than half precision has.
  assert any((v != v.astype(np.float16)).any() for v in values)


# As one of tfmot's.


def test_tfmots_schedules_and_callbacks_make_the_same_masks(tmp_path):
  def train(wrap):
    keras.utils.set_random_seed(0)
    decay = tfmot.sparsity.keras.PolynomialDecay(0.2, 0.7, 1, 20, frequency=4)
    model = toys.compiled_for_labels(wrap(toys.conv(), decay))
    update = tfmot.sparsity.keras.UpdatePruningStep()
    logs = tfmot.sparsity.keras.PruningSummaries(
      str(tmp_path / wrap.__module__)
    )
    toys.fit(model, update, logs, epochs=4, shuffle=False)
    return model

  one, other = train(ours), train(tfmots)
  for arrays in (toys.masks, toys.kernels):
    for mine, theirs in zip(arrays(one), arrays(other), strict=True):
      np.testing.assert_array_equal(mine, theirs)
  assert 0.69 < np.mean(toys.masks(one)[0] == 0) < 0.75
  assert list((tmp_path / ours.__module__).iterdir())


def test_a_schedule_without_its_callback_is_said_as_by_tfmot():
  model = toys.compiled_for_labels(
    ours(toys.dense(), tfmot.sparsity.keras.ConstantSparsity(0.5, 1))
  )
  with pytest.raises(
    tf.errors.InvalidArgumentError, match='UpdatePruningStep callback'
  ):
    toys.fit(model, epochs=1)


def test_a_file_holds_each_kernel_once(tmp_path):
  sizes = {}
  for name, wrap in (('ours', ours), ('tfmots', tfmots)):
    model = keras.Sequential([layers.Dense(100, input_shape=(100,))])
    wrap(model, _schedule()).save(tmp_path / f'{name}.keras')
    sizes[name] = (tmp_path / f'{name}.keras').stat().st_size
  # Kernel and mask, where tfmot's has the kernel twice.
  assert 80_000 < sizes['ours'] < 110_000 < sizes['tfmots']


def test_a_copy_of_a_model_is_pruned_like_the_model():
  model = ours(toys.conv(), _schedule())
  twin = keras.models.clone_model(model)
  assert len(PrunedLayers(twin).schedules) == 1
  toys.compiled_for_labels(twin)
  toys.fit(twin, tf_unilth.UniLTH(verbose=0), epochs=4)
  kernels = toys.kernels(twin)
  assert toys.zeros(kernels) == toys.size(kernels) // 2

"""export_saved_model: plain TensorFlow loads it, and it is small."""

import contextlib
import logging
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

import tf_unilth
from tests.testing import toys
from tf_unilth.export import export_checks

layers = keras.layers


def _sparse(model, sparsity=0.9):
  """Gives all matrices of a model random zeros."""
  rng = np.random.default_rng(0)
  for variable in model.variables:
    if variable.shape.rank > 1:
      values = rng.normal(size=variable.shape)
      values[rng.random(values.shape) < sparsity] = 0
      variable.assign(tf.cast(values, variable.dtype))
  return model


def _mlp(*sizes, **dense):
  hidden = [layers.Dense(size, activation='relu', **dense) for size in sizes]
  return keras.Sequential([layers.Input((200,)), *hidden, layers.Dense(10)])


def _batch(*shape):
  return np.random.default_rng(1).normal(size=shape).astype(np.float32)


def _has_packed(path):
  names = tf.train.list_variables(f'{path}/variables/variables')
  return any(name.startswith('packed_weights') for name, _ in names)


_ALONE = """
import sys
sys.modules.update(dict.fromkeys(
  ('tf_unilth', 'tf_keras', 'tensorflow_model_optimization')))
import numpy as np, tensorflow as tf
path, x = sys.argv[1], np.load('x.npy')
loaded = tf.saved_model.load(path)
again = tf.saved_model.load(path)
for variable in again.variables:
  variable.assign(tf.zeros_like(variable))  # Of another load: no matter here.
np.save('loaded.npy', loaded.serve(tf.constant(x)))
(served,) = loaded.signatures['serving_default'](tf.constant(x)).values()
np.save('signature.npy', served)
with tf.compat.v1.Session(graph=tf.Graph()) as session:
  graph = tf.compat.v1.saved_model.load(session, ['serve'], path)
  signature = graph.signature_def['serving_default']
  (fed,), (fetched,) = signature.inputs.values(), signature.outputs.values()
  np.save('session.npy', session.run(fetched.name, {fed.name: x}))
"""


@pytest.mark.long
@pytest.mark.parametrize(
  'build', [toys.conv, lambda: _sparse(_mlp(300, 300))], ids=['small', 'packed']
)
@pytest.mark.usefixtures('optimized')
def test_a_process_with_tensorflow_alone_computes_the_same(tmp_path, build):
  model = build()
  x = _batch(5, *model.input_shape[1:])
  path = tmp_path / 'export'
  exported = tf_unilth.export_saved_model(model, path, inputs=x)
  assert exported.output_difference == 0
  assert _has_packed(path) == (build is not toys.conv)
  np.save(tmp_path / 'x.npy', x)
  subprocess.run(
    [sys.executable, '-c', _ALONE, str(path)], check=True, cwd=tmp_path
  )
  for way in ('loaded', 'signature', 'session'):
    np.testing.assert_array_equal(
      np.load(tmp_path / f'{way}.npy'), model.predict_on_batch(x), err_msg=way
    )


def test_temporary_paths_are_not_logged_where_python_is_interactive(
  tmp_path, caplog
):
  logger = tf.get_logger()
  level = logger.level
  caplog.set_level('INFO', logger='tensorflow')
  logger.addHandler(caplog.handler)
  try:
    tf_unilth.export_saved_model(_mlp(4), tmp_path / 'export')
    assert logger.level == logging.INFO
  finally:
    logger.removeHandler(caplog.handler)
    logger.setLevel(level)
  assert 'Assets written' not in caplog.text


@pytest.mark.parametrize('sparsity', [0.5, 0.8, 0.9, 0.95, 0.98, 0.995])
def test_the_checkpoint_is_as_small_as_it_may_be(sparsity, tmp_path):
  model = _sparse(_mlp(600, 600, 300), sparsity)
  exported = tf_unilth.export_saved_model(model, tmp_path / 'export')
  kernels = [w for w in model.get_weights() if w.ndim > 1]
  kept = sum(np.count_nonzero(kernel) for kernel in kernels)
  size = sum(kernel.size for kernel in kernels)
  biases = sum(w.nbytes for w in model.get_weights() if w.ndim == 1)
  bound = 1.05 * (4 * kept + min(size / 8, 4 * kept) + biases)
  assert exported.stored_bytes <= bound
  data = tmp_path / 'export/variables/variables.data-00000-of-00001'
  # TensorFlow writes the names of all objects there as well.
  assert data.stat().st_size <= exported.stored_bytes + 3000
  assert exported.zeros_kept == exported.zeros == size - kept


def _functional(name):
  inputs = layers.Input((200,), name='first')
  if name == 'shared, normalised, dropout':
    shared = layers.Dense(200)
    x = layers.Dropout(0.5)(layers.BatchNormalization()(shared(inputs)))
    return keras.Model(inputs, shared(x))
  if name == 'several inputs and outputs':
    other = layers.Input((100,), name='second')
    outputs = [layers.Dense(100)(inputs), layers.Dense(200)(other)]
    return keras.Model([inputs, other], outputs)
  if name == 'dictionaries':
    tokens = layers.Input((None,), name='tokens', dtype='int32')
    x = layers.Embedding(500, 50)(tokens)
    x = layers.Bidirectional(layers.LSTM(32))(x)
    return keras.Model(
      {'first': inputs, 'tokens': tokens},
      {'a': layers.Dense(100)(inputs), 'b': layers.Dense(10)(x)},
    )
  if name == 'nested':
    return keras.Sequential([inputs, _mlp(200), layers.Dense(5)])
  if name == 'images, augmented':
    images = layers.Input((8, 8, 3), dtype='uint8')
    x = layers.RandomRotation(0.3)(layers.Rescaling(1 / 255)(images))
    return keras.Model(images, layers.Conv2D(128, 5)(x + 0.5))
  model = _WithControlFlow()
  model({'x': tf.zeros((2, 200))})
  return model


class _WithControlFlow(keras.Model):
  def __init__(self):
    super().__init__()
    self.hidden = layers.Dense(200)
    self.head = layers.Dense(10)

  def call(self, inputs):
    x = inputs['x']
    for _ in tf.range(3):
      x = tf.tanh(self.hidden(x))
    if tf.reduce_sum(x) > 0:
      x = -x
    return {'y': self.head(x)}


@pytest.mark.parametrize(
  'name',
  [
    'shared, normalised, dropout',
    'several inputs and outputs',
    'dictionaries',
    'nested',
    'images, augmented',
    'subclassed, control flow',
  ],
)
def test_models_of_all_kinds_are_packed(name, tmp_path):
  model = _sparse(_functional(name))
  exported = tf_unilth.export_saved_model(model, tmp_path / 'export')
  assert exported.packed > 0
  assert exported.ratio > 6
  assert exported.compared_on == 'on made-up inputs'
  assert exported.output_difference == 0
  assert _has_packed(tmp_path / 'export')
  loaded = tf.saved_model.load(str(tmp_path / 'export'))
  for variable, weight in zip(loaded.variables, model.variables, strict=True):
    np.testing.assert_array_equal(variable.numpy(), weight.numpy())


@pytest.mark.parametrize('policy', ['mixed_float16', 'mixed_bfloat16'])
def test_models_of_mixed_precision_are_packed(policy, tmp_path):
  model = _sparse(_mlp(200, 200, dtype=policy))
  exported = tf_unilth.export_saved_model(model, tmp_path / 'export')
  assert exported.packed == 3
  assert exported.output_difference == 0


@pytest.mark.parametrize('inside', [False, True], ids=['outside', 'in_scope'])
def test_a_mirrored_model_is_packed(inside, tmp_path):
  strategy = tf.distribute.MirroredStrategy(['CPU:0'])
  with strategy.scope():
    model = _sparse(_mlp(300))
  with strategy.scope() if inside else contextlib.nullcontext():
    exported = tf_unilth.export_saved_model(model, tmp_path / 'export')
  assert exported.packed == 2
  assert exported.output_difference == 0


def test_a_scope_loads_what_is_not_packed(tmp_path):
  # In a scope TensorFlow gives functions placeholders for variables while it
  # loads, so that no initializer can assign one. Should this change, say so.
  model = _sparse(_mlp(300))
  for packed in (True, False):
    path = tmp_path / str(packed)
    tf_unilth.export_saved_model(model, path, packed=packed)
    with tf.distribute.MirroredStrategy(['CPU:0']).scope():
      if packed:
        with pytest.raises(tf.errors.InvalidArgumentError, match='cross-repl'):
          tf.saved_model.load(str(path))
      else:
        tf.saved_model.load(str(path))


def test_what_unpacks_is_loaded_as_it_was_traced(tmp_path):
  tf_unilth.export_saved_model(_sparse(_mlp(300)), tmp_path / 'export')
  unpacker = tf.saved_model.load(str(tmp_path / 'export')).unpacker
  polymorphic = tf.types.experimental.PolymorphicFunction
  assert not isinstance(unpacker._initialize, polymorphic)
  assert isinstance(unpacker._initialize, tf.types.experimental.Callable)
  # Nothing is called when it goes.
  assert not isinstance(
    unpacker._destroy_resource, tf.types.experimental.Callable
  )


def test_zeros_with_a_sign_come_back(tmp_path):
  model = _sparse(_mlp(300))
  kernel = model.layers[0].kernel
  kernel.assign(np.where(kernel == 0, np.float32(-0.0), kernel))
  exported = tf_unilth.export_saved_model(model, tmp_path / 'export')
  assert exported.packed == 2  # What differs in a bit is refused.
  assert exported.zeros_kept == exported.zeros


@pytest.mark.parametrize('sparsity', [0, 0.9])
def test_float16_halves_it_and_says_the_error(sparsity, tmp_path):
  model = _sparse(_mlp(300), sparsity)
  exported = tf_unilth.export_saved_model(
    model, tmp_path / 'export', dtype='float16'
  )
  kernels = [w for w in model.get_weights() if w.ndim > 1]
  rounding = max(
    np.abs(kernel - kernel.astype('f2').astype('f4')).max()
    for kernel in kernels
  )
  assert exported.weight_difference == rounding
  assert 0 < exported.output_difference < 0.1
  assert exported.ratio > (12 if sparsity else 1.9)
  assert f'weights differ by at most {rounding:.2g}' in str(exported)


def test_a_model_without_zeros_is_written_and_the_result_says_so(tmp_path):
  exported = tf_unilth.export_saved_model(_mlp(300), tmp_path / 'export')
  assert exported.packed == 0
  assert exported.stored_bytes == exported.dense_bytes
  assert 'none packed: there are no zeros' in str(exported)
  (note,) = exported.notes
  assert f'note: {note}' in str(exported)
  assert 'dense' in note and 'ticket callback' in note
  assert 'tf_unilth.strip_pruning(model)' in note
  assert not tf_unilth.export_saved_model(
    _sparse(_mlp(8)), tmp_path / 'sparse'
  ).notes


class _Cell(keras.Model):
  """A subclassed model, whose GRU has biases of two dimensions, all zero."""

  def __init__(self):
    super().__init__()
    self.gru, self.head = layers.GRU(4), layers.Dense(2)

  def call(self, inputs):
    return self.head(self.gru(inputs))


def test_biases_that_are_zero_make_no_sparse_model():
  model = _Cell()
  model(np.ones((2, 5, 3), np.float32))
  (note,) = export_checks.notes_on_zeros(model)
  assert 'it has no zeros' in note
  model.head.kernel[0, 0].assign(0)
  assert not export_checks.notes_on_zeros(model)


def test_packed_false_writes_a_plain_one(tmp_path):
  model = _sparse(_mlp(300))
  exported = tf_unilth.export_saved_model(
    model, tmp_path / 'export', packed=False
  )
  assert (exported.packed, exported.ratio) == (0, 1)
  assert not _has_packed(tmp_path / 'export')


@pytest.mark.parametrize(
  'arguments', [{'dtype': 'int8'}, {'dtype': 'float16', 'packed': False}]
)
def test_types_that_cannot_be_are_refused(arguments, tmp_path):
  with pytest.raises(ValueError, match=r'dtype'):
    tf_unilth.export_saved_model(_mlp(3), tmp_path / 'export', **arguments)


def test_a_loaded_one_has_variables_to_train_and_is_saved_again(tmp_path):
  model, x = _sparse(_mlp(300)), _batch(3, 200)
  tf_unilth.export_saved_model(model, tmp_path / 'export')
  loaded = tf.saved_model.load(str(tmp_path / 'export'))
  assert len(loaded.trainable_variables) == len(model.trainable_variables)
  with tf.GradientTape() as tape:
    loss = tf.reduce_sum(loaded.serve(x))
  assert None not in tape.gradient(loss, loaded.trainable_variables)
  tf.saved_model.save(loaded, str(tmp_path / 'again'), loaded.signatures)
  again = tf.saved_model.load(str(tmp_path / 'again'))
  np.testing.assert_array_equal(again.serve(x), model.predict_on_batch(x))


def test_other_signatures_are_served(tmp_path):
  model, x = _sparse(_mlp(300)), _batch(3, 200)
  probabilities = tf.function(
    lambda x: {'p': tf.nn.softmax(model(x, training=False))},
    input_signature=[tf.TensorSpec((None, 200), name='x')],
  )
  tf_unilth.export_saved_model(
    model, tmp_path / 'export', signatures={'probabilities': probabilities}
  )
  served = tf.saved_model.load(str(tmp_path / 'export')).signatures
  assert {'serving_default', 'probabilities'} <= set(served)
  found = served['probabilities'](tf.constant(x))['p']
  np.testing.assert_array_equal(found, probabilities(x)['p'])


def test_strings_are_compared_only_where_they_are_given(tmp_path):
  words = layers.Input((), dtype='string')
  x = layers.StringLookup(vocabulary=['a', 'b'])(words)
  model = _sparse(keras.Model(words, layers.Embedding(500, 100)(x)))
  exported = tf_unilth.export_saved_model(model, tmp_path / 'made_up')
  assert exported.output_difference is None
  assert 'outputs not compared (no inputs given' in str(exported)
  exported = tf_unilth.export_saved_model(
    model, tmp_path / 'given', inputs=np.array(['a', 'c'])
  )
  assert (exported.packed, exported.output_difference) == (1, 0)
  assert exported.compared_on == 'on 2 inputs given'

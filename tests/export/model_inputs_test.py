"""Inputs of exports: whatever a model takes, given or made up."""

import numpy as np
import pytest
import scipy.sparse
import tensorflow as tf
import tf_keras as keras

import tf_unilth
from tf_unilth.engines import served_model
from tf_unilth.engines.input_ids import input_ids
from tf_unilth.export import saved_model_verification
from tf_unilth.export.model_inputs import ModelInputs

layers = keras.layers


def _ragged_model():
  inputs = layers.Input((None, 3), ragged=True)
  return keras.Model(inputs, layers.TimeDistributed(layers.Dense(2))(inputs))


def _mixed_model():
  """Takes a dense, a sparse and a ragged tensor; gives all three."""
  dense = layers.Input((3,), name='dense')
  sparse = layers.Input((6,), sparse=True, name='sparse')
  ragged = layers.Input((None,), ragged=True, dtype='int64', name='ragged')
  words = layers.Embedding(7, 2)(ragged)
  outputs = {
    'ragged': words,
    'sparse': layers.Lambda(lambda x: tf.sparse.map_values(tf.exp, x))(sparse),
    'dense': layers.Dense(2)(sparse) + layers.Dense(2)(dense),
  }
  return keras.Model((dense, [sparse, ragged]), outputs)


_RAGGED = tf.RaggedTensor.from_row_lengths(np.ones((5, 3), 'float32'), [2, 3])


def test_a_ragged_model_is_compared_on_what_is_given_and_made_up(tmp_path):
  model = _ragged_model()
  exported = tf_unilth.export_saved_model(model, tmp_path / 'a', inputs=_RAGGED)
  assert exported.output_difference == 0
  assert exported.compared_on == 'on 2 inputs given'
  loaded = tf.saved_model.load(str(tmp_path / 'a'))
  assert loaded.serve(_RAGGED).to_list() == model(_RAGGED).to_list()
  exported = tf_unilth.export_saved_model(model, tmp_path / 'b')
  assert exported.output_difference == 0
  assert exported.compared_on == 'on made-up inputs'


def test_a_nested_model_of_all_kinds_is_compared(tmp_path):
  exported = tf_unilth.export_saved_model(_mixed_model(), tmp_path / 'a')
  assert exported.output_difference == 0
  assert exported.compared_on == 'on made-up inputs'


def test_outputs_that_are_ragged_or_sparse_are_compared():
  model = _mixed_model()
  takes, served = ModelInputs(model), served_model.of_model(model)
  batch = takes.nest(takes.made_up(0).values())
  for name, change in (
    ('ragged', lambda x: tf.ragged.map_flat_values(lambda v: v + 1, x)),
    ('sparse', lambda x: tf.sparse.map_values(lambda v: v + 1, x)),
    ('ragged', lambda x: x[:, :1]),
    ('ragged', lambda x: x[:1]),
  ):

    def changed(inputs, name=name, change=change):
      outputs = model(inputs)
      return {**outputs, name: change(outputs[name])}

    found, _ = saved_model_verification._compare(served, model, changed, batch)
    assert found >= 1
    found, _ = saved_model_verification._compare(served, model, model, batch)
    assert found == 0


def _taken(model, inputs):
  """Returns inputs as the model takes them, flat."""
  served = served_model.of_model(model)
  batch = saved_model_verification.checked_batch(served, inputs)
  return tf.nest.flatten(batch)


@pytest.mark.parametrize(
  'given',
  [
    _RAGGED,
    [_RAGGED],
    tf.cast(_RAGGED, tf.float64),
    _RAGGED.with_row_splits_dtype(tf.int32),
    [[[1.0] * 3] * 2, [[1] * 3] * 3],
  ],
)
def test_ragged_inputs_are_taken(given):
  (found,) = _taken(_ragged_model(), given)
  assert found.dtype == tf.float32 and found.row_splits.dtype == tf.int64
  assert found.to_list() == _RAGGED.to_list()


def test_dense_inputs_are_taken_for_ragged_ones():
  (found,) = _taken(_ragged_model(), np.ones((2, 4, 3)))
  assert found.row_lengths().numpy().tolist() == [4, 4]


@pytest.mark.parametrize('kind', ['tensor', 'scipy', 'dense'])
def test_sparse_inputs_are_taken(kind):
  inputs = layers.Input((4,), sparse=True)
  model = keras.Model(inputs, layers.Dense(2)(inputs))
  dense = np.eye(4)[:3]
  given = {
    'tensor': tf.sparse.from_dense(dense),
    'scipy': scipy.sparse.csr_matrix(dense),
    'dense': dense,
  }
  (found,) = _taken(model, given[kind])
  np.testing.assert_array_equal(tf.sparse.to_dense(found), np.float32(dense))


def _two_inputs(structure):
  a, b = layers.Input((3,), name='a-a'), layers.Input((), name='b')
  return keras.Model(structure(a, b), layers.Dense(2)(a) + tf.expand_dims(b, 1))


A, B = np.ones((2, 3)), np.zeros(2)


@pytest.mark.parametrize(
  'structure, given',
  [
    (lambda a, b: [a, b], (A, B)),
    (lambda a, b: (a, b), [A, B]),
    (lambda a, b: [a, b], {'b': B, 'a-a': A}),
    (lambda a, b: {'x': a, 'y': b}, {'y': B, 'x': A}),
    (lambda a, b: (a, {'z': (b,)}), (A, {'z': (B,)})),
    (lambda a, b: (a, {'z': (b,)}), [A.tolist(), {'z': [B]}]),
  ],
)
def test_nested_inputs_are_taken_as_lists_tuples_and_dicts(structure, given):
  found = _taken(_two_inputs(structure), given)
  assert [tuple(tensor.shape) for tensor in found] == [(2, 3), (2,)]


@pytest.mark.parametrize(
  'given, words',
  [
    ((A, B, B), 'has 3 arrays, but the model takes 2: a-a, b'),
    ({'a-a': A}, 'has a-a, but the model takes 2'),
    (A, 'has 1 array, but the model takes 2'),
    ((A, B[:1]), 'as many samples for each input'),
    ((_RAGGED, B), 'for a_a must be dense.*RaggedTensor'),
    ((tf.sparse.from_dense(A), B), 'for a_a must be dense.*SparseTensor'),
  ],
)
def test_inputs_of_another_structure_are_named(given, words):
  with pytest.raises(ValueError, match=rf'inputs must be a batch.*{words}'):
    _taken(_two_inputs(lambda a, b: [a, b]), given)


def test_what_is_not_ragged_or_sparse_is_named():
  with pytest.raises(
    ValueError, match='must be a ragged tensor of ragged rank'
  ):
    _taken(_ragged_model(), 'words')
  with pytest.raises(
    ValueError, match='must be a ragged tensor of ragged rank'
  ):
    _taken(_ragged_model(), tf.ragged.constant([[[1.0], [2.0, 3.0]]]))
  with pytest.raises(ValueError, match=r'shape \(2, None, 4\).*takes'):
    _taken(_ragged_model(), tf.concat([_RAGGED, _RAGGED[..., :1]], 2))


def test_what_cannot_be_made_up_says_how_to_compare(tmp_path):
  words = layers.Input((None,), dtype='string', ragged=True)
  length = layers.Lambda(tf.strings.length)(words)
  model = keras.Model(words, length)
  exported = tf_unilth.export_saved_model(model, tmp_path / 'a')
  assert exported.output_difference is None
  assert 'give some by inputs=' in str(exported)
  exported = tf_unilth.export_saved_model(
    model, tmp_path / 'b', inputs=[['a', 'bb'], ['c']]
  )
  assert exported.output_difference == 0


def _ids(model):
  """Returns how many ids each input may hold."""
  specs = ModelInputs(model).specs
  served = served_model.of_model(model)
  found = input_ids(model, list(specs.values()), served)
  return {n: ids and len(ids) for n, ids in zip(specs, found, strict=True)}


def _number(name, dtype='int32', shape=(4,)):
  return layers.Input(shape, dtype=dtype, name=name)


def test_each_input_has_the_ids_of_its_own_embedding():
  a, b, c = _number('a'), _number('b'), _number('c')
  both = layers.Concatenate()(
    [layers.Embedding(3, 2)(a), layers.Embedding(900, 2)(b)]
  )
  model = keras.Model([a, b, c], [both, layers.Dense(2)(tf.cast(c, 'float32'))])
  assert _ids(model) == {'a': 3, 'b': 900, 'c': None}
  drawn = ModelInputs(model).made_up(0, 50)
  assert drawn['a'].max() == 2 and drawn['b'].max() > 500
  assert drawn['c'].max() == 1
  # The order of a dict is not that of the layers.
  model = keras.Model({'z': a, 'y': b, 'x': c}, [both, c + 1])
  assert _ids(model) == {'z': 3, 'y': 900, 'x': None}


def test_an_input_of_two_embeddings_has_the_ids_of_both():
  a = _number('a')
  both = layers.Embedding(30, 2)(a) + layers.Embedding(5, 2)(a)
  assert _ids(keras.Model(a, both)) == {'a': 5}


def test_ids_are_followed_through_models_wrappers_and_reshaping():
  table = layers.Embedding(11, 2)
  inner_a, inner_b = _number('inner_a'), _number('inner_b')
  inner = keras.Model(
    [inner_a, inner_b],
    layers.Concatenate()(
      [table(inner_a), layers.Embedding(77, 2)(inner_b[:, ::-1])]
    ),
  )
  a, b, times = _number('a'), _number('b'), _number('times', shape=(2, 4))
  model = keras.Model(
    [a, b, times],
    [
      inner([layers.Reshape((4,))(a), tf.cast(b, 'int64')]),
      layers.TimeDistributed(layers.Embedding(23, 2))(times),
    ],
  )
  assert _ids(model) == {'a': 11, 'b': 77, 'times': 23}
  nested = keras.Sequential(
    [layers.Input((2, 4)), layers.TimeDistributed(keras.Sequential([table]))]
  )
  assert list(_ids(nested).values()) == [11]


def test_what_is_encoded_first_may_be_anything():
  a, b, c = _number('a', 'int64'), _number('b', 'int64'), _number('c', 'int64')
  strict = layers.IntegerLookup(vocabulary=[100, 200, 300], num_oov_indices=0)
  encoded = [
    layers.IntegerLookup(vocabulary=[100, 200, 300])(a),
    layers.Hashing(4)(b),
    strict(c),
  ]
  model = keras.Model([a, b, c], [layers.Embedding(9, 2)(e) for e in encoded])
  assert _ids(model) == {'a': None, 'b': None, 'c': 3}
  assert {*ModelInputs(model).made_up(0)['c'].ravel()} <= {100, 200, 300}
  one_hot = layers.CategoryEncoding(num_tokens=6)(a)
  assert _ids(keras.Model(a, one_hot)) == {'a': 6}


def test_features_of_a_float_branch_are_no_ids():
  image, ids = _number('image', 'float32'), _number('ids', 'float32')
  codes = tf.argmax(layers.Dense(5)(image), -1)
  model = keras.Model(
    [image, ids], [layers.Embedding(5, 2)(codes), layers.Embedding(8, 2)(ids)]
  )
  assert _ids(model) == {'image': None, 'ids': 8}


class _Tokens(keras.layers.Layer):
  """Embeds tokens and their positions; nobody sees which is which."""

  def __init__(self):
    super().__init__()
    self.tokens, self.positions = (
      layers.Embedding(50, 2),
      layers.Embedding(9, 2),
    )

  def call(self, inputs):
    ids, weights = inputs
    places = tf.range(tf.shape(ids)[1])
    return (self.tokens(ids) + self.positions(places)) * weights[..., None]


def test_inside_of_custom_layers_the_smallest_embedding_counts():
  ids, weights = _number('ids'), _number('weights', 'float32')
  model = keras.Model([ids, weights], _Tokens()([ids, weights]))
  assert _ids(model) == {'ids': 9, 'weights': None}

  class Subclassed(keras.Model):
    def __init__(self):
      super().__init__()
      self.tokens = _Tokens()

    def call(self, inputs):
      return self.tokens([inputs['ids'], inputs['weights']])

  subclassed = Subclassed()
  subclassed({'ids': np.zeros((2, 4), 'int32'), 'weights': np.ones((2, 4))})
  assert _ids(subclassed) == {'ids': 9, 'weights': None}


def test_ragged_ids_are_made_up_in_range(tmp_path):
  words = layers.Input((None,), ragged=True, dtype='int32')
  model = keras.Model(words, layers.Embedding(3, 2)(words))
  drawn = ModelInputs(model).made_up(0, 40)
  values = next(iter(drawn.values())).flat_values.numpy()
  assert {*values} == {0, 1, 2}

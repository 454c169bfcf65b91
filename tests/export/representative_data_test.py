"""representative_data: arrays, datasets and generators, with labels or not."""

import itertools

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

import tf_unilth
from tf_unilth.export import representative_data
from tf_unilth.export.model_inputs import ModelInputs

layers = keras.layers
Dataset = tf.data.Dataset
_RNG = np.random.default_rng(0)
X, Y = _RNG.random((40, 3), np.float32), _RNG.integers(2, size=40)
A, B = X, _RNG.random((40, 5, 2), np.float32)


def _one():
  return keras.Sequential([layers.Dense(2, input_shape=(3,))])


def _two():
  left, right = layers.Input((3,), name='a'), layers.Input((5, 2), name='b')
  both = layers.Concatenate()([left, layers.Flatten()(right)])
  return keras.Model([left, right], layers.Dense(1)(both))


def _read(model, data):
  """Returns all samples, by input, and how many there are."""
  batches, count = representative_data.read(ModelInputs(model), data)
  (joined,) = representative_data.joined(batches)
  return list(joined.values()), count


_SINGLE = {
  'array': X,
  'array and labels': (X, Y),
  'by name': lambda: {next(iter(ModelInputs(_one()).specs)): X},
  'batched': Dataset.from_tensor_slices(X).batch(16),
  'not batched': Dataset.from_tensor_slices(X),
  'batched, labels': Dataset.from_tensor_slices((X, Y)).batch(16),
  'not batched, labels': Dataset.from_tensor_slices((X, Y)),
  'labels like inputs': Dataset.from_tensor_slices((X, -X)),
  'weights': Dataset.from_tensor_slices((X, Y, Y)).batch(7),
  'lists of arrays': lambda: ([x[None]] for x in X),
  'lists of samples': lambda: ([x] for x in X),
  'arrays': lambda: (x[None] for x in X),
  "TFLite's own class": tf.lite.RepresentativeDataset(
    lambda: ([x[None]] for x in X)
  ),
  'tuples': lambda: ((x[None], y) for x, y in zip(X, Y, strict=True)),
}


@pytest.mark.parametrize('form', _SINGLE)
def test_all_forms_are_the_same_samples(form):
  model = _one()
  (name,) = ModelInputs(model).specs
  data = {name: X} if form == 'by name' else _SINGLE[form]
  (found,), count = _read(model, data)
  np.testing.assert_array_equal(found, X)
  assert count == 40


_SEVERAL = {
  'arrays': (A, B),
  'list': [A, B],
  'by name': {'b': B, 'a': A},
  'and labels': ((A, B), Y),
  'by name, and labels': ({'a': A, 'b': B}, Y),
  'dataset of inputs': Dataset.from_tensor_slices((A, B)),
  'dataset without labels': Dataset.from_tensor_slices(((A, B),)),
  'dataset, labels': Dataset.from_tensor_slices(((A, B), Y)).batch(8),
  'dataset by name': Dataset.from_tensor_slices({'b': B, 'a': A}).batch(8),
  'dataset by name, labels': Dataset.from_tensor_slices(({'a': A, 'b': B}, Y)),
  'dataset with more': Dataset.from_tensor_slices({'a': A, 'b': B, 'y': Y}),
  'lists of arrays': lambda: ([a[None], b[None]] for a, b in zip(A, B)),
  'dicts': lambda: ({'b': b[None], 'a': a[None]} for a, b in zip(A, B)),
}


@pytest.mark.parametrize('form', _SEVERAL)
def test_several_inputs_are_told_from_labels(form):
  found, count = _read(_two(), _SEVERAL[form])
  np.testing.assert_array_equal(found[0], A)
  np.testing.assert_array_equal(found[1], B)
  assert count == 40


def test_what_is_endless_is_read_so_far():
  endless = Dataset.from_tensor_slices(X).repeat()
  for data in (
    endless,
    endless.batch(64),
    lambda: itertools.repeat([X[:1]]),
    itertools.repeat((X, Y)),
  ):
    (found,), count = _read(_one(), data)
    assert count == len(found) == representative_data.MOST
  # Of arrays all are read.
  assert _read(_one(), np.ones((700, 3)))[1] == 700


def test_samples_may_differ_in_length():
  model = keras.Sequential([layers.Input((None, 2)), layers.Dense(2)])
  rows = [np.ones((n, 2), np.float32) for n in (3, 3, 5, 3)]
  batches, count = representative_data.read(
    ModelInputs(model), lambda: iter(rows)
  )
  assert count == 4
  found = representative_data.first(batches, 3)
  assert [next(iter(a.values())).shape for a in found] == [(2, 3, 2), (1, 5, 2)]


def test_one_number_a_sample_is_read():
  model = keras.Sequential([layers.Dense(2, input_shape=(1,))])
  for data in (
    Dataset.range(6),
    Dataset.range(6).batch(4),
    np.arange(6),
    np.arange(6)[:, None],
  ):
    (found,), _ = _read(model, data)
    assert found.tolist() == [[0], [1], [2], [3], [4], [5]]


@pytest.mark.parametrize(
  'data, words',
  [
    (np.ones((0, 3)), 'must hold samples'),
    (Dataset.from_tensor_slices(X).take(0), 'must hold samples.*yields none'),
    (lambda: iter(()), 'must hold samples.*yields none'),
    (lambda: iter([X[:0]]), 'must hold samples'),
    (np.ones((2, 4)), r'shape \(2, 4\).*takes \(None, 3\)'),
    (Dataset.from_tensor_slices(np.ones((2, 4))), r'shape .*4.*takes'),
    ((np.ones((2, 4)), Y[:2]), r'shape \(2, 4\).*takes \(None, 3\)'),
    (lambda: iter([[X, X]]), r'shape|takes 1'),
    ({'other': X}, 'has other, but the model takes 1'),
    (lambda: 7, 'return an iterator'),
    (lambda x: iter(x), 'must take no argument'),
    (7, 'must hold samples.*7'),
    (np.full((2, 3), 'a'), 'must be of float32'),
    (tf.ragged.constant([[1.0], [2.0, 3.0]]), 'must be dense.*RaggedTensor'),
  ],
)
def test_what_does_not_fit_is_named(data, words):
  with pytest.raises(ValueError, match=rf'representative_data.*({words})'):
    _read(_one(), data)


def test_inputs_of_another_shape_are_not_taken_for_labels():
  with pytest.raises(ValueError, match=r'for b has the shape \(40, 4\)'):
    _read(_two(), (A, np.ones((40, 4))))
  with pytest.raises(ValueError, match=r'as many samples for each'):
    _read(_two(), (A, B[:7]))


def test_a_dataset_calibrates_a_file(tmp_path):
  model = keras.Sequential(
    [layers.InputLayer(batch_input_shape=(4, 3)), layers.Dense(2)]
  )
  data = Dataset.from_tensor_slices((X, Y))  # The model takes four at a time.
  export = tf_unilth.export_tflite(
    model, tmp_path / 'a', 'int8', data.batch(5).repeat()
  )
  assert export.batch == 4 and 'calibrated on 500 samples' in str(export)
  few = Dataset.from_tensor_slices(X[:3])
  with pytest.raises(ValueError, match=r'hold the 4 samples.*has 3'):
    tf_unilth.export_tflite(model, tmp_path / 'b', 'int8', few)

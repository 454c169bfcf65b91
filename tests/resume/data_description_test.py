"""data_description: data are told apart, and reading them changes nothing."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

from tf_unilth.resume import data_description

Dataset = tf.data.Dataset


def _arrays(at=None):
  x = np.arange(64.0, dtype=np.float32).reshape(16, 4)
  if at is not None:
    x[at] += 1
  return x, np.arange(16)


def _slices(at=None):
  return Dataset.from_tensor_slices(_arrays(at))


@pytest.mark.parametrize(
  'make',
  [
    _arrays,
    _slices,
    lambda at=None: _slices(at).batch(4),
    lambda at=None: _slices(at).shuffle(16).batch(4),
    lambda at=None: _slices(at).map(lambda x, y: (x + tf.random.normal([]), y)),
    lambda at=None: Dataset.range(4).map(lambda i: i + (at or 0)),
  ],
)
def test_other_data_are_told(make):
  before = data_description.contents(make())
  assert before is not None
  assert data_description.contents(make()) == before
  assert data_description.contents(make(at=9)) != before


def test_how_a_pipeline_changes_data_is_told_where_it_has_no_state():
  def contents(factor):
    data = _slices().map(lambda x, y: (factor * x, y)).batch(4).repeat()
    return data_description.contents(data)

  assert contents(1.0) == contents(1.0) != contents(2.0)


def test_reading_moves_no_seed_and_no_generator():
  calls = []

  def values():
    calls.append(1)
    yield from range(8)

  def count(x):
    calls.append(2)
    return x

  def orders(reads):
    tf.random.set_seed(1)
    shuffled = Dataset.range(8).shuffle(8)
    generated = Dataset.from_generator(
      values, output_signature=tf.TensorSpec((), tf.int64)
    )
    drawn = Dataset.range(8).map(lambda _: tf.random.uniform([]))
    counted = Dataset.range(8).map(
      lambda x: tf.numpy_function(count, [x], tf.int64)
    )
    calls.clear()
    found = [shuffled, generated, drawn]
    for data in [*found, counted] if reads else []:
      data_description.contents(data)
    assert not calls
    state = [[x.numpy() for x in data] for data in found for _ in range(2)]
    return state, tf.random.normal([]).numpy(), np.random.normal()

  np.random.seed(1)
  before = orders(False)
  np.random.seed(1)
  assert orders(True) == before


def test_paths_and_pipelines_without_an_order_are_not_read():
  paths = Dataset.from_tensor_slices(['/tmp/a', '/tmp/b'])
  assert data_description.contents(paths) is None
  words = Dataset.from_tensor_slices(['a', 'b'])
  assert data_description.contents(words) is not None
  options = tf.data.Options()
  options.deterministic = False
  unordered = Dataset.range(8).map(lambda x: x, num_parallel_calls=2)
  assert data_description.contents(unordered.with_options(options)) is None


def test_what_keras_makes_of_arrays_is_told_by_the_arrays():
  def contents(at, **arguments):
    x, y = _arrays(at)
    model = keras.Sequential([keras.layers.Dense(1, input_shape=(4,))])
    handler = keras.src.engine.data_adapter.get_data_handler(
      x, y, batch_size=4, epochs=2, model=model, **arguments
    )
    return data_description.of_handler(handler)

  for arguments in ({'shuffle': True}, {'class_weight': {0: 1.0, 1: 2.0}}):
    found = contents(None, **arguments)
    assert found['arrays'] == ['float32 (16, 4)', 'int64 (16,)']
    assert found == contents(None, **arguments) != contents(9, **arguments)

"""What all tests share: TensorFlow that does not prepare for long runs."""

import gc

import pytest
import tensorflow as tf

_iterate = tf.data.Dataset.__iter__


def _as_it_is(dataset: tf.data.Dataset):
  """Iterates without TensorFlow's tuning, for whose thread each end waits.

  The thread sleeps as long again as it has run, a minute at most, and `fit`
  does not return before it wakes. To rewrite the graph of a dataset takes
  longer than it saves in hundreds of trainings of seconds.
  """
  options = tf.data.Options()
  options.autotune.enabled = False
  options.experimental_optimization.apply_default_optimizations = False
  return _iterate(dataset.with_options(options))


tf.data.Dataset.__iter__ = _as_it_is
# So it is with other graphs. What tests start as processes of their own, such
# as recipes, is optimized and tuned as a user's is.
tf.config.optimizer.set_experimental_options({'disable_meta_optimizer': True})


@pytest.fixture(autouse=True, scope='module')
def own_garbage():
  """Frees the graphs of each file, and looks no more through what is left."""
  yield
  gc.collect()
  gc.freeze()

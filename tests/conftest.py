"""What all tests share: iterators over data that end when they are asked to."""

import tensorflow as tf

_iterate = tf.data.Dataset.__iter__


def _untuned(dataset: tf.data.Dataset):
  """Iterates without TensorFlow's tuning, for whose thread each end waits.

  The thread sleeps as long again as it has run, a minute at most, and `fit`
  does not return before it wakes; hundreds of tests train for seconds. What
  tests start as processes of their own keeps the tuning.
  """
  options = tf.data.Options()
  options.autotune.enabled = False
  return _iterate(dataset.with_options(options))


tf.data.Dataset.__iter__ = _untuned

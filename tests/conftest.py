"""What all tests share: TensorFlow that does not prepare for long runs."""

import gc

import pytest
import tensorflow as tf

_iterate = tf.data.Dataset.__iter__


def _as_it_is(dataset: tf.data.Dataset):
  """Iterates without TensorFlow's tuning, for whose thread each end waits.

  The thread sleeps as long again as it has run, a minute at most, and `fit`
  does not return before it wakes. Rewriting the graph of a dataset takes
  longer than it saves in a training of seconds, and there are hundreds.
  """
  options = tf.data.Options()
  options.autotune.enabled = False
  options.experimental_optimization.apply_default_optimizations = False
  return _iterate(dataset.with_options(options))


# So it is with other graphs, but where a test asks for `optimized`. Programs
# that tests start are optimized and tuned as a user's are, but for SavedModels
# that a test writes: these carry the setting.
_AS_TRACED = 'disable_meta_optimizer'


def pytest_addoption(parser):
  parser.addoption(
    '--plain-tensorflow',
    action='store_true',
    help='Train as for a user: TensorFlow tunes datasets, optimizes graphs.',
  )


def prepare_for_short_runs():
  """Lets TensorFlow tune no dataset and optimize no graph of this process."""
  tf.data.Dataset.__iter__ = _as_it_is
  tf.config.optimizer.set_experimental_options({_AS_TRACED: True})


def pytest_configure(config):
  if not config.getoption('plain_tensorflow'):
    prepare_for_short_runs()


@pytest.fixture
def optimized():
  """Lets TensorFlow optimize graphs, as it does for a user."""
  options = tf.config.optimizer
  before = options.get_experimental_options().get(_AS_TRACED, False)
  options.set_experimental_options({_AS_TRACED: False})
  yield
  options.set_experimental_options({_AS_TRACED: before})


@pytest.fixture(autouse=True, scope='module')
def own_garbage():
  """Frees the graphs of each file, and looks no more through what is left."""
  yield
  gc.collect()
  gc.freeze()

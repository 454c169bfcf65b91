"""What all tests share: TensorFlow that does not prepare for long runs."""

import gc

import pytest

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


def pytest_configure(config):
  # Graphs are millions of objects that live until their file ends, and Python
  # would look through all of them again and again: a quarter of the time.
  gc.set_threshold(100_000, 50, 1000)
  # With -n this process runs no test, and the others wait for it.
  starts_others = config.getoption('numprocesses', None) and not hasattr(
    config, 'workerinput'
  )
  if not (starts_others or config.getoption('plain_tensorflow')):
    prepare_for_short_runs()


def prepare_for_short_runs():
  """Lets TensorFlow trace and run, and do no more."""
  import tensorflow as tf

  iterate = tf.data.Dataset.__iter__

  def as_it_is(dataset):
    """Iterates without TensorFlow's tuning, for whose thread each end waits.

    The thread sleeps as long again as it has run, a minute at most, and `fit`
    does not return before it wakes. Rewriting the graph of a dataset takes
    longer than it saves in a training of seconds, and there are hundreds.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    options.experimental_optimization.apply_default_optimizations = False
    return iterate(dataset.with_options(options))

  tf.data.Dataset.__iter__ = as_it_is
  tf.config.optimizer.set_experimental_options({_AS_TRACED: True})
  # Threads that wait for the next operation of a small graph keep a core busy,
  # which another process of the tests could use.
  tf.config.threading.set_intra_op_parallelism_threads(1)
  tf.config.threading.set_inter_op_parallelism_threads(1)


@pytest.fixture
def optimized():
  """Lets TensorFlow optimize graphs, as it does for a user."""
  import tensorflow as tf

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

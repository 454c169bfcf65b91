"""What all tests share: their order, and TensorFlow made for short runs."""

import collections
import gc
import pathlib

import pytest

# So it is with other graphs, but where a test asks for `optimized`. Programs
# that tests start are optimized and tuned as a user's are, but for SavedModels
# that a test writes: these carry the setting.
_AS_TRACED = 'disable_meta_optimizer'
# Files whose tests are few, but long: they come first. One that came last would
# run alone, while the other processes have nothing left to do.
LONGEST = (
  'tests/integration/recipes_test.py',
  'tests/integration/saving_test.py',
  'tests/integration/resume_test.py',
  'tests/tuner/search_test.py',
  'tests/recipes/tuning/tune_test.py',
  'tests/engines/import_order_test.py',
  'tests/recipes/benchmarks_test.py',
  'tests/tuner/machines_test.py',
  'tests/stress/argument_fuzz_test.py',
  'tests/documents/readme_test.py',
  'tests/stress/torture_test.py',
  'tests/integration/distribution_test.py',
  'tests/integration/strategies_test.py',
  'tests/stress/power_cuts_test.py',
  'tests/recipes/comparison/compare_test.py',
)
_ROOT = pathlib.Path(__file__).parents[1]


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


@pytest.hookimpl(trylast=True)  # Of those that are run.
def pytest_collection_modifyitems(items):
  items[:] = longest_first(items)


def longest_first(items):
  """Returns tests in the order of their files: long ones, then large ones.

  Args:
    items: the tests, which have a `path`.
  """
  counts = collections.Counter(item.path for item in items)
  rank = {_ROOT / name: index for index, name in enumerate(LONGEST)}
  return sorted(
    items,
    key=lambda item: (rank.get(item.path, len(rank)), -counts[item.path]),
  )


def prepare_for_short_runs():
  """Lets TensorFlow trace and run, and do no more."""
  import tensorflow as tf
  from tensorflow.python.util import tf_stack

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
  # Each operation of a graph keeps the frames of Python that made it, for its
  # errors. To collect them takes a tenth of the time that a graph is made in.
  frames = tf_stack.extract_stack()
  tf_stack.extract_stack = lambda stacklevel=1: frames
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

"""run_description with Keras 3: in what another run differs, and no more."""

import functools

import keras
import pytest

import tf_unilth
from tests.testing import described_runs
from tf_unilth.resume import run_description

pytestmark = pytest.mark.keras3
layers = keras.layers
_describe = described_runs.describe
_compiled = functools.partial(described_runs.compiled, keras)


def _rate(optimizer):
  return _compiled(layers.Dense(1), optimizer=optimizer)


def _pruned(target, skip=()):
  model = _compiled(layers.Dense(3, name='a'), layers.Dense(2, name='b'))
  schedule = tf_unilth.IterativeSparsity(target)
  return tf_unilth.prune_low_magnitude(model, schedule, skip=skip)


_RUNS = {
  **described_runs.changes(keras),
  # How a model is made, two values for it, and what their difference says.
  'initial_learning_rate was 0.1': (
    lambda v: _rate(keras.optimizers.SGD(tf_unilth.StagedLearningRate(v))),
    *(0.1, 0.2),
  ),
  'schedules.0.target_sparsity was 0.5': (_pruned, 0.5, 0.6),
  'schedule': (functools.partial(_pruned, 0.5), (), ('b',)),
}


@pytest.mark.parametrize('words', _RUNS)
def test_another_run_is_told_and_the_same_one_is_not(words):
  make, one, other = _RUNS[words]
  before, again, another = (_describe(make(v)) for v in (one, one, other))
  assert run_description.between(before, again) == []
  found = run_description.between(before, another)
  assert len(found) == 1 or words.startswith(('connections', 'share')), found
  assert any(words in one for one in found)


def test_settings_of_callbacks_that_count_are_told():
  def describe(patience, reused=False):
    stop = keras.callbacks.EarlyStopping('loss', patience=patience)
    model = _rate(keras.optimizers.SGD(0.1))
    if reused:  # Keras has chosen the operation, and the sign of min_delta.
      stop.set_model(model)
      stop.min_delta = 0.5
      stop._set_monitor_op()
    else:
      stop.min_delta = 0.5
    return _describe(model, stop)

  (found,) = run_description.between(describe(3), describe(4))
  assert found == 'callbacks.0.patience was 3 and is now 4'
  assert run_description.between(describe(3), describe(3, True)) == []

"""Searches over Keras 3 models, on the backend of the process."""

import keras
import pytest

import tf_unilth
from tests.testing import keras_3_toys, tuned

pytestmark = pytest.mark.keras3


def _model():
  layers = keras.layers
  return keras.Sequential(
    [layers.Input((4,)), layers.Dense(8, 'relu'), layers.Dense(4)]
  )


def _build(hp):
  rate = hp.Float('learning_rate', 0.001, 1, sampling='log', default=0.03)
  model = _model()
  model.compile(
    keras.optimizers.SGD(tf_unilth.StagedLearningRate(rate), momentum=0.9),
    keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    metrics=['accuracy'],
    jit_compile=keras_3_toys.JIT,
  )
  return model


def _search(directory):
  return tuned.search(directory, hypermodel=_build)


@pytest.fixture(scope='module')
def left_alone(tmp_path_factory):
  """A search that nothing has stopped."""
  made = _search(tmp_path_factory.mktemp('search') / 'alone')
  tuned.run(made)
  return made


@pytest.mark.long
def test_a_killed_search_goes_on_with_the_same(left_alone, tmp_path):
  keras.layers.Dense(1)  # Names and random numbers do not start where it did.
  kill = tuned.kill_at(keras, tuned.EPOCHS + 2)  # In the second trial.
  with pytest.raises(tuned.Killed):
    tuned.run(_search(tmp_path / 'killed'), callbacks=[kill])
  resumed = _search(tmp_path / 'killed')
  assert resumed.oracle.end_order == ['0']
  tuned.run(resumed)
  assert tuned.found(resumed) == tuned.found(left_alone)
  rates = {values['learning_rate'] for _, values, _ in tuned.found(resumed)}
  assert len(rates) == 3


def test_the_best_ticket_has_its_zeros_and_its_score(left_alone):
  best, *_ = left_alone.get_best_tickets(3)
  assert best.score == max(score for _, _, score in tuned.found(left_alone))
  assert isinstance(best.model, keras.Model)
  kernels = [keras.ops.convert_to_numpy(v.kernel) for v in best.model.layers]
  assert [(kernel == 0).sum() for kernel in kernels] == [16, 16]
  for mask, kernel in zip(best.ticket.masks.values(), kernels):
    assert (mask == (kernel != 0)).all()
  # It is the trained model, compiled; and plain, so it can be pruned again.
  x, y = tuned.data()
  assert best.model.evaluate(x, y, verbose=0)[1] == pytest.approx(best.score)
  assert not isinstance(
    best.model.optimizer._learning_rate, tf_unilth.StagedLearningRate
  )
  tf_unilth.prune_low_magnitude(best.model, tf_unilth.FixedMask())


@pytest.mark.parametrize(
  'hypermodel, match',
  [
    (lambda hp: _model(), 'must compile its model'),
    (
      lambda hp: tf_unilth.prune_low_magnitude(
        _build(hp), tf_unilth.IterativeSparsity(0.5)
      ),
      'a model that is not wrapped',
    ),
  ],
)
def test_a_model_that_cannot_be_tuned_is_refused(hypermodel, match, tmp_path):
  with pytest.raises(ValueError, match=match):
    tuned.search(tmp_path / 'search', hypermodel=hypermodel)
  assert not list(tmp_path.iterdir())

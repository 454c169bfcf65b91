"""Searches that are refused before their first trial."""

import pytest
import tf_keras as keras

import tf_unilth
from tests.testing import tuned
from tf_unilth import tuner

pytestmark = pytest.mark.long


@pytest.fixture(scope='module')
def left_alone(tmp_path_factory):
  """A search that nothing has stopped."""
  made = tuned.search(tmp_path_factory.mktemp('search') / 'alone')
  tuned.run(made)
  return made


def _refused(tmp_path, match, error=ValueError, run=None, **given):
  """Asserts that nothing is begun, nor written."""
  directory = tmp_path / 'search'
  with pytest.raises(error, match=match):
    tuned.run(tuned.search(directory, **given), **(run or {}))
  assert not directory.exists()


def test_an_objective_that_no_epoch_reports_is_refused(tmp_path):
  objective = tuner.AccuracyAtSparsity('val_f1')
  match = r"'val_f1' is not in the logs of the last epoch.*'val_accuracy'"
  _refused(tmp_path, match, objective=objective)
  # Validated, but not in the last epoch.
  match = r"'val_accuracy' is not in the logs of the last epoch"
  _refused(tmp_path, match, run={'validation_freq': 2})
  _refused(tmp_path, match, run={'validation_data': None})


def test_an_empty_space_is_refused(tmp_path):
  def space(hp):
    hp.Fixed('one', 1)
    return tf_unilth.IterativeSparsity(0.5), tf_unilth.DLTH()

  _refused(
    tmp_path,
    'there is nothing to search',
    hypermodel=lambda hp: tuned.compiled(tuned.model()),
    space=space,
  )


@pytest.mark.parametrize(
  'hypermodel, match',
  [
    (lambda hp: tuned.model(), 'must compile its model'),
    (
      lambda hp: tuned.compiled(
        tf_unilth.prune_low_magnitude(
          tuned.model(), tf_unilth.IterativeSparsity(0.5)
        )
      ),
      'a model that is not wrapped',
    ),
    (None, 'hypermodel must be a HyperModel'),
    (lambda hp: keras.layers.Dense(2), 'must return a keras.Model or a tf_ker'),
  ],
)
def test_a_model_that_cannot_be_tuned_is_refused(hypermodel, match, tmp_path):
  error = (TypeError, ValueError)
  _refused(tmp_path, match, error, hypermodel=hypermodel)


@pytest.mark.parametrize(
  'match, given',
  [
    ('max_trials must be .* >= 1, but is 0', {'max_trials': 0}),
    (r'seed must be .* but is -1', {'seed': -1}),
    ('worker_timeout must be a finite number > 0', {'worker_timeout': 0}),
    ('config must be a mapping', {'config': [1]}),
    ('epochs must be .* >= 3, but is 2', {'run': {'epochs': 2}}),
    (
      'can be read only once',
      {'run': {'validation_data': (i for i in [1])}},
    ),
  ],
)
def test_bad_arguments_are_refused(match, given, tmp_path):
  _refused(tmp_path, match, **given)


def test_an_objective_or_a_space_of_another_kind_is_refused(tmp_path):
  match = 'objective must be an AccuracyAtSparsity'
  _refused(tmp_path, match, TypeError, objective='val_accuracy')
  match = 'the space must return an IterativeSparsity and a ticket callback'
  _refused(tmp_path, match, TypeError, space=lambda hp: None)


@pytest.mark.parametrize(
  'match, given',
  [
    ('seed was 0 and is now 1', {'seed': 1}),
    ("tuner was 'RandomSearch'", {'kind': tuner.GridSearch}),
    ('objective.class was', {'objective': tuner.Front()}),
    ('config.data was not given', {'config': {'data': 'others'}}),
    (
      'parameters was',
      {
        'hypermodel': lambda hp: tuned.compiled(
          keras.Sequential([keras.layers.Dense(4, input_shape=(4,))]),
          hp.Float('learning_rate', 0.001, 1, sampling='log', default=0.03),
        )
      },
    ),
    (
      'schedule.target_sparsity was 0.5 and is now 0.6',
      {
        'space': lambda hp: (
          tf_unilth.IterativeSparsity(0.6),
          tuned.space(hp)[1],
        )
      },
    ),
    (
      'epochs was 3 and is now 4',
      {'run': {'epochs': 4}},
    ),
  ],
)
def test_the_directory_of_another_search_is_refused(match, given, left_alone):
  directory, run = left_alone.project_dir, given.pop('run', {})
  before = tuned.found(left_alone)
  with pytest.raises(tuner.SearchError, match=f'has another search: .*{match}'):
    tuned.run(tuned.search(directory, **given), **run)
  assert tuned.found(tuned.search(directory)) == before


def test_the_directory_of_a_search_of_keras_tuner_is_refused(tmp_path):
  (tmp_path / 'oracle.json').write_text('{}')
  with pytest.raises(tuner.SearchError, match='that tf_unilth did not begin'):
    tuned.search(tmp_path)


def test_two_searches_cannot_share_a_directory(tmp_path):
  class Second(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
      with pytest.raises(tf_unilth.DirectoryInUseError, match='in use'):
        tuned.run(tuned.search(tmp_path / 'search', max_trials=1))
      raise tuned.Killed

  with pytest.raises(tuned.Killed):
    made = tuned.search(tmp_path / 'search', max_trials=1)
    tuned.run(made, callbacks=[Second()])

"""The tuner: the same trials whatever happens, and errors before the first."""

import json
import re
import shutil
import types

import keras_tuner
import numpy as np
import pytest
import tf_keras as keras

import tf_unilth
from tests.testing import tuned
from tf_unilth import tuner
from tf_unilth.files.checksummed_file import DamagedError

pytestmark = pytest.mark.long


class _Killed(BaseException):
  """Ends a process at once, as far as the search can see."""


class _KillAt(keras.callbacks.Callback):
  """Ends the search in its nth epoch; a copy of it counts on."""

  left = 0

  def on_epoch_end(self, epoch, logs=None):
    type(self).left -= 1
    if not type(self).left:
      raise _Killed


@pytest.fixture(scope='module')
def left_alone(tmp_path_factory):
  """A search that nothing has stopped."""
  made = tuned.search(tmp_path_factory.mktemp('search') / 'alone')
  tuned.run(made)
  return made


def test_trials_differ_and_begin_with_the_defaults(left_alone):
  trials = tuned.found(left_alone)
  assert trials[0][1] == {'learning_rate': 0.03, 'finetune_fraction': 0.5}
  rates = {values['learning_rate'] for _, values, _ in trials}
  assert len(rates) == 3
  assert all(0 < score < 1 for _, _, score in trials)


def test_the_same_seed_gives_the_same_trials(left_alone, tmp_path):
  again = tuned.search(tmp_path / 'again')
  tuned.run(again)
  assert tuned.found(again) == tuned.found(left_alone)
  other = tuned.search(tmp_path / 'other', seed=1, max_trials=2)
  values = [other.oracle.create_trial('a').hyperparameters.values]
  values.append(other.oracle.create_trial('b').hyperparameters.values)
  assert values[0] == tuned.found(left_alone)[0][1]
  assert values[1] != tuned.found(left_alone)[1][1]


def test_the_best_tickets_are_stripped_models_and_tickets(left_alone):
  best, second = left_alone.get_best_tickets(2)
  assert best.score >= second.score
  assert best.score == max(score for _, _, score in tuned.found(left_alone))
  assert not any(
    isinstance(layer, tf_unilth.PruneLowMagnitude)
    for layer in best.model.layers
  )
  assert tf_unilth.sparsity_summary(best.model).zeros == 32
  assert isinstance(best.ticket, tf_unilth.Ticket)
  for mask, layer in zip(best.ticket.masks.values(), best.model.layers):
    assert (mask == (layer.kernel.numpy() != 0)).all()
  # It is the trained model, not only its ticket.
  x, y = tuned.data()
  assert best.model.evaluate(x, y, verbose=0)[1] == pytest.approx(best.score)
  assert len(left_alone.get_best_tickets(9)) == 3


@pytest.mark.parametrize(
  'kind, given, ended',
  [
    (tuner.BayesianOptimization, {'max_trials': 5, 'num_initial_points': 2}, 3),
    (tuner.Hyperband, {'max_epochs': 9, 'max_trials': 6}, 5),
  ],
)
def test_a_killed_search_goes_on_with_the_same(kind, given, ended, tmp_path):
  epochs = {'epochs': None} if kind is tuner.Hyperband else {}
  whole = tuned.search(tmp_path / 'whole', kind, **given)
  tuned.run(whole, **epochs)
  _KillAt.left = 3 * ended + 2  # In the trial after those that ended.
  with pytest.raises(_Killed):
    killed = tuned.search(tmp_path / 'killed', kind, **given)
    tuned.run(killed, callbacks=[_KillAt()], **epochs)
  resumed = tuned.search(tmp_path / 'killed', kind, **given)
  assert len(resumed.oracle.end_order) == ended
  tuned.run(resumed, **epochs)
  assert tuned.found(resumed) == tuned.found(whole)


def test_hyperband_begins_every_ticket_at_epoch_0(tmp_path):
  seen = []

  class Model(keras_tuner.HyperModel):
    def build(self, hp):
      return tuned.build(hp)

    def fit(self, hp, model, *args, **kwargs):
      if kwargs['callbacks'][0].__class__.__name__ != 'OneStep':
        seen.append((kwargs['initial_epoch'], kwargs['epochs']))
        assert model.optimizer.iterations.numpy() == 0
      return model.fit(*args, **kwargs)

  made = tuned.search(
    tmp_path / 'search',
    tuner.Hyperband,
    hypermodel=Model(),
    max_epochs=9,
    max_trials=6,
  )
  tuned.run(made, epochs=None)
  # Five short ones, of which the best is repeated.
  assert [epochs for _, epochs in seen] == [3] * 5 + [9]
  assert {first for first, _ in seen} == {0}


@pytest.fixture
def copied(left_alone, tmp_path):
  """The directory of a finished search, to be changed."""
  directory = tmp_path / 'copy'
  shutil.copytree(left_alone.project_dir, directory)
  return directory


def test_more_trials_go_on_with_a_search(left_alone, copied):
  more = tuned.search(copied, max_trials=4)
  tuned.run(more)
  assert tuned.found(more)[:3] == tuned.found(left_alone)
  assert len(more.oracle.completed()) == 4


def test_more_trials_go_on_with_a_grid(tmp_path):
  for trials in (1, 2):
    made = tuned.search(
      tmp_path / 'search', tuner.GridSearch, max_trials=trials
    )
    tuned.run(made)
    assert len(made.oracle.completed()) == trials


@pytest.mark.parametrize(
  'name', ['trial_1/trial.json', 'trial_1/trained.ticket', 'trial_1/gone']
)
def test_a_damaged_trial_is_named_and_run_again(name, left_alone, copied):
  path = copied / name.replace('gone', 'found.ticket')
  if name.endswith('gone'):
    path.unlink()
  else:
    path.write_bytes(path.read_bytes()[:100])
  with pytest.warns(UserWarning, match=re.escape(f'{str(path)!r} is damaged')):
    again = tuned.search(copied)
  assert again.oracle.end_order == ['0', '2']
  tuned.run(again)
  assert tuned.found(again) == tuned.found(left_alone)
  assert len(again.get_best_tickets(3)) == 3


def test_an_altered_number_is_seen(copied):
  path = copied / 'trial_0' / 'trial.json'
  content = json.loads(path.read_text())
  content['score'] = 2.0
  path.write_text(json.dumps(content))
  with pytest.warns(UserWarning, match='it was altered'):
    found = tuned.search(copied)
  assert found.oracle.end_order == ['1', '2']
  (copied / 'oracle.json').write_text('{')
  with pytest.raises(DamagedError, match=r'oracle.json.*cannot go on'):
    tuned.search(copied)


def test_a_ticket_that_missed_its_sparsity_scores_nothing(tmp_path):
  class Stop(keras.callbacks.Callback):
    """Ends the fit before the cut, where the learning rate is large."""

    def on_train_batch_end(self, batch, logs=None):
      if float(self.model.optimizer.learning_rate) > 0.05:
        self.model.stop_training = True

  made = tuned.search(tmp_path / 'search', max_trials=4)
  tuned.run(made, callbacks=[Stop()])
  missed = [
    trial
    for trial in made.oracle.trials.values()
    if trial.hyperparameters.values['learning_rate'] > 0.05
  ]
  assert 0 < len(missed) < 4
  assert {(t.status, t.score) for t in missed} == {('FAILED', None)}
  assert all('missed its sparsity' in t.message for t in missed)
  assert len(made.get_best_tickets(4)) == 4 - len(missed)


def test_a_search_in_which_all_trials_fail_ends(tmp_path):
  def space(hp):
    hp.Int('unused', 0, 9)
    callback = tf_unilth.UniLTH(monitor='val_nothing', verbose=0)
    return tf_unilth.IterativeSparsity(0.5), callback

  made = tuned.search(tmp_path / 'search', max_trials=9, space=space)
  with pytest.raises(RuntimeError, match=r"failed.*'val_nothing' is not in"):
    tuned.run(made)


# Bad input.


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


def test_a_model_of_keras_3_is_refused(tmp_path):
  import keras as keras_3

  layers = [keras_3.layers.Input((4,)), keras_3.layers.Dense(2)]
  _refused(
    tmp_path,
    'what the build function returns.*Keras 3',
    TypeError,
    hypermodel=lambda hp: keras_3.Sequential(layers),
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
      raise _Killed

  with pytest.raises(_Killed):
    made = tuned.search(tmp_path / 'search', max_trials=1)
    tuned.run(made, callbacks=[Second()])


# Objectives and spaces.

_TICKETS = [
  tuner.Outcome(0.95, 0.5),
  tuner.Outcome(0.94, 0.9),
  tuner.Outcome(0.90, 0.95),
  tuner.Outcome(0.89, 0.8),
]


def test_the_front_is_what_no_other_beats():
  assert tuner.front(_TICKETS) == [0, 1, 2]
  assert tuner.front([]) == []
  rng = np.random.default_rng(0)
  many = [tuner.Outcome(*rng.integers(1, 9, 2) / 10) for _ in range(60)]
  beaten = [
    any(
      o.accuracy >= t.accuracy and o.sparsity >= t.sparsity and o != t
      for o in many
    )
    for t in many
  ]
  assert sorted(tuner.front(many)) == [
    index for index, is_beaten in enumerate(beaten) if not is_beaten
  ]


def test_objectives_order_tickets():
  assert tuner.AccuracyAtSparsity().order(_TICKETS) == [0, 1, 2, 3]
  within = tuner.SparsestWithin(0.02, dense_accuracy=0.96)
  # Those that lost too much come last, the nearest first.
  assert within.order(_TICKETS) == [1, 0, 2, 3]
  assert tuner.SparsestWithin(0, dense_accuracy=0.95).order(_TICKETS)[0] == 0
  assert tuner.Front().order(_TICKETS) == [0, 1, 2, 3]
  towards = [tuner.Front().scores(_TICKETS, weight) for weight in (1, 0)]
  assert [int(np.argmax(scores)) for scores in towards] == [0, 2]


@pytest.mark.parametrize(
  'make, match',
  [
    (lambda: tuner.AccuracyAtSparsity('val_loss'), 'monitor must be'),
    (lambda: tuner.AccuracyAtSparsity(''), 'monitor must be'),
    (lambda: tuner.SparsestWithin(1.5, 0.9), r'loss must be in \[0, 1\)'),
    (lambda: tuner.SparsestWithin(0.1, 90), r'dense_accuracy must be in'),
    (lambda: tuner.TicketSpace(0), r'target_sparsity must be in \(0, 1\)'),
    (lambda: tuner.TicketSpace((0.9, 0.5)), 'target_sparsity must be'),
    (lambda: tuner.TicketSpace(0.9, 'gmp'), "method must be one of .*'gmp'"),
    (lambda: tuner.TicketSpace(0.9, fixed={'patient': 1}), "'patient'"),
  ],
)
def test_bad_objectives_and_spaces_are_refused(make, match):
  with pytest.raises(ValueError, match=match):
    make()


@pytest.mark.parametrize('method', tuner.METHODS)
def test_a_space_defaults_to_what_the_library_does(method):
  space = tuner.TicketSpace(0.9, method)
  schedule, callback = space(keras_tuner.HyperParameters())
  plain = {
    'unilth': tf_unilth.UniLTH,
    'unidlth': tf_unilth.UniDLTH,
    'dlth': tf_unilth.DLTH,
    'lth': tf_unilth.LTH,
  }[method](verbose=0)
  assert callback.settings == {
    # A choice has numbers of one type.
    name: value.replace('power=1,', 'power=1.0,')
    for name, value in plain.settings.items()
  }
  default = tf_unilth.IterativeSparsity(0.9)
  assert schedule.rounds_needed(plain.pace) == default.rounds_needed(plain.pace)


@pytest.mark.parametrize('method', tuner.METHODS)
def test_every_value_of_a_space_makes_a_ticket(method):
  space = tuner.TicketSpace((0.8, 0.99), method)
  hp = keras_tuner.HyperParameters()
  space(hp)
  assert 'target_sparsity' in hp.values
  for one in hp.space:
    for value in one.values:
      hp.values[one.name] = value
      schedule, _ = space(hp)
  assert schedule.target_sparsity == pytest.approx(0.99, abs=0.03)


def test_fixed_settings_are_not_searched():
  fixed = {'patience': 4, 'limit': 0.5, 'rounds': 3, 'min_delta': 0.1}
  hp = keras_tuner.HyperParameters()
  schedule, callback = tuner.TicketSpace(0.9, fixed=fixed)(hp)
  assert not fixed.keys() & hp.values.keys()
  assert schedule.rounds == 3
  assert 'patience=4' in callback.settings['plateau']
  assert 'limit=0.5' in callback.settings['ramp']


def test_the_front_of_a_search_is_its_best(tmp_path):
  def space(hp):
    target = hp.Float('target_sparsity', 0.3, 0.9, default=0.5)
    return tf_unilth.IterativeSparsity(target), tf_unilth.DLTH(verbose=0)

  made = tuned.search(
    tmp_path / 'search', space=space, objective=tuner.Front(), max_trials=3
  )
  tuned.run(made)
  outcomes = [made.oracle.outcome(t) for t in made.oracle.completed()]
  front = tuner.front(outcomes)
  best = made.get_best_tickets(len(front))
  assert [int(ticket.trial_id) for ticket in best] == front


def test_a_missing_package_is_named(monkeypatch):
  import importlib
  import sys

  monkeypatch.setitem(sys.modules, 'keras_tuner', None)
  monkeypatch.delitem(sys.modules, 'tf_unilth.tuner')
  with pytest.raises(
    ModuleNotFoundError, match=r'pip install tf_unilth\[tuner'
  ):
    importlib.import_module('tf_unilth.tuner')


def test_the_library_alone_brings_no_tuner():
  assert isinstance(tuner, types.ModuleType)
  assert 'tuner' not in tf_unilth.__all__

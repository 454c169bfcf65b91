"""Searches: the same trials whatever happens to the process."""

import errno
import json
import os
import re
import shutil
from unittest import mock

import keras_tuner
import pytest
import tf_keras as keras

import tf_unilth
from tests.testing import tuned
from tf_unilth import tuner
from tf_unilth.files import checksummed_json
from tf_unilth.files.checksummed_file import DamagedError

pytestmark = pytest.mark.long


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


class _Model(keras_tuner.HyperModel):
  """Trains, and keeps the first and the last epoch of each trial."""

  def __init__(self):
    super().__init__()
    self.seen = []

  def build(self, hp):
    return tuned.build(hp)

  def fit(self, hp, model, *args, **kwargs):
    if kwargs['callbacks'][0].__class__.__name__ != 'OneStep':
      self.seen.append((kwargs['initial_epoch'], kwargs['epochs']))
      assert model.optimizer.iterations.numpy() == 0
    return model.fit(*args, **kwargs)


@pytest.mark.parametrize(
  'kind, given, ended, epochs_of_trials',
  [
    (
      tuner.BayesianOptimization,
      {'max_trials': 4, 'num_initial_points': 2},
      2,
      [3] * 4,
    ),
    # Five short ones, of which the best is repeated from epoch 0.
    (
      tuner.Hyperband,
      {'max_epochs': 9, 'max_trials': 6},
      5,
      [3] * 5 + [9],
    ),
  ],
)
def test_a_killed_search_goes_on_with_the_same(
  kind, given, ended, epochs_of_trials, tmp_path
):
  epochs = {'epochs': None} if kind is tuner.Hyperband else {}
  model = _Model()
  whole = tuned.search(tmp_path / 'whole', kind, hypermodel=model, **given)
  tuned.run(whole, **epochs)
  assert model.seen == [(0, count) for count in epochs_of_trials]
  # In the trial after those that ended.
  kill = tuned.kill_at(keras, 3 * ended + 2)
  with pytest.raises(tuned.Killed):
    killed = tuned.search(tmp_path / 'killed', kind, **given)
    tuned.run(killed, callbacks=[kill], **epochs)
  resumed = tuned.search(tmp_path / 'killed', kind, **given)
  assert len(resumed.oracle.end_order) == ended
  tuned.run(resumed, **epochs)
  assert tuned.found(resumed) == tuned.found(whole)


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


def test_a_disk_that_is_full_does_not_make_a_trial_fail(tmp_path, monkeypatch):
  def full(path, content):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

  oracle = tuned.search(tmp_path / 'search').oracle
  monkeypatch.setattr(checksummed_json, 'write', full)
  # keras-tuner takes other errors for those of the trial, and goes on.
  with pytest.raises(keras_tuner.errors.FatalError, match='trial_0') as raised:
    oracle._save_trial(mock.Mock(trial_id='0'))
  assert raised.value.errno == errno.ENOSPC

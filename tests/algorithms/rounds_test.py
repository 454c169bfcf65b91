"""Rounds, masks, rewinds and learning rates, on the fake engine."""

import itertools
import warnings

import numpy as np
import pytest

import tf_unilth
from tests.testing import fake_engine, toy_algorithm
from tests.testing.fake_engine import FakeModel

LTH, DLTH = tf_unilth.LTH, tf_unilth.DLTH
UniLTH, UniDLTH = tf_unilth.UniLTH, tf_unilth.UniDLTH
TOTAL = 608
PLATEAU_4 = (3, 2, 2.5, 2.2)  # At epoch 4; the best is 2.


def _model(target=0.9, rate=0.05, model=None, **arguments):
  schedule = tf_unilth.IterativeSparsity(target, **arguments)
  return FakeModel(schedule, rate=rate, **(model or {}))


# Rounds and masks.

EACH = pytest.mark.parametrize(
  'algorithm',
  [
    LTH(verbose=0),
    LTH(rewind_step=5, verbose=0),
    DLTH(verbose=0),
    UniLTH(verbose=0),
    UniLTH(verbose=0, pretrained=True),
    UniDLTH(verbose=0),
    toy_algorithm.OneShot(verbose=0),
  ],
  ids=lambda a: f'{type(a).__name__}-{a.settings.get("rewind_step", "")}',
)


@EACH
def test_masks_are_nested_and_each_round_is_exact(algorithm):
  done = fake_engine.fit(_model(rounds=4), algorithm, 12)
  masks = [np.concatenate([m.ravel() for m in each]) for each in done.masks]
  for before, after in itertools.pairwise(masks):
    assert not (after & ~before).any()
  schedule = tf_unilth.IterativeSparsity(0.9, rounds=4)
  expected = {
    round(schedule.sparsity_at(r, 4, algorithm.pace) * TOTAL) for r in range(5)
  }
  assert {int((~mask).sum()) for mask in masks} == expected


@EACH
def test_pruned_weights_are_zero_after_every_step(algorithm):
  done = fake_engine.fit(_model(rounds=4), algorithm, 12)
  for masks, weights in zip(done.masks, done.weights):
    for mask, weight in zip(masks, weights):
      assert not weight[~mask].any()


@EACH
def test_only_candidates_feel_the_ramp_and_only_in_rounds(algorithm):
  done = fake_engine.fit(_model(rounds=4), algorithm, 12)
  lambdas, stages = done.log('l2_lambda'), done.log('stage')
  if algorithm.ramp is None:
    assert set(lambdas) == {0.0}
  else:
    assert any(lambdas)
    assert not any(x for x, stage in zip(lambdas, stages) if stage != 2)
  assert not done.engine.has_penalty


def test_the_ramp_ends_at_the_shrink_exponent():
  # Goals at the weights: the penalty alone moves them, by exp(-A).
  model = _model(0.5, rounds=1, rate=0.01, model={'momentum': 0.0})
  model.goals = [weight.copy() for weight in model.weights]
  before = [weight.copy() for weight in model.weights[:2]]

  class Pull(DLTH):
    shrink_exponent = 2.0

  done = fake_engine.fit(
    model, Pull(verbose=0, finetune_fraction=0.1), 40, steps=50
  )
  begin = next(
    i for i, masks in enumerate(done.masks) if not all(m.all() for m in masks)
  )
  for mask, old, new in zip(model.masks, before, done.weights[begin - 1]):
    np.testing.assert_array_equal(old[mask], new[mask])
    # The goal pulls back, so the weights shrink less.
    assert (np.abs(new[~mask]) < np.abs(old[~mask])).all()


@pytest.mark.parametrize(
  'make, exponent', [(UniLTH, 3), (UniDLTH, 10), (DLTH, 650)]
)
def test_each_algorithm_has_its_shrink_exponent(make, exponent, capsys):
  model = _model(rounds=1, rate=0.001)
  fake_engine.fit(model, make(), 100, steps=100)
  assert f'(A = {exponent})' in capsys.readouterr().out


def test_the_same_seed_draws_the_same_ticket():
  tickets = [
    [
      m.tobytes()
      for m in fake_engine.fit(
        _model(model={'seed': weights}), make(verbose=0, seed=seed)
      ).engine.model.masks
    ]
    for weights, make, seed in (
      (0, DLTH, 5),
      (1, DLTH, 5),
      (0, DLTH, 6),
    )
  ]
  assert tickets[0] == tickets[1] != tickets[2]


# Rewinds and learning rates.


@pytest.mark.parametrize('make', [UniLTH, UniDLTH])
@pytest.mark.parametrize('rewind_epochs, to', [(None, 2), (1, 3), (3, 1)])
def test_a_plateau_rewinds_everything_bit_for_bit(make, rewind_epochs, to):
  model, states = _model(), []

  def watch(trained, epoch, logs):
    states.append([v.copy() for v in model.variables()])
    return False

  callback = make(rewind_epochs=rewind_epochs, verbose=0)
  restored = []
  epoch_end = callback.on_epoch

  def spy(run, epoch, logs):
    epoch_end(run, epoch, logs)
    restored.append([v.copy() for v in model.variables()])

  callback.on_epoch = spy
  done = fake_engine.fit(model, callback, val_loss=PLATEAU_4, on_epoch=watch)
  assert done.run.state.rewound_to_epoch == to
  for before, after in zip(states[to - 1], restored[3], strict=True):
    np.testing.assert_array_equal(before, after)
  for weight, kept in zip(callback.rewind_weights, states[to - 1]):
    np.testing.assert_array_equal(weight, kept)


def test_a_rewind_never_goes_before_the_start():
  callback = UniLTH(rewind_epochs=50, verbose=0)
  done = fake_engine.fit(_model(), callback, val_loss=PLATEAU_4)
  assert done.run.state.rewound_to_epoch == 0


@pytest.mark.parametrize('rewind_step', [0, 5])
def test_lth_rewinds_survivors_bit_for_bit_in_every_round(rewind_step):
  model = _model(rounds=3)
  start = [weight.copy() for weight in model.weights[:2]]
  done = fake_engine.fit(model, LTH(rewind_step=rewind_step, verbose=0), 8)
  kept = done.weights[rewind_step - 1] if rewind_step else start
  ends = [15, 31, 47]  # 64 steps for 3 + 1 trainings.
  for end in ends:
    for mask, weight, before in zip(
      done.masks[end], done.weights[end], kept, strict=True
    ):
      np.testing.assert_array_equal(weight, np.where(mask, before, 0))


@pytest.mark.parametrize('make', [LTH, UniLTH])
def test_the_last_round_frees_the_snapshots(make):
  taken = []

  def count(done, epoch, logs):
    taken.append(sum(s.taken for s in done.run.state.snapshots))
    return False

  done = fake_engine.fit(
    _model(rounds=3), make(verbose=0), 12, val_loss=PLATEAU_4, on_epoch=count
  )
  assert 1 in taken
  assert not any(s.taken for s in done.run.state.snapshots)


def test_a_rewind_step_after_the_first_round_is_refused():
  with pytest.raises(ValueError, match='first round, step 16, but is 16'):
    fake_engine.fit(_model(rounds=3), LTH(rewind_step=16))


@pytest.mark.parametrize('rewind', ['weights', 'learning_rate'])
def test_every_training_of_lth_gets_a_full_decay(rewind):
  rate = tf_unilth.StagedLearningRate(0.1)
  done = fake_engine.fit(_model(rounds=3, rate=rate), LTH(rewind, verbose=0))
  trainings = np.reshape(done.rates, (4, 16))
  for training in trainings:
    np.testing.assert_allclose(training, trainings[0], rtol=1e-6)
  assert trainings[0][0] == pytest.approx(0.1)
  assert trainings[0][-1] < 0.002


def test_after_late_rewinding_the_decay_goes_on_where_it_rewound_to():
  rate, begun = tf_unilth.StagedLearningRate(0.1), 5
  model = _model(rounds=3, rate=rate)
  done = fake_engine.fit(model, LTH(rewind_step=begun, verbose=0))
  _, *trainings = np.reshape(done.rates, (4, 16))
  # The steps that it has behind it count: it decays over all 5 + 16.
  rate.restart(0, begun + 16)
  expected = [float(rate(step)) for step in range(begun, begun + 16)]
  assert expected[0] < 0.09
  for training in trainings:
    np.testing.assert_allclose(training, expected, rtol=1e-5)


def test_unilth_restarts_the_learning_rate_when_stage_2_begins():
  model = _model(rate=tf_unilth.StagedLearningRate(0.1))
  done = fake_engine.fit(model, UniLTH(verbose=0), val_loss=PLATEAU_4)
  assert done.rates[31] < done.rates[0]
  assert done.rates[32] == pytest.approx(0.1)
  assert done.rates[-1] < 0.001


def test_dlth_restarts_the_learning_rate_when_it_finetunes():
  model = _model(rate=tf_unilth.StagedLearningRate(0.1))
  done = fake_engine.fit(model, DLTH(verbose=0))
  assert done.rates[31] < 0.1
  assert done.rates[32] == pytest.approx(0.1)


def test_learning_rate_rewinding_needs_a_schedule():
  with pytest.raises(ValueError, match=r'needs a tf_unilth\.StagedL'):
    fake_engine.fit(_model(), LTH('learning_rate', verbose=0))


def test_lth_warns_of_a_schedule_over_the_whole_run():
  model = _model(rate=lambda step: 0.1 / (1 + float(step)))
  with pytest.warns(UserWarning, match='function over the whole run'):
    fake_engine.fit(model, LTH(verbose=0))


# Warnings. Those of a `fit` are in warnings_test.py.


def _warned(model, algorithm, *arguments, **keywords):
  """Trains, and returns what was warned of."""
  with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter('always')
    fake_engine.fit(model, algorithm, *arguments, **keywords)
  return ' | '.join(str(w.message) for w in caught)


@pytest.mark.parametrize(
  'make, says, warns',
  [
    (LTH, '1 of 8 rounds to 79.93%', True),
    (UniDLTH, ', as many as fit into 4 epochs (all need ', False),
    (DLTH, '1 of 1 round to 79.93%', False),
  ],
)
def test_the_line_says_how_many_rounds_of_how_many(make, says, warns, capsys):
  said = _warned(_model(0.8), make(), 4)
  assert says in capsys.readouterr().out
  assert ('as many as fit into 4 epochs' in said) == warns


def test_the_epochs_that_would_allow_all_rounds_do(capsys):
  # Four rounds, and a fifth training.
  assert '(all need 15)' in _warned(_model(0.5), LTH(verbose=0), 6)
  for epochs, rounds in ((14, 3), (15, 4)):
    _warned(_model(0.5), LTH(), epochs)
    assert f' {rounds} of 4 rounds' in capsys.readouterr().out


def test_trainings_of_lth_that_are_shorter_than_an_epoch_are_warned_of():
  said = _warned(_model(0.8, rounds=7), LTH(verbose=0), 4)
  assert 'each training has 4 steps, less than an epoch of 8' in said


def test_a_plateau_of_a_network_that_has_not_learnt_is_warned_of():
  for val_loss, warns in (((1.0, 2.0), True), ((2.0, 1.0, 3.0), False)):
    said = _warned(_model(0.8), UniLTH(verbose=0), val_loss=val_loss)
    assert ('no epoch was better than the first' in said) == warns

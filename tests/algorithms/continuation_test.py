"""Runs that go on, second fits and targets of 0, on the fake engine."""

import numpy as np
import pytest

import tf_unilth
from tests.testing import fake_engine, toy_algorithm
from tests.testing.fake_engine import FakeModel

LTH, DLTH = tf_unilth.LTH, tf_unilth.DLTH
UniLTH, UniDLTH = tf_unilth.UniLTH, tf_unilth.UniDLTH
PLATEAU_4 = (3, 2, 2.5, 2.2)  # At epoch 4; the best is 2.
FALLING = tuple(range(40, 0, -1))


def _model(target=0.9, rate=0.05, model=None, **arguments):
  schedule = tf_unilth.IterativeSparsity(target, **arguments)
  return FakeModel(schedule, rate=rate, **(model or {}))


def _stop_when(condition):
  return lambda trained, epoch, logs: condition(trained, epoch)


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


# Continuation, and second fits.


@EACH
@pytest.mark.parametrize('stop', [1, 3, 6, 9])
def test_a_run_that_a_file_carried_over_ends_bit_identical(algorithm, stop):
  def run(*stops):
    model = _model(rounds=4, rate=tf_unilth.StagedLearningRate(0.1))
    begin = 0
    for end in (*stops, 11):
      halt = _stop_when(lambda trained, epoch: epoch == end)  # noqa: B023
      done = fake_engine.fit(
        model,
        algorithm,
        12,
        val_loss=PLATEAU_4,
        initial_epoch=begin,
        on_epoch=halt,
      )
      begin, model = end + 1, model.copy()
    return done, model

  whole, left_alone = run()
  with (
    pytest.warns(UserWarning, match='NOT met')
    if whole.log('stage')[stop] != 3
    else pytest.WarningsRecorder(_ispytest=True)
  ):
    resumed, carried = run(stop)
  assert whole.log('stage')[stop + 1 :] == resumed.log('stage')
  for before, after in zip(
    left_alone.variables(), carried.variables(), strict=True
  ):
    np.testing.assert_array_equal(before, after)


def test_a_finished_model_fitted_again_keeps_its_mask(capsys):
  model = _model(0.5)
  fake_engine.fit(model, UniLTH(verbose=0), 5)
  masks = [mask.copy() for mask in model.masks]
  weights = [weight.copy() for weight in model.weights]
  done = fake_engine.fit(model, UniLTH(), 4)
  assert 'was reached before: the masks stay fixed' in capsys.readouterr().out
  for before, after, weight in zip(masks, model.masks, model.weights):
    np.testing.assert_array_equal(before, after)
    assert not weight[~after].any()
  assert any(not np.array_equal(a, b) for a, b in zip(weights, model.weights))
  assert set(done.log('l2_lambda')) == {0.0}


@pytest.mark.filterwarnings('ignore:LTH')
def test_an_unfinished_model_fitted_again_only_prunes_on(capsys):
  model = _model()
  stop = _stop_when(lambda trained, epoch: trained.zeros() > 0)
  fake_engine.fit(model, LTH(verbose=0), 10, on_epoch=stop)
  before = [mask.copy() for mask in model.masks]
  assert 0 < sum(int((~m).sum()) for m in before) < 547
  done = fake_engine.fit(model, UniLTH(), 6)
  assert 'does not continue the earlier run of LTH' in capsys.readouterr().out
  assert done.zeros() == 547
  for old, new in zip(before, model.masks):
    assert not (new & ~old).any()


@pytest.mark.filterwarnings('ignore:LTH')
def test_another_algorithm_does_not_go_on_with_a_dead_run():
  model = _model()
  stop = _stop_when(lambda trained, epoch: epoch == 1)
  fake_engine.fit(model, LTH(verbose=0), 10, on_epoch=stop)
  done = fake_engine.fit(model, UniLTH(verbose=0), 10, initial_epoch=2)
  assert done.log('stage')[0] == 1


@pytest.mark.filterwarnings('ignore:LTH')
@pytest.mark.parametrize('change', ['masks', 'epochs'])
def test_another_budget_or_other_masks_begin_a_run_of_their_own(change):
  model = _model()
  stop = _stop_when(lambda trained, epoch: epoch == 5)
  fake_engine.fit(model, LTH(verbose=0), 10, on_epoch=stop)
  assert model.state.round > 0
  model = model.copy()
  if change == 'masks':  # As a clone of the model has.
    model.masks = [np.ones_like(mask) for mask in model.masks]
  epochs = 10 if change == 'masks' else 11
  done = fake_engine.fit(model, LTH(verbose=0), epochs, initial_epoch=6)
  assert done.run.state.first_epoch == 6


def test_a_lost_optimizer_state_is_reported(capsys):
  model = _model(rounds=4)
  stop = _stop_when(lambda trained, epoch: epoch == 3)
  with pytest.warns(UserWarning, match='NOT met'):
    fake_engine.fit(model, UniLTH(verbose=0), 12, on_epoch=stop)
  model = model.copy()
  model.iterations = 0
  done = fake_engine.fit(model, UniLTH(), 12, initial_epoch=4)
  assert 'the optimizer has done fewer steps' in capsys.readouterr().out
  assert done.zeros() == 547


def test_pretrained_weights_are_those_to_rewind_to():
  model = _model()
  start = [weight.copy() for weight in model.weights]
  callback = UniLTH(pretrained=True, verbose=0)
  fake_engine.fit(model, callback)
  for before, kept in zip(start, callback.rewind_weights, strict=True):
    np.testing.assert_array_equal(before, kept)


# A target of 0, and what a step costs.


@EACH
def test_a_target_of_zero_leaves_everything_alone(algorithm):
  model, alone = _model(0.0), _model(0.0)
  done = fake_engine.fit(model, algorithm)
  for _ in range(64):
    fake_engine.FakeEngine(alone).train()
  for before, after in zip(alone.variables(), model.variables(), strict=True):
    np.testing.assert_array_equal(before, after)
  assert set(done.log('stage')) == {0} and not done.all_calls()


def test_the_batch_hook_does_nothing_while_nothing_is_due():
  done = fake_engine.fit(
    _model(rounds=2),
    UniLTH(verbose=0, max_dense_fraction=0.5),
    10,
    val_loss=FALLING,
  )
  busy = [i for i, calls in enumerate(done.calls) if calls != ['check_step']]
  assert len(busy) == 2 and min(busy) >= 40  # The ends of two rounds.


def test_weights_that_become_nan_never_become_a_mask():
  model = _model()
  callback = DLTH(verbose=0, finetune_fraction=0.95)
  model.goals[0][0, 0] = np.nan
  with pytest.raises(FloatingPointError, match="'kernel_0' has NaN"):
    fake_engine.fit(model, callback)
  assert all(mask.all() for mask in model.masks)


def test_an_error_in_a_step_releases_the_model():
  model = _model()
  model.goals[0][0, 0] = np.nan
  run = None

  def keep(trained, epoch, logs):
    nonlocal run
    run = trained.run
    return False

  with (
    pytest.raises(FloatingPointError),
    pytest.warns(UserWarning, match='NOT met'),
  ):
    fake_engine.fit(model, UniLTH(verbose=0), on_epoch=keep)
  assert run.engine._run is None

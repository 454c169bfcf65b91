"""Stages, rounds, rewinds, budgets and continuation, on the fake engine.

`algorithms_test.py` runs the same algorithms on the engines of a framework.
"""

import itertools

import numpy as np
import pytest

import tf_unilth
from tests.testing import fake_engine, toy_algorithm
from tests.testing.fake_engine import FakeModel
from tf_unilth.engines.fit_context import FitContext
from tf_unilth.selection import layer_shares

LTH, DLTH = tf_unilth.LTH, tf_unilth.DLTH
UniLTH, UniDLTH = tf_unilth.UniLTH, tf_unilth.UniDLTH
TOTAL = 608
PLATEAU_4 = (3, 2, 2.5, 2.2)  # At epoch 4; the best is 2.
FALLING = tuple(range(40, 0, -1))


def _model(target=0.9, rate=0.05, model=None, **arguments):
  schedule = tf_unilth.IterativeSparsity(target, **arguments)
  return FakeModel(schedule, rate=rate, **(model or {}))


def _stop_when(condition):
  return lambda trained, epoch, logs: condition(trained, epoch)


# What a user sees.


def test_one_line_per_event(capsys):
  callback = UniLTH()
  done = fake_engine.fit(_model(0.95), callback, 20, val_loss=PLATEAU_4)
  assert capsys.readouterr().out.splitlines() == [
    'UniLTH: epoch 4: val_loss has not fallen for 2 epochs; rewound to the '
    'end of epoch 2; 2 of 19 rounds to 95.07%; the budget of 20 epochs allows '
    'no more, 149 epochs would allow all',
    'UniLTH: round 1: 25 steps, lambda rises to 0.316 (A = 3)',
    'UniLTH: 95.07% reached; finetuning',
    'UniLTH: done: 578 of 608 weights are zero',
  ]
  state = done.run.state
  assert (state.plateau_epoch, state.rewound_to_epoch) == (4, 2)


def test_without_a_plateau_stage_2_begins_and_says_so(capsys):
  done = fake_engine.fit(
    _model(), UniLTH(max_dense_fraction=0.3), 10, val_loss=FALLING
  )
  assert (
    'epoch 3: reached max_dense_fraction without a plateau; pruning starts '
    'without rewinding; '
  ) in capsys.readouterr().out
  assert (done.run.state.plateau_epoch, done.run.state.rewound_to_epoch) == (
    -1,
    -1,
  )
  assert 'write_variables' not in done.all_calls()


def test_verbose_0_is_silent_and_2_tells_each_round(capsys):
  fake_engine.fit(_model(rounds=3), LTH(verbose=0))
  assert not capsys.readouterr().out
  fake_engine.fit(_model(rounds=3), LTH(verbose=2))
  assert 'round 2 of 3: ' in capsys.readouterr().out


def test_ending_early_says_that_the_target_was_not_met(capsys):
  stop = _stop_when(lambda trained, epoch: epoch == 3)
  with pytest.warns(UserWarning, match='ended early and the target was NOT'):
    done = fake_engine.fit(_model(), UniLTH(), 20, on_epoch=stop)
  assert 'target was NOT met' in capsys.readouterr().out.splitlines()[-1]
  assert not done.run.reached_target


def test_an_emptied_layer_is_named():
  model = _model(0.5, rate=1e-9)
  model.weights[1] *= 1e-6
  with pytest.warns(UserWarning, match="'kernel_1' is down to its last weight"):
    fake_engine.fit(model, LTH(verbose=0))


def test_the_last_line_follows_what_other_code_wrote_at_the_end(capsys):
  model = _model()

  def spoil(trained, epoch, logs):
    if epoch == 7:
      model.weights[0] += 1
    return False

  done = fake_engine.fit(model, UniLTH(), on_epoch=spoil)
  assert 'the masks are restored' in capsys.readouterr().out
  for mask, weight in zip(model.masks, model.weights):
    assert not weight[~mask].any()
  assert done.zeros() == 547


# The budget.


@pytest.mark.parametrize('epochs', [*range(3, 13), 30, 100])
@pytest.mark.parametrize('steps', [1, 2, 8, 50])
@pytest.mark.parametrize('make', [UniLTH, UniDLTH, LTH, DLTH])
@pytest.mark.filterwarnings('ignore:LTH')
def test_any_budget_of_three_epochs_or_more_ends_at_the_target(
  epochs, steps, make
):
  done = fake_engine.fit(_model(0.98), make(verbose=0), epochs, steps)
  assert done.zeros() == round(0.98 * TOTAL)
  assert done.run.state.stage == 3


@pytest.mark.parametrize('make', [UniLTH, UniDLTH, LTH])
def test_unknown_steps_are_counted_in_the_first_epoch(make):
  done = fake_engine.fit(_model(), make(verbose=0), known_steps=False)
  told = fake_engine.fit(_model(), make(verbose=0))
  assert done.zeros() == 547
  assert done.log('stage') == told.log('stage')
  assert done.log('round') == told.log('round')


@pytest.mark.parametrize(
  'algorithm, why',
  [
    (DLTH(verbose=0), 'DLTH begins its ramp at the first step'),
    (UniLTH(pretrained=True, verbose=0), 'prunes from the first step'),
  ],
)
def test_pruning_from_the_first_step_asks_for_the_steps(algorithm, why):
  with pytest.raises(ValueError, match=f'steps_per_epoch must be given.*{why}'):
    fake_engine.fit(_model(), algorithm, known_steps=False)


def test_lth_asks_for_the_steps_if_a_round_ends_in_the_first_epoch():
  with pytest.raises(ValueError, match='the first round ends in the first'):
    fake_engine.fit(_model(rounds=8), LTH(verbose=0), known_steps=False)


@pytest.mark.parametrize('make', [UniLTH, UniDLTH, LTH, DLTH])
def test_rounds_that_cannot_fit_name_the_smallest_budget(make):
  def fit(epochs):
    model = _model(0.5, rounds=100, model={'steps_per_execution': 2})
    return fake_engine.fit(model, make(verbose=0), epochs)

  with pytest.raises(ValueError, match=r'must be at least \d+') as error:
    fit(5)
  smallest = int(str(error.value).split('at least ')[1].rstrip('.'))
  done = fit(smallest)
  assert done.run.state.round == 100 and done.run.reached_target
  with pytest.raises(ValueError, match=f'must be at least {smallest}'):
    fit(smallest - 1)


def test_fewer_than_three_epochs_are_an_error():
  with pytest.raises(ValueError, match=r'epochs must be at least 3 .* is 2'):
    fake_engine.fit(_model(), UniLTH(verbose=0), 2)


def test_the_last_round_leaves_the_share_for_finetuning():
  callback = UniLTH(
    verbose=0, patience=None, max_dense_fraction=0.2, finetune_fraction=0.5
  )
  done = fake_engine.fit(_model(), callback, 20)
  assert done.log('stage') == [1] * 3 + [2] * 8 + [3] * 9


def test_explicit_rounds_of_one_schedule_count_for_all():
  model = FakeModel(
    tf_unilth.IterativeSparsity(0.5, rounds=2), tf_unilth.IterativeSparsity(0.9)
  )
  done = fake_engine.fit(model, UniLTH(verbose=0), 30)
  assert done.run.state.round == 2 and done.run.reached_target


def test_schedules_that_disagree_on_rounds_are_refused():
  model = FakeModel(
    tf_unilth.IterativeSparsity(rounds=2, target_sparsity=0.5),
    tf_unilth.IterativeSparsity(rounds=3, target_sparsity=0.5),
  )
  with pytest.raises(ValueError, match=r'must agree, but are \[2, 3\]'):
    fake_engine.fit(model, UniLTH(verbose=0))


def test_rounds_are_not_shorter_than_an_execution():
  model = _model(model={'steps_per_execution': 8})
  done = fake_engine.fit(model, UniLTH(verbose=0, finetune_fraction=0.0), 30)
  # One round at a time: the ramp of each is felt.
  assert np.max(np.diff(done.log('round'))) <= 1
  assert done.run.reached_target


def test_a_target_that_empties_layers_is_refused():
  with pytest.raises(ValueError, match=r'0.999 asks for 607 zeros among 608'):
    fake_engine.fit(_model(0.999), UniLTH())


def test_finetuning_all_the_time_prunes_before_the_first_step():
  callback = DLTH(
    ramp=tf_unilth.L2Ramp(limit=0), finetune_fraction=1.0, verbose=0
  )
  done = fake_engine.fit(_model(rounds=3), callback, 3)
  for masks, weights in zip(done.masks, done.weights):
    zeros = sum(int((~mask).sum()) for mask in masks)
    assert zeros == 547 == sum(int((w == 0).sum()) for w in weights)


@pytest.mark.parametrize('scope', ['layer', 'erk'])
def test_scopes_share_the_zeros_out_as_they_say(scope):
  done = fake_engine.fit(_model(scope=scope), UniLTH(verbose=0))
  shares = {
    'layer': [0.9, 0.9],
    'erk': layer_shares.erk_sparsities(fake_engine.SHAPES, 0.9),
  }[scope]
  for mask, share in zip(done.engine.model.masks, shares):
    assert abs((~mask).sum() - share * mask.size) <= 1
  assert done.zeros() == 547


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


# Stage 1.


def test_validation_freq_delays_the_plateau_only():
  context = FitContext(is_fit=True, validation_freq=2)

  def every_other(trained, epoch, logs):
    if epoch % 2 == 0:
      del logs['val_loss']
    return False

  done = fake_engine.fit(
    _model(),
    UniLTH(verbose=0, max_dense_fraction=0.6),
    20,
    val_loss=(0, 3, 0, 2, 0, 2.5),  # Of epochs 2, 4 and 6.
    initial_epoch=1,
    context=context,
    on_epoch=every_other,
  )
  assert done.run.reached_target
  state = done.run.state
  assert (state.plateau_epoch, state.rewound_to_epoch) == (6, 4)


def test_no_validation_data_is_refused_before_the_first_step():
  context = FitContext(is_fit=True, has_validation=False)
  model = _model()
  with pytest.raises(ValueError, match="'val_loss' needs validation data"):
    fake_engine.fit(model, UniLTH(), context=context)
  assert not model.iterations


@pytest.mark.parametrize('frequency', [1, 2, [1, 2]])
def test_an_unknown_monitor_names_those_there_are(frequency):
  callback = UniLTH(monitor='val_los', patience=5, max_dense_fraction=0.9)
  context = FitContext(is_fit=True, validation_freq=frequency)
  with pytest.raises(ValueError, match=r"'val_los' is not in .*'val_loss'"):
    fake_engine.fit(_model(), callback, context=context)


def test_a_nan_monitor_is_named():
  with pytest.raises(FloatingPointError, match="'val_loss' is nan in epoch 1"):
    fake_engine.fit(_model(), UniLTH(), val_loss=(np.nan,))


def test_no_epoch_better_than_the_first_is_warned_of():
  with pytest.warns(UserWarning, match='no epoch was better than the first'):
    fake_engine.fit(_model(), UniLTH(verbose=0), val_loss=(1.0,))


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

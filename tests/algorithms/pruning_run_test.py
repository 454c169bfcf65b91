"""Messages, budgets and stage 1 of a run, on the fake engine."""

import numpy as np
import pytest

import tf_unilth
from tests.testing import fake_engine
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
    'end of epoch 2; 2 of 19 rounds to 95.07%, as many as fit into 20 epochs '
    '(all need 149)',
    'UniLTH: round 1: 25 steps, lambda rises to 0.316 (A = 3)',
    'UniLTH: 95.07% reached; finetuning',
    'UniLTH: done: 578 of 608 weights are zero',
  ]
  state = done.run.state
  assert (state.plateau_epoch, state.rewound_to_epoch) == (4, 2)


def test_an_epoch_that_is_better_by_less_than_min_delta_is_kept(capsys):
  losses = [1.0, 0.5, 0.49, 0.48, *[0.4] * 6]
  done = fake_engine.fit(
    _model(0.5), UniLTH(min_delta=0.1), 10, val_loss=losses
  )
  assert (
    'epoch 4: val_loss has not fallen by more than 0.1 for 2 epochs; not '
    'rewound, since epoch 4 was the best; '
  ) in capsys.readouterr().out
  state = done.run.state
  assert (state.plateau_epoch, state.rewound_to_epoch) == (4, 4)


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

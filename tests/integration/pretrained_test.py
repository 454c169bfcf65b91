"""UniLTH and UniDLTH with pretrained=True: no dense stage, rounds at once."""

import functools

import keras_tuner
import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

import tf_unilth
from tests.testing import toys
from tf_unilth import tuner
from tf_unilth.files.checkpoint_errors import CheckpointError

pytestmark = pytest.mark.long

ROUNDS = 3
_CLASSES = {'unilth': tf_unilth.UniLTH, 'unidlth': tf_unilth.UniDLTH}
both = pytest.mark.parametrize('name', _CLASSES)


def _model(target=0.9):
  keras.utils.set_random_seed(1)
  return toys.wrapped(
    toys.conv(), tf_unilth.IterativeSparsity(target, rounds=ROUNDS)
  )


def _rewind_values(ticket):
  return [value.tobytes() for value in ticket.rewind_weights]


@functools.cache
def _run(name):
  """Returns start, model, callback, spy and history of a run, once."""
  model = _model()
  plain = [w.numpy() for w in tf_unilth.strip_pruning(model).weights]
  ticket, spy = _CLASSES[name](pretrained=True, verbose=0), toys.Spy()
  # Without validation data, which only a plateau needs.
  history = toys.fit(model, ticket, spy, epochs=5, validation_data=None)
  return plain, model, ticket, spy, history.history


@both
def test_it_prunes_from_the_first_step_to_exactly_the_target(name):
  _, model, ticket, spy, history = _run(name)
  # UniDLTH's rounds end within the first epoch.
  assert history['stage'][0] == {'unilth': 2, 'unidlth': 3}[name]
  assert history['stage'][-1] == 3
  # 5 epochs of 8 steps, of which the rounds have 40% (16) or 20% (8 steps).
  steps = 5 * toys.STEPS
  rounds_end = {'unilth': int(0.4 * steps), 'unidlth': int(0.2 * steps)}[name]
  zeros = [toys.zeros(found) for found, _ in spy.batches]
  goal = round(0.9 * toys.size(toys.masks(model)))
  assert zeros[rounds_end // ROUNDS - 1] > 0
  assert zeros[rounds_end - 2] < zeros[rounds_end - 1] == zeros[-1] == goal
  assert toys.zeros(toys.kernels(model)) == goal
  assert ticket.rounds == ROUNDS and ticket.reached_target
  assert ticket.plateau_epoch is None and ticket.rewound_to_epoch is None


def test_candidates_shrink_before_the_first_cut():
  _, _, _, spy, history = _run('unilth')
  assert history['l2_lambda'][0] > 0 == history['l2_lambda'][-1]
  end = 16 // ROUNDS  # The step at which the first round ends.
  found, _ = spy.batches[end - 1]
  sizes = [
    sum(np.abs(w[~mask]).sum() for w, mask in zip(weights, found))
    for _, weights in spy.batches[: end - 1]
  ]
  assert sizes[-1] < 0.8 * sizes[0]


@both
def test_its_ticket_begins_from_the_pretrained_weights(name):
  start, model, ticket, _, _ = _run(name)
  for before, value in zip(start, ticket.rewind_weights, strict=True):
    np.testing.assert_array_equal(before, value)
  masks = toys.masks(model)
  found = tf_unilth.Ticket.from_model(model, ticket)
  again = found.apply(toys.conv())
  for mask, kernel, weight in zip(
    masks, toys.kernels(again), (v for v in start if v.ndim > 1), strict=True
  ):
    np.testing.assert_array_equal(kernel, np.where(mask, weight, 0))


def test_it_says_that_the_model_is_taken_as_trained(capsys):
  model = _model()
  ticket = tf_unilth.UniLTH(pretrained=True)
  toys.fit(model, ticket, epochs=3)
  said = capsys.readouterr().out
  assert 'pretrained=True: pruning starts without stage 1' in said
  assert 'max_dense_fraction' not in said and 'done: ' in said


def test_the_learning_rate_decays_once_over_the_whole_fit():
  model = _model()
  rate = tf_unilth.StagedLearningRate(0.05)
  toys.compiled_for_labels(model, keras.optimizers.SGD(rate, momentum=0.9))
  seen = []
  watch = keras.callbacks.LambdaCallback(
    on_train_batch_end=lambda batch, logs: seen.append(
      float(rate(model.optimizer.iterations))
    )
  )
  toys.fit(model, tf_unilth.UniLTH(pretrained=True, verbose=0), watch, epochs=4)
  assert seen == sorted(seen, reverse=True)
  assert seen[0] > 0.049 and seen[-1] == pytest.approx(0, abs=1e-6)


@both
@pytest.mark.parametrize(
  'arguments',
  [
    {'patience': 3},
    {'patience': None},
    {'rewind_epochs': 1},
    {'max_dense_fraction': 0.3},
    {'monitor': 'loss'},
    {'mode': 'max'},
    {'min_delta': 0.1},
  ],
)
def test_arguments_of_the_dense_stage_are_refused(name, arguments):
  (argument,) = arguments
  said = rf'{argument} must be left at .* with pretrained=True.* but is '
  with pytest.raises(ValueError, match=said):
    _CLASSES[name](pretrained=True, **arguments)


def test_what_is_no_boolean_is_refused():
  with pytest.raises(ValueError, match='pretrained must be True or False'):
    tf_unilth.UniLTH(pretrained='weights.h5')


def test_data_of_unknown_length_are_refused_with_the_argument_that_helps():
  def batches():
    x, y = toys.data()
    for index in range(0, len(x), 8):
      yield x[index : index + 8], y[index : index + 8]

  model = _model()
  with pytest.raises(ValueError, match='steps_per_epoch must be given'):
    model.fit(
      batches(),
      epochs=3,
      callbacks=[tf_unilth.UniLTH(pretrained=True, verbose=0)],
      verbose=0,
    )


def test_too_few_epochs_name_the_smallest_budget():
  with pytest.raises(ValueError, match='epochs must be at least 3'):
    toys.fit(_model(), tf_unilth.UniLTH(pretrained=True, verbose=0), epochs=2)


def test_a_finished_model_is_held_and_not_pruned_further():
  _, finished, _, _, _ = _run('unilth')
  model = keras.models.clone_model(finished)
  model.set_weights(finished.get_weights())
  toys.compiled_for_labels(model)
  before = toys.masks(model)
  ticket = tf_unilth.UniLTH(pretrained=True, verbose=0)
  history = toys.fit(model, ticket, epochs=3)
  assert set(history.history['stage']) == {3}
  for mask, after in zip(before, toys.masks(model), strict=True):
    np.testing.assert_array_equal(mask, after)
  assert ticket.rewind_weights is None  # It found no ticket.


class _Died(Exception):
  """A `fit` that died."""


def _die_at(step):
  def count(batch, logs):
    nonlocal step
    step -= 1
    if not step:
      raise _Died

  return keras.callbacks.LambdaCallback(on_train_batch_end=count)


def _resumable(directory, *more, **arguments):
  model = _model()
  ticket = tf_unilth.UniLTH(**{'pretrained': True, 'verbose': 0, **arguments})
  resume = tf_unilth.CheckpointAndResume(directory, verbose=0, every_steps=3)
  toys.fit(model, ticket, resume, *more, epochs=4)
  return [v.tobytes() for v in toys.training_state(model)], ticket


def test_a_run_that_died_ends_bit_identical_with_its_ticket(tmp_path):
  whole, ticket = _resumable(tmp_path / 'whole')
  with pytest.raises(_Died):
    _resumable(tmp_path / 'died', _die_at(2 * toys.STEPS + 2))
  again, resumed = _resumable(tmp_path / 'died')
  assert again == whole
  assert _rewind_values(resumed) == _rewind_values(ticket)


def test_a_run_does_not_go_on_as_one_that_is_not_pretrained(tmp_path):
  with pytest.raises(_Died):
    _resumable(tmp_path, _die_at(toys.STEPS + 2))
  with pytest.raises(CheckpointError, match='pretrained'):
    _resumable(tmp_path, pretrained=False)


def test_checkpoints_that_know_nothing_of_it_still_fit():
  # A key that all runs had now would make runs of before be refused.
  assert 'pretrained' not in tf_unilth.UniLTH().settings
  assert tf_unilth.UniLTH(pretrained=True).settings['pretrained'] == 'True'


def test_a_search_does_not_ask_for_a_dense_stage():
  space = tuner.TicketSpace(0.9, fixed={'pretrained': True})
  hp = keras_tuner.HyperParameters()
  _, callback = space(hp)
  assert callback.settings['pretrained'] == 'True'
  assert not {'patience', 'rewind_epochs', 'max_dense_fraction'} & {*hp.values}
  assert 'finetune_fraction' in hp.values


def test_the_start_does_not_follow_the_training():
  # A view of a variable would show what training made of it.
  start, model, ticket, _, _ = _run('unilth')
  moved = [
    not np.array_equal(value, weight.numpy())
    for value, weight in zip(
      ticket.rewind_weights, tf_unilth.strip_pruning(model).weights
    )
  ]
  assert all(moved) and len(moved) == len(start)
  assert all(isinstance(value, np.ndarray) for value in ticket.rewind_weights)
  assert not any(isinstance(value, tf.Variable) for value in start)

"""Budget and timeline: how epochs become stages and rounds."""

import itertools

import pytest

from tf_unilth.run import budget
from tf_unilth.run.run_state import RunState
from tf_unilth.run.timeline import Timeline


@pytest.mark.parametrize('patience', [1, 2, 5, None])
def test_the_default_cap_leaves_time_for_a_plateau(patience):
  for epochs in range(3, 200):
    cap = budget.dense_epochs(epochs, patience, None)
    assert 1 <= cap <= epochs - 1
    # Never before patience + 2 epochs, where there are as many.
    assert cap >= min((patience or 0) + 2, epochs - 1)


def test_an_explicit_cap_is_taken_at_its_word():
  assert budget.dense_epochs(100, 5, 0.03) == 3
  assert budget.dense_epochs(10, 5, 0.99) == 9


@pytest.mark.parametrize('steps', [1, 7, 100, 12345])
@pytest.mark.parametrize('rounds', [1, 3, 60])
@pytest.mark.parametrize('share', [0.0, 0.4, 1.0])
def test_rounds_are_in_order_and_end_in_time(steps, rounds, share):
  ends = [
    budget.round_end(50, steps, share, number, rounds)
    for number in range(rounds + 1)
  ]
  assert ends == sorted(ends)
  assert ends[0] == 50
  assert ends[-1] <= 50 + round((1 - share) * steps)
  lengths = [b - a for a, b in itertools.pairwise(ends)]
  assert max(lengths) - min(lengths) <= 1  # Evenly.


def test_too_few_epochs_name_what_is_needed():
  with pytest.raises(ValueError, match=r'at least 3 .* but is 2'):
    budget.check_epochs(2, first=0)
  with pytest.raises(ValueError, match=r'at least 12 .* from epoch 9 on\), b'):
    budget.check_epochs(1, first=9)
  budget.check_epochs(3, first=9)


def _timeline(epochs, share, per_epoch=10):
  state = RunState(epochs=epochs, steps_per_epoch=per_epoch)
  return Timeline(state, lambda rounds: share)


@pytest.mark.parametrize('share', [0.0, 0.4, 0.999999])
@pytest.mark.parametrize('steps_per_execution', [1, 4])
def test_the_smallest_budget_is_named_and_fits(share, steps_per_execution):
  dense = lambda epochs: budget.dense_epochs(epochs, 2, None)  # noqa: E731
  with pytest.raises(ValueError, match='at least') as error:
    _timeline(5, share).check_rounds(60, steps_per_execution, dense)
  smallest = int(str(error.value).split('at least ')[1].rstrip('.'))
  _timeline(smallest, share).check_rounds(60, steps_per_execution, dense)
  with pytest.raises(ValueError, match=f'at least {smallest}'):
    _timeline(smallest - 1, share).check_rounds(60, steps_per_execution, dense)


def test_a_run_that_begins_late_counts_its_own_steps():
  state = RunState(first_epoch=4, epochs=10, steps_per_epoch=7)
  timeline = Timeline(state, lambda rounds: 0.0)
  assert (timeline.epochs, timeline.steps) == (6, 42)
  assert timeline.step_at(6) == 14

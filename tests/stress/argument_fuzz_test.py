"""The argument fuzz: some of its cases, and that it sees what is wrong."""

import functools

import hypothesis
import hypothesis.strategies as st
import pytest

import tf_unilth
from tests.stress import argument_case
from tests.testing import random_arguments, random_calls, toys
from tests.testing.draw import HypothesisDraw
from tests.testing.random_calls import Call
from tf_unilth.schedules import l2_ramp

pytestmark = pytest.mark.long

# Cases, without the exports, which are slow.
COUNT = 150
_SLOW = ('export_saved_model', 'export_tflite')


def test_random_arguments_are_accepted_or_refused_in_words():
  outcomes = set()

  @hypothesis.settings(
    max_examples=COUNT,
    derandomize=True,
    deadline=None,
    suppress_health_check=list(hypothesis.HealthCheck),
  )
  @hypothesis.given(st.data())
  def run(data):
    call = argument_case.draw_call(HypothesisDraw(data))
    hypothesis.assume(call.subject not in _SLOW)
    row = argument_case.check_call(call)
    assert row.outcome != argument_case.FAILED, row
    outcomes.add(row.outcome)

  run()
  assert outcomes == {argument_case.ACCEPTED, argument_case.REFUSED}


@pytest.mark.parametrize('subject', ['a run with LTH', argument_case.FLAGS])
def test_one_that_was_accepted_trains(subject):
  index = next(
    index
    for index in range(COUNT)
    if argument_case.draw(0, index).subject == subject
    and argument_case.check(0, index).can_train
  )
  row = argument_case.train(0, index)
  assert row.outcome != argument_case.FAILED, row


def _judged(**given):
  call = Call('L2Ramp', given, tuple(given))
  return argument_case._row(0, call, lambda: argument_case._call(call))


def test_a_case_is_a_function_of_seed_and_index():
  one, other = argument_case.draw(3, 7), argument_case.draw(3, 7)
  assert repr(one) == repr(other) != repr(argument_case.draw(3, 8))


def test_a_bad_value_that_is_accepted_is_a_failure(monkeypatch):
  assert _judged(limit=-1).outcome == argument_case.REFUSED
  monkeypatch.setattr(
    l2_ramp, 'check_float', lambda name, value, *_, **__: value
  )
  row = _judged(limit=-1)
  assert row.outcome == argument_case.FAILED
  assert row.text == 'limit=-1 was accepted'


@pytest.mark.parametrize(
  'message, fault',
  [
    ('it must be at least 0, but is -1', 'names none of power'),
    ('power must be at least 0', 'does not show power=-1'),
    ('power is -1', 'does not say what is allowed'),
    ('power must be\nat least 0, but is -1', 'not one line'),
  ],
)
def test_an_error_that_does_not_help_is_a_failure(message, fault, monkeypatch):
  def refuse(name, value, *_, **__):
    raise ValueError(message if name == 'power' else '')

  # The error shall come from a file of ours, as the library's do.
  monkeypatch.setattr(argument_case, '_OURS', __file__)
  monkeypatch.setattr(l2_ramp, 'check_float', refuse)
  monkeypatch.setitem(
    random_calls.BY_NAME,
    'L2Ramp',
    random_calls.Subject(
      'L2Ramp', lambda power: refuse('power', power), random_arguments.RAMP
    ),
  )
  assert _judged(power=-1).text.startswith(fault)


def test_an_error_of_another_library_is_a_failure():
  call = Call('L2Ramp', {'power': 1}, ())
  row = argument_case._row(0, call, lambda: int('power must be a number'))
  assert (row.outcome, row.text[:16]) == ('failed', 'not raised by us')


def test_what_a_refused_call_leaves_is_a_failure():
  def write_and_refuse():
    with open('half', 'w') as file:
      file.write('half')
    tf_unilth.L2Ramp(power=-1)

  call = Call('L2Ramp', {'power': -1}, ('power',))
  row = argument_case._row(0, call, write_and_refuse)
  assert row.text.startswith("left ['half']")


def test_a_ticket_that_misses_its_target_is_a_failure(monkeypatch):
  calls = (argument_case.draw(0, index) for index in range(9 * COUNT))
  monkeypatch.setattr(toys, 'fit', lambda *args, **kwargs: None)
  rows = (
    argument_case._row(
      0, call, functools.partial(argument_case._train_run, call)
    )
    for call in calls
    if call.subject == 'a run with DLTH' and not call.bad
  )
  # Good values may be refused together.
  row = next(row for row in rows if row.outcome != argument_case.REFUSED)
  assert row.outcome == argument_case.FAILED

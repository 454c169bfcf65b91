"""Objectives and spaces: what a search may try, and what is best."""

import types

import keras_tuner
import numpy as np
import pytest

import tf_unilth
from tests.testing import tuned
from tf_unilth import tuner

pytestmark = pytest.mark.long
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

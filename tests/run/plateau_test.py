"""Plateau: when it is reached and where it rewinds, on made-up curves."""

import math

import pytest

from tf_unilth.run.plateau import Plateau
from tf_unilth.run.run_state import RunState


def _plateau(**arguments):
  defaults = {
    'monitor': 'val_loss',
    'mode': 'auto',
    'patience': 2,
    'min_delta': 0.0,
    'rewind_epochs': None,
    'max_dense_fraction': None,
  }
  return Plateau(**{**defaults, **arguments})


def _watch(curve, first_epoch=0, **arguments):
  """Returns (epoch of the plateau, epoch that was rewound to)."""
  plateau = _plateau(**arguments)
  state = RunState(first_epoch=first_epoch)
  state.reset(plateau.snapshots)
  values = [str(first_epoch).encode()]
  plateau.keep(state, first_epoch, lambda: values)
  for epoch, value in enumerate(curve, first_epoch + 1):
    values = [str(epoch).encode()]
    if plateau.watch(state, epoch, value, lambda: values):  # noqa: B023
      snapshot = plateau.rewinds_to(state, epoch)
      if snapshot is None:
        return epoch, None
      # The epoch's own weights.
      assert snapshot.values == [str(snapshot.epoch).encode()]
      return epoch, snapshot.epoch
    plateau.keep(state, epoch, lambda: values)  # noqa: B023
  return None


@pytest.mark.parametrize(
  'curve, expected',
  [
    ([5, 4, 3, 2, 1], None),
    ([3, 2, 2.5, 2.2], (4, 2)),
    ([0.1, 0.1, 0.1, 0.1], (3, 1)),  # Equal is not lower.
    ([3, 4, 2, 3, 1, 2, 1.5], (7, 5)),  # Noise within the patience.
    ([3, 2, 9, 1, 1.1, 1.2], (6, 4)),  # A spike.
  ],
)
def test_the_plateau_and_the_lowest_epoch(curve, expected):
  assert _watch(curve) == expected


def test_patience_counts_epochs_since_the_best():
  curve = [3, 2, 2.1, 2.2, 2.3, 2.4]
  assert [_watch(curve, patience=p)[0] for p in (1, 2, 3)] == [3, 4, 5]
  assert _watch(curve, patience=9) is None


def test_no_patience_is_no_plateau():
  assert _watch([1, 2, 3, 4], patience=None) is None


def test_min_delta_counts_for_patience_and_not_for_the_lowest():
  # Falls by 0.01 an epoch: too little to count, but the lowest is the last.
  curve = [1.0, 0.99, 0.98]
  assert _watch(curve, min_delta=0.1) == (3, 3)
  assert _watch(curve, min_delta=0.001) is None


@pytest.mark.parametrize(
  'monitor, mode', [('val_accuracy', 'auto'), ('x', 'max')]
)
def test_a_monitor_that_shall_rise(monitor, mode):
  assert _watch([1, 2, 1.5, 1.7], monitor=monitor, mode=mode) == (4, 2)


def test_rewind_epochs_counts_back_from_the_plateau():
  curve = [5, 4, 3, 2, 2.5, 2.4]
  found = {k: _watch(curve, rewind_epochs=k) for k in (0, 1, 2, 5, 6, 50)}
  assert found == {
    0: (6, None),
    1: (6, 5),
    2: (6, 4),
    5: (6, 1),
    6: (6, 0),
    50: (6, 0),  # Never before the start.
  }


def test_a_run_that_begins_at_a_later_epoch_starts_there():
  assert _watch([3, 4, 5], first_epoch=10) == (13, 11)
  assert _watch([3, 4, 5], first_epoch=10, rewind_epochs=9) == (13, 10)


@pytest.mark.parametrize('rewind_epochs, count', [(None, 1), (0, 0), (4, 4)])
def test_only_the_snapshots_that_are_needed_are_kept(rewind_epochs, count):
  assert _plateau(rewind_epochs=rewind_epochs).snapshots == count
  assert _plateau(patience=None, rewind_epochs=rewind_epochs).snapshots == 0


def test_a_state_that_was_reset_forgets_the_last_run():
  state = RunState(
    best=1.0, lowest=1.0, plateau_epoch=3, round=5, ramp_limit=2.0
  )
  state.reset(2)
  assert state.best == state.lowest == math.inf
  assert (state.plateau_epoch, state.round) == (-1, 0)
  assert state.ramp_limit == 0
  assert [snapshot.taken for snapshot in state.snapshots] == [False, False]


@pytest.mark.parametrize(
  'arguments, match',
  [
    ({'monitor': 7}, 'monitor must be a string that is not empty, but is 7'),
    ({'monitor': ''}, "monitor must be a string that is not empty, but is ''"),
    ({'patience': True}, 'patience must be None or a whole number >= 1, but'),
    ({'patience': '2'}, "patience .* but is '2'"),
    ({'min_delta': '0'}, "min_delta must be a finite number >= 0, but is '0'"),
    ({'rewind_epochs': 1.0}, 'rewind_epochs .* but is 1.0'),
    ({'max_dense_fraction': 1j}, 'max_dense_fraction must be None or a number'),
    ({'mode': ['min']}, 'mode must be one of .* but is ..min'),
  ],
)
def test_arguments_of_a_wrong_type_are_named(arguments, match):
  with pytest.raises(ValueError, match=match):
    _plateau(**arguments)

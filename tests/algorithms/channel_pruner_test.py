"""The four algorithms on whole channels, on the fake engine."""

import itertools

import numpy as np
import pytest

import tf_unilth
from tests.testing import fake_engine
from tests.testing.fake_engine import FakeModel

TOTAL = 36 * 16 + 16 * 2


def _model(target=0.5, **arguments):
  schedule = tf_unilth.IterativeSparsity(target, rounds=4, **arguments)
  return FakeModel(schedule, by_channels=True)


@pytest.mark.parametrize('of', ['weights', 'flops'])
@pytest.mark.parametrize(
  'algorithm',
  [
    tf_unilth.LTH(verbose=0),
    tf_unilth.DLTH(verbose=0),
    tf_unilth.UniLTH(verbose=0),
    tf_unilth.UniDLTH(verbose=0),
  ],
  ids=lambda a: type(a).__name__,
)
def test_each_algorithm_removes_the_fewest_whole_units(algorithm, of):
  model = _model(0.5, of=of)
  done = fake_engine.fit(model, algorithm, 12)
  for before, after in itertools.pairwise(done.masks):
    assert not any((a & ~b).any() for b, a in zip(before, after))
  for masks, weights in zip(done.masks, done.weights):
    columns = masks[0].any(0)
    np.testing.assert_array_equal(masks[0], np.tile(columns, (36, 1)))
    np.testing.assert_array_equal(masks[1], np.tile(columns[:, None], (1, 2)))
    assert not any(w[~m].any() for m, w in zip(masks, weights))
  left = int(model.masks[0].any(0).sum())
  logs = done.logs[-1]
  assert logs['sparsity'] == (TOTAL - 38 * left) / TOTAL
  assert logs['flops_sparsity'] == (1600 - 100 * left) / 2000
  # Of 16: 8 of the weights; (1600 - 100 n) / 2000 = 0.5 of the FLOPs is n = 6.
  assert left == (8 if of == 'weights' else 6)
  assert done.run.reached_target


def test_the_ramp_shrinks_whole_units():
  model = _model()
  candidates = []
  fake_engine.fit(
    model,
    tf_unilth.UniLTH(verbose=0, patience=None),
    12,
    on_epoch=lambda *_: candidates.append(
      [chosen.copy() for chosen in model.candidates]
    ),
  )
  found = [chosen for chosen in candidates if chosen[0].any()]
  assert found
  for first, second in found:
    np.testing.assert_array_equal(first, np.tile(first.any(0), (36, 1)))
    np.testing.assert_array_equal(second[:, 0], first[0])


def test_random_units_are_those_of_the_seed(capsys):
  found = []
  for seed in (1, 1, 2):
    model = _model()
    fake_engine.fit(model, tf_unilth.DLTH(verbose=2, seed=seed), 8)
    found.append(model.masks[0].any(0))
  assert np.array_equal(found[0], found[1])
  assert not np.array_equal(found[0], found[2])
  text = capsys.readouterr().out
  assert '4 of 4 rounds to 50% of the weights' in text
  assert '8 of 16 channels are removed' in text
  assert '50% of the weights and 40% of the FLOPs reached' in text


def test_an_unreachable_target_says_what_is_the_most():
  with pytest.raises(ValueError, match=r'it can be at most 0\.75') as error:
    fake_engine.fit(_model(0.8, of='flops'), tf_unilth.DLTH(verbose=0), 8)
  assert 'kernel_1 (output of the model)' in str(error.value)


def test_the_last_channel_of_a_layer_is_named():
  with pytest.warns(UserWarning, match='last channel: kernel_0 of 16'):
    fake_engine.fit(_model(0.75, of='flops'), tf_unilth.DLTH(verbose=0), 8)


def test_several_schedules_are_refused():
  schedules = [tf_unilth.IterativeSparsity(0.5) for _ in range(2)]
  model = FakeModel(*schedules, by_channels=True)
  with pytest.raises(ValueError, match='must share one schedule, but have 2'):
    fake_engine.fit(model, tf_unilth.DLTH(verbose=0), 8)


def test_flops_without_channels_are_refused():
  model = FakeModel(tf_unilth.IterativeSparsity(0.5, of='flops'))
  with pytest.raises(ValueError, match="of='flops' of the schedule needs"):
    fake_engine.fit(model, tf_unilth.DLTH(verbose=0), 8)


def test_an_early_end_says_what_is_missing(capsys):
  with pytest.warns(UserWarning, match='0 of 16 channels are removed, 0% of'):
    fake_engine.fit(
      _model(), tf_unilth.LTH(), 12, on_epoch=lambda done, epoch, _: True
    )
  assert 'instead of 50% of the weights' in capsys.readouterr().out


def test_a_target_of_0_is_inert():
  model = _model(0.0)
  done = fake_engine.fit(model, tf_unilth.UniLTH(verbose=0), 4)
  assert model.masks[0].all() and done.run.is_inert

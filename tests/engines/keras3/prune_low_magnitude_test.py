"""prune_low_magnitude on Keras 3: which layers it selects, and its errors."""

import re

import keras
import pytest

import tf_unilth
from tests.testing import keras_3_planned as planned
from tf_unilth.engines.keras3 import pruning_plan

pytestmark = pytest.mark.keras3
layers = keras.layers
prune_low_magnitude = tf_unilth.prune_low_magnitude


def _pruned(*args, **kwargs):
  """Returns the names of the kernels that are to be pruned."""
  model = prune_low_magnitude(
    planned.three(), planned.schedule(), *args, **kwargs
  )
  return [kernel.name for kernel in planned.kernels(model)]


# skip.


def test_the_model_itself_is_returned_and_nothing_is_wrapped():
  model = planned.three()
  before = list(model.layers)
  assert prune_low_magnitude(model, planned.schedule()) is model
  assert model.layers == before
  assert [kernel.name for kernel in planned.kernels(model)] == [
    'first',
    'inner',
    'last',
  ]


def test_skip_takes_names_layers_and_models_inside():
  assert _pruned(skip='first') == ['inner', 'last']
  assert _pruned(skip=['inner', 'last', 'last']) == ['first']
  assert _pruned(skip='block') == ['first', 'last']
  assert _pruned(skip=()) == ['first', 'inner', 'last']
  model = planned.three()
  prune_low_magnitude(model, planned.schedule(), skip=(model.layers[1],))
  assert [kernel.name for kernel in planned.kernels(model)] == ['first', 'last']


def test_skip_takes_patterns_and_functions():
  assert _pruned(skip=re.compile('st$')) == ['inner']
  assert _pruned(skip=re.compile('^lock|bloc')) == ['first', 'last']
  assert _pruned(skip=lambda layer: layer.name < 'j') == ['last']
  assert _pruned(skip=[re.compile('^f'), 'last']) == ['inner']


def test_a_layer_that_two_models_share_is_skipped_in_both():
  shared = layers.Dense(8, name='shared')
  inputs = layers.Input((8,))
  inner = keras.Sequential([layers.Input((8,)), shared], name='inner')
  x = layers.Dense(8, name='own')(inner(shared(inputs)))
  model = keras.Model(inputs, x)
  prune_low_magnitude(model, planned.schedule(), skip='shared')
  assert [kernel.name for kernel in planned.kernels(model)] == ['own']


# targets.


def _targets(targets, model=None):
  model = model or planned.three()
  prune_low_magnitude(model, planned.schedule(), targets=targets)
  return {k.name: k.schedule.target_sparsity for k in planned.kernels(model)}


def test_targets_take_names_layers_patterns_and_functions():
  assert _targets({'inner': 0.1}) == {'first': 0.8, 'inner': 0.1, 'last': 0.8}
  model = planned.three()
  assert _targets({model.layers[0]: 0.0}, model)['first'] == 0.0
  model = planned.three()
  model.add(layers.BatchNormalization(name='last_norm'))
  found = _targets(
    # A pattern ignores what has no kernel.
    {re.compile('last'): 0.1, lambda layer: layer.name == 'first': 0.2},
    model,
  )
  assert found == {'first': 0.2, 'inner': 0.8, 'last': 0.1}


def test_a_target_may_be_a_schedule_which_kernels_share():
  own = planned.schedule(0.3, rounds=2)
  model = prune_low_magnitude(
    planned.three(), planned.schedule(), targets={re.compile('st$'): own}
  )
  assert [kernel.schedule is own for kernel in planned.kernels(model)] == [
    True,
    False,
    True,
  ]


def test_targets_are_met_by_each_layer_apart():
  model = prune_low_magnitude(
    planned.three(),
    planned.schedule(0.8, rounds=2),
    targets={'first': 0.5, 'inner': 0.0},
  )
  assert planned.zeros(planned.fit(model, tf_unilth.LTH(verbose=0))) == [
    32,
    0,
    51,
  ]


def test_all_kernels_of_a_layer_have_its_target():
  model = keras.Sequential(
    [layers.Input((3, 2)), layers.LSTM(2, name='lstm'), layers.Dense(2)]
  )
  prune_low_magnitude(model, planned.schedule(), targets={'lstm': 0.5})
  found = [kernel.schedule.target_sparsity for kernel in planned.kernels(model)]
  assert found == [0.5, 0.5, 0.8]


# Errors.


@pytest.mark.parametrize(
  ('arguments', 'error', 'words'),
  [
    ({'skip': 'lost'}, ValueError, "skip names 'lost', which is no layer"),
    ({'skip': 'lats'}, ValueError, r"do you mean one of \['last'\]"),
    ({'skip': re.compile('x')}, ValueError, "skip has the pattern 'x'"),
    ({'skip': lambda layer: False}, ValueError, 'skip has .*is true of no'),
    ({'skip': 3}, TypeError, 'skip must be layers or names of layers.*is 3'),
    ({'skip': [3]}, TypeError, 'skip must be layers or names of.*has 3'),
    ({'skip': layers.Dense}, TypeError, 'skip must be layers or names'),
    (
      {'skip': layers.Dense(2, name='other')},
      ValueError,
      "skip names 'other', which is no layer",
    ),
    ({'targets': 0.5}, TypeError, 'targets must be a dict.*is 0.5'),
    ({'targets': {'lost': 0.5}}, ValueError, "targets names 'lost'"),
    ({'targets': {'first': 1.5}}, ValueError, "targets of 'first'.*1.5"),
    ({'targets': {'first': 'much'}}, ValueError, "targets of 'first'.*'much'"),
    (
      {'targets': {'block': 0.5}},
      ValueError,
      "targets names 'block', a Sequential, which has no kernel of its own",
    ),
    (
      {'targets': {re.compile('block'): 0.5}},
      ValueError,
      r"must match a layer with a kernel to prune, .*\['block'\]",
    ),
    (
      {'targets': {'first': 0.1, re.compile('f'): 0.2}},
      ValueError,
      "targets names 'first' twice",
    ),
    (
      {'skip': 'first', 'targets': {'first': 0.5}},
      ValueError,
      r"skip and targets must differ, but both name \['first'\]",
    ),
    (
      {'skip': 'block', 'targets': {'inner': 0.5}},
      ValueError,
      r"skip and targets must differ, but both name \['inner'\]",
    ),
    ({'block_size': (0, 1)}, ValueError, 'block.*0'),
    ({'block_size': 4}, ValueError, 'block_size must be two whole.*is 4'),
    ({'block_pooling_type': 'SUM'}, ValueError, "block_pooling_type.*'SUM'"),
    ({'sparsity_m_by_n': (4, 4)}, ValueError, r'sparsity_m_by_n.*4'),
    (
      {'sparsity_m_by_n': (2, 4), 'block_size': (4, 1)},
      ValueError,
      'block_size and sparsity_m_by_n exclude each other',
    ),
    ({'pruning_policy': 'first'}, TypeError, 'pruning_policy must be None'),
    ({'name': 'mine'}, TypeError, r"\['name'\]"),
    ({'pruning_schedule': 0.5}, TypeError, 'pruning_schedule must be.*is 0.5'),
    ({'pruning_schedule': None}, TypeError, 'pruning_schedule must.*is None'),
  ],
)
def test_a_wrong_argument_is_named_with_its_value(arguments, error, words):
  model = planned.three()
  with pytest.raises(error, match=words):
    prune_low_magnitude(
      model, **{'pruning_schedule': planned.schedule(), **arguments}
    )
  # Nothing is left on the model.
  assert pruning_plan.plan_of(model) is None
  assert 'fit' not in vars(model)


def test_a_schedule_is_needed():
  with pytest.raises(TypeError, match='pruning_schedule must be an Iterative'):
    prune_low_magnitude(planned.three())


@pytest.mark.parametrize('to_prune', [layers.Dense(2), [planned.three]])
def test_layers_and_lists_are_refused(to_prune):
  if isinstance(to_prune, list):
    to_prune = [to_prune[0]()]
  with pytest.raises(TypeError, match='to_prune must be a model, but is a'):
    prune_low_magnitude(to_prune, planned.schedule())


def test_a_model_is_pruned_once():
  model = prune_low_magnitude(planned.three(), planned.schedule())
  words = 'was passed to prune_low_magnitude before: call strip_pruning first'
  with pytest.raises(ValueError, match=words):
    prune_low_magnitude(model, planned.schedule(0.5))
  stripped = tf_unilth.strip_pruning(model)
  prune_low_magnitude(stripped, planned.schedule(0.5))
  found = {kernel.schedule.target_sparsity for kernel in planned.kernels(model)}
  assert found == {0.5}


@pytest.mark.parametrize(
  ('model', 'arguments', 'words'),
  [
    (lambda: [layers.Flatten()], {}, 'no layer of .* has a kernel'),
    (lambda: [layers.Dense(2, name='a')], {'skip': 'a'}, 'nothing to prune'),
    (lambda: [layers.DepthwiseConv1D(2)], {}, 'nothing to prune'),
    (
      lambda: [planned.Matrix()],
      {},
      'nothing to prune.*a Matrix does not declare',
    ),
  ],
)
def test_nothing_to_prune_is_an_error(model, arguments, words):
  model = keras.Sequential([layers.Input((4, 3)), *model()])
  with pytest.raises(ValueError, match=words):
    prune_low_magnitude(model, planned.schedule(), **arguments)


def test_nothing_that_divides_is_an_error():
  model = keras.Sequential([layers.Input((3,)), layers.Dense(2)])
  with (
    pytest.warns(UserWarning, match='these layers stay dense'),
    pytest.raises(ValueError, match='nothing to prune'),
  ):
    prune_low_magnitude(model, planned.schedule(0.5), sparsity_m_by_n=(2, 4))

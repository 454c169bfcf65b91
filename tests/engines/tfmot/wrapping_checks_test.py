"""What prune_low_magnitude refuses, in words."""

import re

import keras as keras3
import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

import tf_unilth
from tests.testing import subclassed, toys
from tf_unilth.engines.tfmot.pruned_model import PrunedLayers

layers = keras.layers
prune_low_magnitude = tf_unilth.prune_low_magnitude
strip_pruning = tf_unilth.strip_pruning


def _schedule(target=0.8, **arguments):
  return tf_unilth.IterativeSparsity(target, **arguments)


def _wrapped_names(model):
  return [kernel.name for kernel in PrunedLayers(model).kernels]


def _three():
  return keras.Sequential(
    [
      layers.Input((8,)),
      layers.Dense(8, name='first'),
      keras.Sequential([layers.Dense(8, name='inner')], name='block'),
      layers.Dense(8, name='last'),
    ]
  )


@pytest.mark.parametrize(
  ('call', 'message'),
  [
    (
      lambda: prune_low_magnitude(_three(), _schedule(), skip=['lsat']),
      r"skip names 'lsat', which is no layer of .*\['last'\]",
    ),
    (
      lambda: prune_low_magnitude(_three(), _schedule(), targets={'no': 0.1}),
      "targets names 'no'",
    ),
    (
      lambda: prune_low_magnitude(
        toys.conv(), _schedule(), targets={'flatten': 0.1}
      ),
      "targets names 'flatten'",
    ),
    (
      lambda: prune_low_magnitude(_three(), targets={'last': 0.1}),
      "targets of 'last' must be a schedule, but is 0.1",
    ),
    (
      lambda: prune_low_magnitude(_three(), _schedule(), targets={'last': 1}),
      r'target_sparsity must be in \[0, 1\), but is 1',
    ),
    (
      lambda: prune_low_magnitude(
        _three(), _schedule(), skip=re.compile('lsat')
      ),
      "skip has the pattern 'lsat', which matches no layer of",
    ),
    (
      lambda: prune_low_magnitude(
        _three(), _schedule(), skip=[lambda layer: False]
      ),
      'skip has <function .*, which is true of no layer of',
    ),
    (
      lambda: prune_low_magnitude(
        _three(), _schedule(), targets={re.compile('t$'): 0.5, 'last': 0.2}
      ),
      "targets names 'last' twice",
    ),
    (
      lambda: prune_low_magnitude(
        toys.conv(), _schedule(), targets={re.compile('flatten'): 0.1}
      ),
      'targets has .*, which must match a layer with a kernel to prune',
    ),
    (
      lambda: prune_low_magnitude(
        _three(), _schedule(), block_size=(2, 1), sparsity_m_by_n=(2, 4)
      ),
      r'block_size and sparsity_m_by_n exclude each other',
    ),
    (
      lambda: prune_low_magnitude(keras.experimental.LinearModel(2)),
      'a LinearModel, a subclassed model.* Dense layer does',
    ),
    (
      lambda: prune_low_magnitude(
        _three(), _schedule(), skip=['first', 'block', 'last']
      ),
      'has nothing to prune',
    ),
    (
      lambda: prune_low_magnitude(
        _three(), _schedule(), skip=['last'], targets={'last': 0.5}
      ),
      r"skip and targets must differ, but both name \['last'\]",
    ),
    (
      lambda: prune_low_magnitude(
        keras.Sequential([layers.Input((4,)), *[layers.Dense(4, name='r')] * 2])
      ),
      r"applies more than once, \['r'\]",
    ),
    (
      lambda: prune_low_magnitude(
        toys.conv(), _schedule(), targets={'conv2d': 0.5}, block_size=(2, 1)
      ),
      r"kernels divide into units of .* but names \['conv2d'\]",
    ),
    (
      lambda: prune_low_magnitude(
        prune_low_magnitude(_three(), _schedule()),
        _schedule(),
        skip=['prune_low_magnitude_last'],
      ),
      'which is wrapped already',
    ),
    (
      lambda: prune_low_magnitude(_three(), _schedule(), targets={'last': '1'}),
      "targets of 'last': target_sparsity must be a number",
    ),
    (
      lambda: prune_low_magnitude(_three(), _schedule(), block_size=(1.5, 2)),
      r'block_size must be two whole numbers, but is \(1.5, 2\)',
    ),
    (
      lambda: prune_low_magnitude(_three(), _schedule(), sparsity_m_by_n='2:4'),
      "sparsity_m_by_n must be two whole numbers, but is '2:4'",
    ),
    (
      lambda: prune_low_magnitude(layers.Dense(2), _schedule(), skip=['x']),
      'skip and targets are for models',
    ),
    (
      lambda: prune_low_magnitude(layers.ReLU(), _schedule()),
      'to_prune is a ReLU, which has no kernel',
    ),
    (
      lambda: prune_low_magnitude(
        subclassed.Subclassed(_schedule()), _schedule()
      ),
      'to_prune is a Subclassed, a subclassed model',
    ),
    (
      lambda: prune_low_magnitude(
        _three(), _schedule(), sparsity_m_by_n=(4, 2)
      ),
      r'sparsity_m_by_n must be \(m, n\)',
    ),
  ],
)
def test_bad_input_is_named(call, message):
  keras.backend.clear_session()  # So that layers have their plain names.
  with pytest.raises(ValueError, match=message):
    call()


def test_what_is_no_model_is_refused():
  for function in (
    lambda: prune_low_magnitude('model', _schedule()),
    lambda: strip_pruning(layers.Dense(2)),
  ):
    with pytest.raises(TypeError, match='must be a tf_keras'):
      function()


@pytest.mark.parametrize(
  ('arguments', 'message'),
  [
    ({'skip': 5}, 'skip must be layers or names of layers, but is 5'),
    ({'pruning_policy': 'x'}, 'pruning_policy must be a tfmot Pruning'),
    ({'skip': layers.Dense}, 'skip must be layers or names of layers'),
    ({'skip': [re.compile(b'x')]}, 'but has re.compile.*Compiled regular'),
    (
      {'skip': [keras3.layers.Dense(2)]},
      '(?s)skip must be a tf_keras.Layer.*Keras 3',
    ),
    ({'targets': []}, 'targets must be a dict'),
    ({'skip': [5]}, 'skip must be layers or names of layers, but has 5'),
    ({'targets': ['last']}, 'targets must be a dict'),
    ({'skp': ['last']}, r"single layer for the arguments \['skp'\]"),
  ],
)
def test_arguments_of_another_kind_are_refused(arguments, message):
  with pytest.raises(TypeError, match=message):
    prune_low_magnitude(_three(), _schedule(), **arguments)


def test_a_name_means_all_layers_that_have_it():
  inner = [
    keras.Sequential([layers.Dense(8, input_shape=(8,), name='proj')])
    for _ in range(2)
  ]
  model = keras.Sequential(
    [layers.Input((8,)), *inner, layers.Dense(2, name='head')]
  )
  wrapped = prune_low_magnitude(model, _schedule(), skip='proj')
  assert _wrapped_names(wrapped) == ['head']


def test_what_is_no_schedule_is_refused():
  with pytest.raises(TypeError, match=r'pruning_schedule must be .* is 0.9'):
    prune_low_magnitude(_three(), 0.9)


@pytest.mark.parametrize('pooling', ['MIN', None, np.ones(2), tf.constant(1.0)])
def test_a_pooling_is_looked_at_where_nothing_is_pooled_too(pooling):
  with pytest.raises(ValueError, match='block_pooling_type must be one of'):
    tf_unilth.prune_low_magnitude(
      toys.dense(),
      tf_unilth.IterativeSparsity(0.5),
      block_pooling_type=pooling,
    )

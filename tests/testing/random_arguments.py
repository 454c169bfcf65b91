"""Random arguments of the library's public API, good ones and bad ones."""

import re

import numpy as np
import tensorflow_model_optimization as tfmot
import tf_keras as keras

import tf_unilth
from tests.testing import toys
from tests.testing.argument_models import (
  AllowDense,
  keras3,
  path,
  sparse,
  subclassed,
  toy,
  wrapped,
)
from tests.testing.argument_values import (
  JSON,
  NAN,
  ODD,
  TRUTH,
  VERBOSE,
  Argument,
  Made,
  fraction,
  number,
  one_of,
  whole,
)

layers = keras.layers


def _ramps() -> Argument:
  ramps = {
    'L2Ramp()': tf_unilth.L2Ramp(),
    'L2Ramp(0)': tf_unilth.L2Ramp(0),
    'L2Ramp(0.1, 2)': tf_unilth.L2Ramp(0.1, 2),
    'L2Ramp(1e300)': tf_unilth.L2Ramp(1e300),
    'L2Ramp(1e-300)': tf_unilth.L2Ramp(1e-300),
    'L2Ramp(0.3, 0)': tf_unilth.L2Ramp(0.3, 0),
    'L2Ramp(power=1e300)': tf_unilth.L2Ramp(power=1e300),
    'L2Ramp(power=50)': tf_unilth.L2Ramp(power=50),
    'L2Ramp(0.1, increment=0.01, interval=3)': tf_unilth.L2Ramp(
      0.1, increment=0.01, interval=3
    ),
  }
  good = tuple(Made(name, lambda r=ramp: r) for name, ramp in ramps.items())
  return Argument((None, *good), (0.1, 7, tf_unilth.L2Ramp, *ODD))


SCHEDULE = {
  'target_sparsity': fraction(True, False, 0.9, 0.8, 0.5),
  'prune_fraction': fraction(False, False, 0.2, 0.5, 1e-300),
  'rounds': whole(1, 2, 3, 10**9).or_none(),
  'pace': one_of('geometric', 'cubic').or_none(),
  'scope': one_of('global', 'layer', 'erk').or_none(),
  'begin_step': whole(1, 20, 10**12).or_none(),
  'frequency': whole(1, 5, 100, 10**12),
  'of': one_of('weights', 'flops'),
}
RAMP = {
  'limit': number((0.1, 1.0, 0, 1e-300, 1e300), (10**400,)).or_none(),
  'power': number((1, 0, 2.5, 1e300)),
  'increment': number((0.01, 1e-300, 5), (0, 0.0)).or_none(),
  'interval': whole(1, 5, 10**9),
}
_PLATEAU = {
  'monitor': Argument(
    ('val_loss', 'loss', 'val_accuracy', 'nonsense'),
    (7, None, NAN, b'loss', ['loss'], '', np.ones(2)),
  ),
  'mode': one_of('auto', 'min', 'max'),
  'patience': whole(1, 2, 10**12).or_none(),
  'min_delta': number((0.0, 0.1, 10, 1e300)),
  'rewind_epochs': whole(0, 2).or_none(),
  'max_dense_fraction': fraction(False, False, 0.4).or_none(),
}
_FINETUNE = {'finetune_fraction': fraction(True, True, 0.4)}
SEED = whole(0, 3, 2**40)
CALLBACKS: dict[str, dict[str, Argument]] = {
  'UniLTH': {
    **_PLATEAU,
    **_FINETUNE,
    'ramp': _ramps(),
    'verbose': VERBOSE,
    'pretrained': TRUTH,
  },
  'UniDLTH': {
    **_PLATEAU,
    **_FINETUNE,
    'ramp': _ramps(),
    'seed': SEED,
    'verbose': VERBOSE,
    'pretrained': TRUTH,
  },
  'LTH': {
    'rewind': one_of('weights', 'learning_rate'),
    'rewind_step': whole(0, 0, 0, 3, 10**12),
    'verbose': VERBOSE,
  },
  'DLTH': {
    **_FINETUNE,
    'ramp': _ramps(),
    'seed': SEED,
    'verbose': VERBOSE,
  },
}
RATE = {
  'initial_learning_rate': number((0.05, 1e-30, 0.5, 1), (0, 0.0, 10**400)),
  'decay': one_of('cosine', 'linear', 'constant', 'step'),
  'decay_steps': whole(1, 40, 10**12).or_none(),
  'warmup': fraction(True, False, 0.1),
  'boundaries': Argument(
    ((), (), (), (0.5,), (0.5, 0.75), [0.2, 0.4], np.array([0.3, 0.6])),
    (
      *((0.0,), (1.0,), (0.7, 0.5), (0.5, 0.5), (NAN,), (0.5, 'x'), 0.5),
      *('half', None, (True,), ((0.5,),), (-1,), (1e300,)),
    ),
  ),
  'factor': fraction(False, False, 0.1),
}
RESUME = {
  'directory': Argument(
    ('run', 'a/b', Made('a path', lambda: path('run'))),
    (None, 7, NAN, b'run', ['run'], '', 'a\0b', 'a_file'),
  ),
  'config': JSON.or_none(),
  'every_steps': whole(1, 3, 10**12).or_none(),
  'keep': whole(2, 3, 10**12),
  'verbose': VERBOSE,
}
NO_LAYERS = (
  *(None, 7, 'model', keras.Model),
  Made('a keras 3 model', lambda: keras3()),
)
WRONG_MODELS = (*NO_LAYERS, [], Made('a layer', lambda: layers.Dense(2)))
WRAPPING = {
  'block_size': Argument(
    ((1, 1), (1, 1), (1, 1), (2, 1), [1, 2], (np.int64(2), 2)),
    (
      *((0, 1), (-1, 2), (2,), (1, 2, 3), 2, (1.5, 1), ('a', 'b'), 'ab'),
      *((True, 2), None, NAN, (NAN, 1), (10**30, 1)),
    ),
  ),
  'block_pooling_type': one_of('AVG', 'MAX'),
  'sparsity_m_by_n': Argument(
    (None, None, None, (2, 4), [1, 2]),
    (
      *((0, 4), (4, 4), (5, 4), (-1, 4), (2,), 2, '24', (2.0, 4), (True, 4)),
      *((NAN, 4), (1, 10**30), b'24'),
    ),
  ),
  'structure': Argument(
    (None, None, None, 'channels'), ('channel', 'filters', 7, NAN, True, b'')
  ),
  'pruning_policy': Argument(
    (None, None, Made('a policy', lambda: AllowDense())),
    (7, 'policy', NAN, tfmot.sparsity.keras.PruningPolicy),
  ),
  'skip': Argument(
    (
      *((), (), 'hidden', ['hidden'], ('head',), {'head'}),
      *(re.compile('^hid'), [re.compile('ead$'), 'head']),
      Made('a function', lambda: lambda layer: layer.name == 'head'),
    ),
    (
      *(7, None, ['nothing'], 'hiden', [7], [None], b'hidden', NAN, {'x': 1}),
      *(re.compile('^idden'), [re.compile(b'hidden')], layers.Dense),
      Made('a false function', lambda: lambda layer: False),
    ),
  ),
  'targets': Argument(
    (
      *(None, None, {}, {'hidden': 0.5}, {'head': np.float32(0.25)}),
      {re.compile('^hid'): 0.5},
      Made('a function', lambda: {(lambda layer: layer.name == 'head'): 0.5}),
    ),
    (
      *({'hidden': 1.5}, {'hidden': NAN}, {'hidden': None}, {'no': 0.5}),
      *({7: 0.5}, ['hidden'], 'hidden', 0.5, {'hidden': 'x'}, {'hidden': True}),
      *({'hidden': 10**400}, {re.compile('flatten'): 0.5}, {'hidden': None}),
      {'hidden': 0.5, re.compile('hid'): 0.5},
    ),
  ),
}
MODEL = {'to_prune': Argument((Made('toy', lambda: toy()),), NO_LAYERS)}
SCHEDULES = Argument(
  (
    Made('0.5', lambda: tf_unilth.IterativeSparsity(0.5)),
    Made('0.9 by layer', lambda: tf_unilth.IterativeSparsity(0.9, scope='erk')),
    Made('FixedMask', tf_unilth.FixedMask),
  ),
  (None, 0.5, 'schedule', {}, tf_unilth.IterativeSparsity, NAN),
)
SHRINKABLE = Argument(
  (
    Made('toy', lambda: toy()),
    Made('sparse toy', lambda: sparse()),
    Made('wrapped', lambda: wrapped()),
    Made('a branch', toys.conv),
    Made('a model inside', toys.nested),
  ),
  (
    *WRONG_MODELS,
    Made('subclassed', lambda: subclassed()),
    Made('not built', lambda: keras.Sequential([layers.Dense(2)])),
  ),
)
PATH = Argument(
  ('export', 'a/b/export', Made('a path', lambda: path('export'))),
  (None, 7, NAN, ['export'], '', 'a\0b', b'export', 'a_file/export'),
)
INPUTS = Argument(
  (None, None, Made('a batch', lambda: toys.data(3)[0])),
  (
    *(
      7,
      'inputs',
      {'x': 1},
      [],
      np.ones((2, 3)),
      np.ones((0, 6, 6, 1)),
      object,
    ),
    Made('strings', lambda: np.full((2, 6, 6, 1), 'a')),
  ),
)
INFERENCE_TYPE = one_of('float32', 'int8', 'uint8')
STRIPPED = Argument(
  (Made('sparse toy', lambda: sparse()),),
  (*WRONG_MODELS, Made('wrapped', lambda: wrapped())),
)

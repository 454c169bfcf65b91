"""A ticket with an array of each type that a file may hold."""

import ml_dtypes
import numpy as np

import tf_unilth


def ticket(**fields):
  rng = np.random.default_rng(0)
  masks = {
    'conv': rng.random((3, 3, 1, 4)) < 0.3,
    'head': rng.random((5, 3)) < 0.3,
  }
  weights = {
    'conv/kernel': rng.normal(size=(3, 3, 1, 4)).astype(np.float32),
    'odd': np.float32([-0.0, np.inf, np.nan, 1e-45]),
    'count': np.array(7, np.int64),
    'low': np.array([1.1, -2.2], ml_dtypes.bfloat16),
    'half': np.float16([0.1]),
    'flags': np.array([True, False]),
    **{
      f'integers/{name}': np.array([np.iinfo(name).max, 1], name)
      for name in ('int8', 'int16', 'int32', 'uint8', 'uint16', 'uint32')
    },
    'integers/uint64': np.array(1 << 63, np.uint64),
    'double': np.array([[1 / 3]]),
  }
  fields = {
    'rewind_weights': weights,
    'method': 'UniDLTH',
    'seed': 3,
    'provenance': {'data': 'digits', 'where': ['é', 1.5, None]},
    **fields,
  }
  return tf_unilth.Ticket(masks, **fields)

"""Random arguments of the library's public API, good ones and bad ones."""

import dataclasses
import math
import pathlib
import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_model_optimization as tfmot
import tf_keras as keras

import tf_unilth
from tests.testing import toys
from tests.testing.draw import Draw

layers = keras.layers


@dataclasses.dataclass(frozen=True)
class Made:
  """A value that is made where it is used, known by a name."""

  name: str
  make: Callable[[], Any]

  def __repr__(self) -> str:
    return self.name


def value_of(drawn: Any) -> Any:
  """Returns what a drawn value stands for."""
  return drawn.make() if isinstance(drawn, Made) else drawn


@dataclasses.dataclass(frozen=True)
class Argument:
  """What an argument may be, and what it must not be."""

  good: tuple[Any, ...]
  bad: tuple[Any, ...]

  def or_none(self) -> 'Argument':
    """Returns the same, but `None` is allowed."""
    good = (None, None, *self.good)
    return Argument(good, tuple(v for v in self.bad if v is not None))


_NAN, _INF = math.nan, math.inf
_ODD = (
  'magic',
  '',
  b'1',
  [],
  [1, 2],
  {},
  {'a': 1},
  object,
  1j,
  np.ones((2, 3)),
  np.complex64(0.5),
  Made('a tensor', lambda: tf.constant([1.0, 2.0])),
  '1' * 5000,
)


def _whole(least: int, *usual: int) -> Argument:
  return Argument(
    (*usual, least, np.int64(least + 1), np.int32(least + 2), np.uint8(5)),
    (
      *(least - 1, -7, np.int64(least - 1), -(10**30), 10**30, 10**5000),
      *(1.5, 2.0, np.float32(3), _NAN, _INF, True, False, np.bool_(1), '3'),
      *(*_ODD, None),
    ),
  )


def _number(
  good: tuple[float, ...], outside: tuple[float, ...] = ()
) -> Argument:
  return Argument(
    (*good, *(kind(good[0]) for kind in (np.float32, np.float64))),
    (
      *outside,
      *(_NAN, np.float32('nan'), -_INF, _INF, -0.5, -1, -1e300, True, '0.5'),
      *(*_ODD, None),
    ),
  )


def _fraction(zero: bool, one: bool, *usual: float) -> Argument:
  ends = (*(0.0, 0) * zero, *(1.0, 1) * one)
  out = (*(0.0, 0) * (not zero), *(1.0, 1) * (not one), 1.5, 95, 1e300, 10**400)
  return _number((*usual, 0.3, 1e-9, 1 - 1e-9, *ends), out)


def _one_of(*names: Any) -> Argument:
  near = [f'{name}s' for name in names]
  return Argument(names, (*near, *_ODD, 7, -1, _NAN, None))


_TRUTH = Argument((True, False), ('no', 'False', 2, -1, None, *_ODD))
_VERBOSE = Argument((0, 0, 1, 2), (-1, 3, 1.5, 'auto', None, *_ODD))
_JSON = Argument(
  ({}, {'batch': 8}, {'a': [1, 'b', None]}),
  ({'a': _NAN}, {'a': object}, {'a': np.ones(2)}, 'x', 7, [1], _NAN),
)


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
  return Argument((None, *good), (0.1, 7, tf_unilth.L2Ramp, *_ODD))


SCHEDULE = {
  'target_sparsity': _fraction(True, False, 0.9, 0.8, 0.5),
  'prune_fraction': _fraction(False, False, 0.2, 0.5, 1e-300),
  'rounds': _whole(1, 2, 3, 10**9).or_none(),
  'pace': _one_of('geometric', 'cubic').or_none(),
  'scope': _one_of('global', 'layer', 'erk').or_none(),
  'begin_step': _whole(1, 20, 10**12).or_none(),
  'frequency': _whole(1, 5, 100, 10**12),
}
RAMP = {
  'limit': _number((0.1, 1.0, 0, 1e-300, 1e300), (10**400,)).or_none(),
  'power': _number((1, 0, 2.5, 1e300)),
  'increment': _number((0.01, 1e-300, 5), (0, 0.0)).or_none(),
  'interval': _whole(1, 5, 10**9),
}
_PLATEAU = {
  'monitor': Argument(
    ('val_loss', 'loss', 'val_accuracy', 'nonsense'),
    (7, None, _NAN, b'loss', ['loss'], '', np.ones(2)),
  ),
  'mode': _one_of('auto', 'min', 'max'),
  'patience': _whole(1, 2, 10**12).or_none(),
  'min_delta': _number((0.0, 0.1, 10, 1e300)),
  'rewind_epochs': _whole(0, 2).or_none(),
  'max_dense_fraction': _fraction(False, False, 0.4).or_none(),
}
_FINETUNE = {'finetune_fraction': _fraction(True, True, 0.4)}
_SEED = _whole(0, 3, 2**40)
CALLBACKS: dict[str, dict[str, Argument]] = {
  'UniLTH': {
    **_PLATEAU,
    **_FINETUNE,
    'ramp': _ramps(),
    'verbose': _VERBOSE,
    'pretrained': _TRUTH,
  },
  'UniDLTH': {
    **_PLATEAU,
    **_FINETUNE,
    'ramp': _ramps(),
    'seed': _SEED,
    'verbose': _VERBOSE,
    'pretrained': _TRUTH,
  },
  'LTH': {
    'rewind': _one_of('weights', 'learning_rate'),
    'rewind_step': _whole(0, 0, 0, 3, 10**12),
    'verbose': _VERBOSE,
  },
  'DLTH': {
    **_FINETUNE,
    'ramp': _ramps(),
    'seed': _SEED,
    'verbose': _VERBOSE,
  },
}
RATE = {
  'initial_learning_rate': _number((0.05, 1e-30, 0.5, 1), (0, 0.0, 10**400)),
  'decay': _one_of('cosine', 'linear', 'constant', 'step'),
  'decay_steps': _whole(1, 40, 10**12).or_none(),
  'warmup': _fraction(True, False, 0.1),
  'boundaries': Argument(
    ((), (), (), (0.5,), (0.5, 0.75), [0.2, 0.4], np.array([0.3, 0.6])),
    (
      *((0.0,), (1.0,), (0.7, 0.5), (0.5, 0.5), (_NAN,), (0.5, 'x'), 0.5),
      *('half', None, (True,), ((0.5,),), (-1,), (1e300,)),
    ),
  ),
  'factor': _fraction(False, False, 0.1),
}
RESUME = {
  'directory': Argument(
    ('run', 'a/b', Made('a path', lambda: _path('run'))),
    (None, 7, _NAN, b'run', ['run'], '', 'a\0b', 'a_file'),
  ),
  'config': _JSON.or_none(),
  'every_steps': _whole(1, 3, 10**12).or_none(),
  'keep': _whole(2, 3, 10**12),
  'verbose': _VERBOSE,
}
_NO_LAYERS = (
  *(None, 7, 'model', keras.Model),
  Made('a keras 3 model', lambda: _keras3()),
)
_WRONG_MODELS = (*_NO_LAYERS, [], Made('a layer', lambda: layers.Dense(2)))
WRAPPING = {
  'block_size': Argument(
    ((1, 1), (1, 1), (1, 1), (2, 1), [1, 2], (np.int64(2), 2)),
    (
      *((0, 1), (-1, 2), (2,), (1, 2, 3), 2, (1.5, 1), ('a', 'b'), 'ab'),
      *((True, 2), None, _NAN, (_NAN, 1), (10**30, 1)),
    ),
  ),
  'block_pooling_type': _one_of('AVG', 'MAX'),
  'sparsity_m_by_n': Argument(
    (None, None, None, (2, 4), [1, 2]),
    (
      *((0, 4), (4, 4), (5, 4), (-1, 4), (2,), 2, '24', (2.0, 4), (True, 4)),
      *((_NAN, 4), (1, 10**30), b'24'),
    ),
  ),
  'pruning_policy': Argument(
    (None, None, Made('a policy', lambda: _AllowDense())),
    (7, 'policy', _NAN, tfmot.sparsity.keras.PruningPolicy),
  ),
  'skip': Argument(
    (
      *((), (), 'hidden', ['hidden'], ('head',), {'head'}),
      *(re.compile('^hid'), [re.compile('ead$'), 'head']),
      Made('a function', lambda: lambda layer: layer.name == 'head'),
    ),
    (
      *(7, None, ['nothing'], 'hiden', [7], [None], b'hidden', _NAN, {'x': 1}),
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
      *({'hidden': 1.5}, {'hidden': _NAN}, {'hidden': None}, {'no': 0.5}),
      *({7: 0.5}, ['hidden'], 'hidden', 0.5, {'hidden': 'x'}, {'hidden': True}),
      *({'hidden': 10**400}, {re.compile('flatten'): 0.5}, {'hidden': None}),
      {'hidden': 0.5, re.compile('hid'): 0.5},
    ),
  ),
}
_MODEL = {'to_prune': Argument((Made('toy', lambda: toy()),), _NO_LAYERS)}
_SCHEDULES = Argument(
  (
    Made('0.5', lambda: tf_unilth.IterativeSparsity(0.5)),
    Made('0.9 by layer', lambda: tf_unilth.IterativeSparsity(0.9, scope='erk')),
    Made('FixedMask', tf_unilth.FixedMask),
  ),
  (None, 0.5, 'schedule', {}, tf_unilth.IterativeSparsity, _NAN),
)
_PATH = Argument(
  ('export', 'a/b/export', Made('a path', lambda: _path('export'))),
  (None, 7, _NAN, ['export'], '', 'a\0b', b'export', 'a_file/export'),
)
_INPUTS = Argument(
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
_INFERENCE_TYPE = _one_of('float32', 'int8', 'uint8')
_STRIPPED = Argument(
  (Made('sparse toy', lambda: sparse()),),
  (*_WRONG_MODELS, Made('wrapped', lambda: wrapped())),
)


class _AllowDense(tfmot.sparsity.keras.PruningPolicy):
  def allow_pruning(self, layer: keras.layers.Layer) -> bool:
    return isinstance(layer, layers.Dense)

  def ensure_model_supports_pruning(self, model: keras.Model) -> None:
    pass


def _path(name: str) -> Any:
  return pathlib.Path(name)


def _keras3() -> Any:
  import keras as keras3

  return keras3.Sequential([keras3.layers.Dense(2)])


def toy() -> keras.Model:
  """Returns a model of two dense layers."""
  return keras.Sequential(
    [
      layers.Input((6, 6, 1)),
      layers.Flatten(),
      layers.Dense(16, activation='relu', name='hidden'),
      layers.Dense(2, name='head'),
    ]
  )


def sparse() -> keras.Model:
  """Returns a toy of which half the weights are 0."""
  model = toy()
  for layer in model.layers[1:]:
    kernel, bias = layer.get_weights()
    kernel[::2] = 0
    layer.set_weights([kernel, bias])
  return model


def wrapped() -> keras.Model:
  """Returns a toy in wrappers."""
  return tf_unilth.prune_low_magnitude(toy(), tf_unilth.FixedMask())


def _ticket() -> tf_unilth.Ticket:
  model = sparse()
  return tf_unilth.Ticket.from_model(model, rewind_weights=model.get_weights())


def _save_ticket(**arguments: Any) -> None:
  _ticket().save(**arguments)


def _apply_ticket(**arguments: Any) -> Any:
  return _ticket().apply(**arguments)


@dataclasses.dataclass(frozen=True)
class Subject:
  """A public callable, and what its arguments may be.

  Args:
    name: of it.
    call: it.
    arguments: by name.
    required: which of them have no default.
    look: looks at what it returned, and raises if that is of no use.
  """

  name: str
  call: Callable[..., Any]
  arguments: Mapping[str, Argument]
  required: tuple[str, ...] = ()
  look: Callable[[Any], None] = lambda made: None


def _look_at_schedule(schedule: Any) -> None:
  again = type(schedule).from_config(schedule.get_config())
  _check_plain(schedule.get_config())
  rounds = schedule.rounds_needed('cubic')
  assert schedule.sparsity_at(rounds, max(1, rounds), 'cubic') <= 1
  assert again.get_config() == schedule.get_config()
  if schedule.begin_step is not None:
    _, sparsity = schedule(7)
    assert 0 <= float(sparsity) < 1


def _look_at_ramp(ramp: Any) -> None:
  assert ramp.ramp_steps(100) >= 1
  assert np.isfinite(ramp.shape(np.linspace(0, 1, 5), 100)).all()
  if ramp.limit is not None:
    for step in (0, 5, 100):
      rising = ramp.coefficient(step, min(ramp.limit, 100.0), 50)
      assert np.isfinite(float(rising))


def _look_at_rate(rate: Any) -> None:
  _check_plain(rate.get_config())
  again = type(rate).from_config(rate.get_config())
  for step in (0, 7, 10**6):
    assert np.isfinite(float(rate(step))) and float(again(step)) >= 0


def _look_at_callback(callback: Any) -> None:
  _check_plain(callback.settings)


def _check_plain(config: Any) -> None:
  """Raises unless it is of Python's own types, as files of Keras's need."""
  if isinstance(config, dict):
    config = list(config.values())
  if isinstance(config, list | tuple):
    for item in config:
      _check_plain(item)
  else:
    plain = (bool, int, float, str, type(None))
    assert type(config) in plain, f'{config!r} is a {type(config).__name__}'


_CALLBACK_SUBJECTS = [
  Subject(name, getattr(tf_unilth, name), given, look=_look_at_callback)
  for name, given in CALLBACKS.items()
]
SUBJECTS = [
  Subject(
    'IterativeSparsity',
    tf_unilth.IterativeSparsity,
    SCHEDULE,
    ('target_sparsity',),
    _look_at_schedule,
  ),
  Subject('L2Ramp', tf_unilth.L2Ramp, RAMP, look=_look_at_ramp),
  *_CALLBACK_SUBJECTS,
  Subject(
    'StagedLearningRate',
    tf_unilth.StagedLearningRate,
    RATE,
    ('initial_learning_rate',),
    _look_at_rate,
  ),
  Subject(
    'CheckpointAndResume',
    tf_unilth.CheckpointAndResume,
    RESUME,
    ('directory',),
  ),
  Subject(
    'prune_low_magnitude',
    tf_unilth.prune_low_magnitude,
    {**_MODEL, 'pruning_schedule': _SCHEDULES, **WRAPPING},
    ('to_prune', 'pruning_schedule'),
  ),
  Subject(
    'Ticket.from_model',
    tf_unilth.Ticket.from_model,
    {
      'model': Argument(
        (Made('sparse toy', sparse),),
        (*_WRONG_MODELS, Made('dense toy', toy)),
      ),
      'callback': Argument(
        (None, Made('LTH()', tf_unilth.LTH), Made('DLTH()', tf_unilth.DLTH)),
        (7, 'LTH', tf_unilth.LTH, keras.callbacks.Callback, _NAN),
      ),
      'rewind_weights': Argument(
        (None, None, Made('weights', lambda: toy().get_weights())),
        (7, [], 'w', [1, 2, 3, 4], np.ones(4), [None] * 4, {}),
      ),
      'method': Argument((None, 'mine'), (7, _NAN, b'x', ['x'], object)),
      'seed': _SEED.or_none(),
      'provenance': _JSON.or_none(),
    },
    ('model',),
  ),
  Subject(
    'Ticket',
    tf_unilth.Ticket,
    {
      'masks': Argument(
        (
          Made('an eye', lambda: {'dense': np.eye(3, dtype=bool)}),
          Made('zeros', lambda: {'a': np.zeros((2, 2), bool)}),
        ),
        (
          *(
            None,
            7,
            {},
            [],
            'masks',
            {'a': None},
            {'a': 7},
            {7: np.eye(2) > 0},
          ),
          {'a': np.eye(3)},
          Made('all kept', lambda: {'a': np.ones((2, 2), bool)}),
        ),
      ),
      'rewind_weights': Argument(
        (None, Made('a kernel', lambda: {'dense/kernel': np.ones((3, 3))})),
        (7, [], 'w', {'a': None}, {'a': 'x'}, {7: np.ones(2)}),
      ),
      'method': Argument((None, 'mine'), (7, _NAN, b'x', ['x'], object)),
      'seed': _SEED.or_none(),
      'provenance': _JSON,
    },
    ('masks',),
    repr,
  ),
  Subject(
    'Ticket.save',
    _save_ticket,
    {'path': _PATH, 'overwrite': _TRUTH},
    ('path',),
  ),
  Subject(
    'Ticket.load',
    tf_unilth.Ticket.load,
    {
      'path': Argument(
        ('a_ticket',),
        (*_PATH.bad, 'nowhere', 'a_file', 'a_folder', '/dev/zero', '.'),
      )
    },
    ('path',),
  ),
  Subject(
    'Ticket.apply',
    _apply_ticket,
    {
      'model': Argument(
        (Made('toy', toy), Made('wrapped', wrapped)),
        (*_WRONG_MODELS, Made('another', toys.conv)),
      ),
      'weights': _TRUTH,
      'skip': Argument(
        ((), (), 'head', ['hidden']),
        (7, None, ['nothing'], [7], b'hidden', _NAN, {'x': 1}),
      ),
    },
    ('model',),
  ),
  Subject(
    'export_saved_model',
    tf_unilth.export_saved_model,
    {
      'model': _STRIPPED,
      'path': _PATH,
      'inputs': _INPUTS,
      'overwrite': _TRUTH,
      'signatures': Argument(
        (None, {}),
        (7, 'serve', [], {'a': 7}, {7: len}, {'serve': None}, {'a': len}),
      ),
      'dtype': _one_of('float32', 'float16'),
      'packed': _TRUTH,
    },
    ('model', 'path'),
    str,
  ),
  Subject(
    'export_tflite',
    tf_unilth.export_tflite,
    {
      'model': _STRIPPED,
      'path': _PATH,
      'quantization': _one_of('float16', 'dynamic', 'int8').or_none(),
      'representative_data': Argument(
        (
          *(None, None, Made('a batch', lambda: toys.data(3)[0])),
          Made('a dataset', lambda: tf.data.Dataset.from_tensors(toys.data(3))),
          Made('a generator', lambda: lambda: iter([[toys.data(3)[0]]])),
        ),
        (*_INPUTS.bad, Made('nothing', lambda: lambda: iter([]))),
      ),
      'inputs': _INPUTS,
      'overwrite': _TRUTH,
      'sparse': _TRUTH,
      'inference_input_type': _INFERENCE_TYPE,
      'inference_output_type': _INFERENCE_TYPE,
    },
    ('model', 'path'),
    str,
  ),
]
# Good arguments take seconds there, so they are drawn less often.
SLOW = ('export_saved_model', 'export_tflite')


@dataclasses.dataclass(frozen=True)
class Call:
  """A call of a subject, with drawn arguments.

  Args:
    subject: its name.
    arguments: drawn values by name.
    bad: names of those that must be refused.
  """

  subject: str
  arguments: dict[str, Any]
  bad: tuple[str, ...]


def draw_values(
  d: Draw,
  arguments: Mapping[str, Argument],
  required: tuple[str, ...],
  bad: int,
) -> tuple[dict[str, Any], tuple[str, ...]]:
  """Returns values by name, and which of them are bad.

  Args:
    d: what is drawn from.
    arguments: what may be given.
    required: what must be.
    bad: how many are to be bad, where there are as many.
  """
  names = [name for name, argument in arguments.items() if argument.bad]
  wrong = {d.one(names) for _ in range(bad if names else 0)}
  drawn = {}
  for name, argument in arguments.items():
    if name in wrong:
      drawn[name] = d.one(argument.bad)
    elif name in required or d.chance(0.4):
      drawn[name] = d.one(argument.good)
  return drawn, tuple(name for name in names if name in wrong)


def draw_call(d: Draw) -> Call:
  """Returns a random call of a random subject."""
  subject = d.one(SUBJECTS)
  few = d.one([0, 1, 1, 2])
  if subject.name in SLOW and not d.chance(0.1):
    few = max(1, few)
  given, bad = draw_values(d, subject.arguments, subject.required, few)
  return Call(subject.name, given, bad)


BY_NAME = {subject.name: subject for subject in SUBJECTS}

"""Random calls of the public API, with good arguments and bad ones."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras as keras

import tf_unilth
from tests.testing import toys
from tests.testing.argument_models import (
  apply_ticket,
  save_ticket,
  sparse,
  toy,
  wrapped,
)
from tests.testing.argument_values import (
  JSON,
  NAN,
  TRUTH,
  Argument,
  Made,
  one_of,
  whole,
)
from tests.testing.draw import Draw
from tests.testing.random_arguments import (
  CALLBACKS,
  INFERENCE_TYPE,
  INPUTS,
  MODEL,
  PATH,
  RAMP,
  RATE,
  RESUME,
  SCHEDULE,
  SCHEDULES,
  SEED,
  SHRINKABLE,
  STRIPPED,
  WRAPPING,
  WRONG_MODELS,
)


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
    {**MODEL, 'pruning_schedule': SCHEDULES, **WRAPPING},
    ('to_prune', 'pruning_schedule'),
  ),
  Subject(
    'Ticket.from_model',
    tf_unilth.Ticket.from_model,
    {
      'model': Argument(
        (Made('sparse toy', sparse),),
        (*WRONG_MODELS, Made('dense toy', toy)),
      ),
      'callback': Argument(
        (None, Made('LTH()', tf_unilth.LTH), Made('DLTH()', tf_unilth.DLTH)),
        (7, 'LTH', tf_unilth.LTH, keras.callbacks.Callback, NAN),
      ),
      'rewind_weights': Argument(
        (None, None, Made('weights', lambda: toy().get_weights())),
        (7, [], 'w', [1, 2, 3, 4], np.ones(4), [None] * 4, {}),
      ),
      'method': Argument((None, 'mine'), (7, NAN, b'x', ['x'], object)),
      'seed': SEED.or_none(),
      'provenance': JSON.or_none(),
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
      'method': Argument((None, 'mine'), (7, NAN, b'x', ['x'], object)),
      'seed': SEED.or_none(),
      'provenance': JSON,
    },
    ('masks',),
    repr,
  ),
  Subject(
    'Ticket.save',
    save_ticket,
    {'path': PATH, 'overwrite': TRUTH},
    ('path',),
  ),
  Subject(
    'Ticket.load',
    tf_unilth.Ticket.load,
    {
      'path': Argument(
        ('a_ticket',),
        (*PATH.bad, 'nowhere', 'a_file', 'a_folder', '/dev/zero', '.'),
      )
    },
    ('path',),
  ),
  Subject(
    'Ticket.apply',
    apply_ticket,
    {
      'model': Argument(
        (Made('toy', toy), Made('wrapped', wrapped)),
        (*WRONG_MODELS, Made('another', toys.conv)),
      ),
      'weights': TRUTH,
      'skip': Argument(
        ((), (), 'head', ['hidden']),
        (7, None, ['nothing'], [7], b'hidden', NAN, {'x': 1}),
      ),
    },
    ('model',),
  ),
  Subject(
    'shrink',
    tf_unilth.shrink,
    {'model': SHRINKABLE, 'multiple_of': whole(1, 4, 8)},
    ('model',),
    lambda smaller: smaller(np.ones((2, 6, 6, 1), np.float32)),
  ),
  Subject(
    'shrink_report',
    tf_unilth.shrink_report,
    {'model': SHRINKABLE},
    ('model',),
    str,
  ),
  Subject(
    'export_saved_model',
    tf_unilth.export_saved_model,
    {
      'model': STRIPPED,
      'path': PATH,
      'inputs': INPUTS,
      'overwrite': TRUTH,
      'signatures': Argument(
        (None, {}),
        (7, 'serve', [], {'a': 7}, {7: len}, {'serve': None}, {'a': len}),
      ),
      'dtype': one_of('float32', 'float16'),
      'packed': TRUTH,
    },
    ('model', 'path'),
    str,
  ),
  Subject(
    'export_tflite',
    tf_unilth.export_tflite,
    {
      'model': STRIPPED,
      'path': PATH,
      'quantization': one_of('float16', 'dynamic', 'int8').or_none(),
      'representative_data': Argument(
        (
          *(None, None, Made('a batch', lambda: toys.data(3)[0])),
          Made('a dataset', lambda: tf.data.Dataset.from_tensors(toys.data(3))),
          Made('a generator', lambda: lambda: iter([[toys.data(3)[0]]])),
        ),
        (*INPUTS.bad, Made('nothing', lambda: lambda: iter([]))),
      ),
      'inputs': INPUTS,
      'overwrite': TRUTH,
      'sparse': TRUTH,
      'inference_input_type': INFERENCE_TYPE,
      'inference_output_type': INFERENCE_TYPE,
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

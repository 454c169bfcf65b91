"""TicketSpace: the hyperparameters of a ticket algorithm and their ranges."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import keras_tuner

from tf_unilth.algorithms.dlth import DLTH
from tf_unilth.algorithms.lth import LTH
from tf_unilth.algorithms.ticket_callback import TicketCallback
from tf_unilth.algorithms.unilth import UniDLTH, UniLTH
from tf_unilth.argument_checks import argument_error, check_float, check_option
from tf_unilth.schedules.iterative_sparsity import IterativeSparsity
from tf_unilth.schedules.l2_ramp import L2Ramp

HyperParameters: TypeAlias = keras_tuner.HyperParameters
# A function of `hp` that returns the schedule to wrap with and the callback to
# train with.
Space: TypeAlias = Callable[
  [HyperParameters], tuple[IterativeSparsity, TicketCallback]
]

_DEFAULT = 'default'
# Beside the default, which is None. A hyperparameter has values of one type,
# so these are strings.
_CHOICES: dict[str, tuple[str, ...]] = {
  'rewind_epochs': ('0', '1', '3'),
  'max_dense_fraction': ('0.1', '0.3', '0.4'),
  'limit': ('0', '0.01', '0.03', '0.1', '0.3', '1'),
}
_SCHEDULE = ('prune_fraction', 'pace')
# Arguments of the schedule that are not searched.
_SCHEDULE_FIXED = ('rounds', 'scope')
_RAMP = ('limit', 'power')
_DENSE_STAGE = ('patience', 'rewind_epochs', 'max_dense_fraction')
_UNIFIED = (*_DENSE_STAGE, 'finetune_fraction')
_ALGORITHMS: dict[str, tuple[Any, tuple[str, ...]]] = {
  'unilth': (UniLTH, (*_SCHEDULE, *_RAMP, *_UNIFIED)),
  'unidlth': (UniDLTH, (*_SCHEDULE, *_RAMP, *_UNIFIED)),
  'dlth': (DLTH, (*_RAMP, 'finetune_fraction')),
  'lth': (LTH, (*_SCHEDULE, 'rewind_step')),
}
# As `pace=None` of `IterativeSparsity`.
_DEFAULT_PACE = {'unilth': 'cubic', 'unidlth': 'cubic', 'lth': 'geometric'}
METHODS = tuple(_ALGORITHMS)


class TicketSpace:
  """The search space of a ticket algorithm.

  UniLTH and UniDLTH have `patience`, `rewind_epochs`, `max_dense_fraction`,
  `finetune_fraction`, the ramp's `limit` and `power`, and the schedule's
  `prune_fraction` and `pace`. DLTH has `finetune_fraction`, `limit` and
  `power`; LTH has `rewind_step`, `prune_fraction` and `pace`. Each
  hyperparameter has the library's default, so the first trial of a search,
  which takes all defaults, is the same as a run without a search. With
  `fixed={'pretrained': True}` the dense stage has no hyperparameters. The
  learning rate belongs to the model: search it where the model is compiled.

  Args:
    target_sparsity: fraction of zeros in (0, 1), or a range (lowest, highest)
      to search, for `SparsestWithin` and `Front`.
    method: `'unilth'`, `'unidlth'`, `'dlth'` or `'lth'`.
    fixed: values by name of arguments that are not searched. They are
      arguments of the algorithm's callback, of its `L2Ramp` (`limit`, `power`)
      or of its `IterativeSparsity`.
    seed: seed of a random ticket (UniDLTH, DLTH).

  Raises:
    ValueError: an argument is out of range.

  >>> space = TicketSpace(0.9, fixed={'patience': 3, 'scope': 'layer'})
  >>> hp = keras_tuner.HyperParameters()
  >>> schedule, callback = space(hp)
  >>> schedule.target_sparsity, type(callback).__name__, sorted(hp.values)[:3]
  (0.9, 'UniLTH', ['finetune_fraction', 'limit', 'max_dense_fraction'])

  The hyperparameters and their ranges are our choice.
  """

  def __init__(
    self,
    target_sparsity: float | tuple[float, float] = 0.9,
    method: str = 'unilth',
    fixed: Mapping[str, Any] | None = None,
    seed: int = 0,
  ):
    self._method = check_option('method', method, METHODS)
    self._target = _check_target(target_sparsity)
    self._fixed, self._seed = dict(fixed or {}), seed
    allowed = self._argument_names()
    for name in self._fixed:
      if name not in allowed:
        raise ValueError(
          f'fixed must have keys of {sorted(allowed)} for method={method!r}, '
          f'but has {name!r}.'
        )

  def __call__(
    self, hp: HyperParameters
  ) -> tuple[IterativeSparsity, TicketCallback]:
    """Returns the schedule and the callback for the values of `hp`."""
    algorithm, names = _ALGORITHMS[self._method]
    if self._fixed.get('pretrained'):
      names = tuple(name for name in names if name not in _DENSE_STAGE)
    given = {name: self._value(hp, name) for name in names} | self._fixed
    schedule = {
      name: given.pop(name)
      for name in (*_SCHEDULE, *_SCHEDULE_FIXED)
      if name in given
    }
    ramp = {
      name: given.pop(name) for name in _parameters(L2Ramp) if name in given
    }
    if ramp:
      given['ramp'] = L2Ramp(**ramp)
    if self._method in ('unidlth', 'dlth'):
      given['seed'] = self._seed
    target = self._target
    if isinstance(target, tuple):
      target = hp.Float(
        'target_sparsity', *target, sampling='reverse_log', default=target[0]
      )
    return (
      IterativeSparsity(target, **schedule),
      algorithm(**{'verbose': 0, **given}),
    )

  def _argument_names(self) -> set[str]:
    """Returns the names that `fixed` may have."""
    algorithm, searched = _ALGORITHMS[self._method]
    sources = [algorithm, *([L2Ramp] if 'limit' in searched else [])]
    names = {name for source in sources for name in _parameters(source)}
    return (names | {*_SCHEDULE, *_SCHEDULE_FIXED}) - {
      'ramp',
      'seed',
      'verbose',
    }

  def _value(self, hp: HyperParameters, name: str) -> Any:
    if name in self._fixed:
      return self._fixed[name]
    if name in _CHOICES:
      value = hp.Choice(name, [_DEFAULT, *_CHOICES[name]], default=_DEFAULT)
      if value == _DEFAULT:
        return None
      return int(value) if name == 'rewind_epochs' else float(value)
    return _DECLARATIONS[name](hp, _default(self._method, name))


def round_trip_proto(hp: HyperParameters) -> HyperParameters:
  """Returns hyperparameters as a worker receives them from the chief.

  The protocol has float32 numbers. Rounding them in every process gives a
  trial the same result with and without workers.
  """
  return keras_tuner.HyperParameters.from_proto(hp.to_proto())


def _parameters(source: Any) -> Mapping[str, inspect.Parameter]:
  return inspect.signature(source).parameters


def _default(method: str, name: str) -> Any:
  """Returns the library's default of an argument."""
  if name == 'pace':
    return _DEFAULT_PACE[method]
  sources = {'prune_fraction': IterativeSparsity, 'power': L2Ramp}
  source = sources.get(name, _ALGORITHMS[method][0])
  return _parameters(source)[name].default


# By name: declares a hyperparameter with a default, and returns its value.
_DECLARATIONS: dict[str, Callable[[HyperParameters, Any], Any]] = {
  'prune_fraction': lambda hp, default: hp.Float(
    'prune_fraction', 0.1, 0.5, step=0.1, default=default
  ),
  'pace': lambda hp, default: hp.Choice(
    'pace', ['cubic', 'geometric'], default=default
  ),
  'power': lambda hp, default: hp.Choice(
    'power', [0.5, 1.0, 2.0, 3.0], default=float(default)
  ),
  'patience': lambda hp, default: hp.Int('patience', 1, 6, default=default),
  'finetune_fraction': lambda hp, default: hp.Float(
    'finetune_fraction', 0.2, 0.9, step=0.1, default=default
  ),
  'rewind_step': lambda hp, default: hp.Choice(
    'rewind_step', [0, 20, 50, 100], default=default
  ),
}


def _check_target(target: Any) -> float | tuple[float, float]:
  if not isinstance(target, tuple | list):
    return check_float('target_sparsity', target, '(0, 1)')
  ends = tuple(check_float('target_sparsity', end, '(0, 1)') for end in target)
  if len(ends) == 1:
    return ends[0]
  if len(ends) != 2 or ends[0] >= ends[1]:
    raise argument_error(
      'target_sparsity', 'in (0, 1), or a range (lowest, highest) in it', target
    )
  return ends

"""TicketSpace: what of a ticket algorithm is searched, and between what."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import keras_tuner

from tf_unilth.algorithms.dlth import DLTH
from tf_unilth.algorithms.lth import LTH
from tf_unilth.algorithms.ticket_callback import TicketCallback
from tf_unilth.algorithms.unilth import UniDLTH, UniLTH
from tf_unilth.engines.tfmot.iterative_sparsity import IterativeSparsity
from tf_unilth.schedules.l2_ramp import L2Ramp

HyperParameters: TypeAlias = keras_tuner.HyperParameters
# A function like `keras_tuner`'s for models: it asks for values, and returns
# the schedule to wrap with and the callback to fit with.
Space: TypeAlias = Callable[
  [HyperParameters], tuple[IterativeSparsity, TicketCallback]
]

_DEFAULT = 'default'
# The library's own choice, or one of these; a hyperparameter has one type.
_CHOICES: dict[str, tuple[str, ...]] = {
  'rewind_epochs': ('0', '1', '3'),
  'max_dense_fraction': ('0.1', '0.3', '0.4'),
  'limit': ('0', '0.01', '0.03', '0.1', '0.3', '1'),
}
_SCHEDULE = ('prune_fraction', 'pace')
# Settings of a schedule that are not searched.
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
METHODS = tuple(_ALGORITHMS)


class TicketSpace:
  """The settings of a ticket algorithm, and between what each is searched.

  UniLTH and UniDLTH have `patience`, `rewind_epochs`, `max_dense_fraction`,
  `finetune_fraction`, the ramp's `limit` and `power`, and the schedule's
  `prune_fraction` and `pace`; DLTH and LTH those of them that they read, and
  LTH the `rewind_step`. A setting's default is the library's, so the first
  trial of a search, which takes all defaults, is what comes without a search.
  With `fixed={'pretrained': True}` there is no dense stage to search. A
  learning rate is the model's: ask for it where the model is compiled.

  Args:
    target_sparsity: fraction of zeros in (0, 1), or a range (lowest, highest)
      of it to search, for `SparsestWithin` and `Front`.
    method: `'unilth'`, `'unidlth'`, `'dlth'` or `'lth'`.
    fixed: settings that are not searched, by name, of the algorithm's
      callback, its `L2Ramp` (`limit`, `power`) or its `IterativeSparsity`.
    seed: of a random ticket (UniDLTH, DLTH).

  Raises:
    ValueError: an argument is out of its range.

  >>> space = TicketSpace(0.9, fixed={'patience': 3, 'scope': 'layer'})
  >>> hp = keras_tuner.HyperParameters()
  >>> schedule, callback = space(hp)
  >>> schedule.target_sparsity, type(callback).__name__, sorted(hp.values)[:3]
  (0.9, 'UniLTH', ['finetune_fraction', 'limit', 'max_dense_fraction'])

  What is searched between what is our choice.
  """

  def __init__(
    self,
    target_sparsity: float | tuple[float, float] = 0.9,
    method: str = 'unilth',
    fixed: Mapping[str, Any] | None = None,
    seed: int = 0,
  ):
    if method not in METHODS:
      raise ValueError(f'method must be one of {METHODS}, but is {method!r}.')
    self._target = _checked_target(target_sparsity)
    self._method, self._fixed, self._seed = method, dict(fixed or {}), seed
    for name in self._fixed:
      if name not in self._known():
        raise ValueError(
          f'fixed must be of {sorted(self._known())} for {method!r}, but has '
          f'{name!r}.'
        )

  def __call__(
    self, hp: HyperParameters
  ) -> tuple[IterativeSparsity, TicketCallback]:
    """Returns the schedule and the callback for some values."""
    make, names = _ALGORITHMS[self._method]
    if self._fixed.get('pretrained'):
      names = tuple(name for name in names if name not in _DENSE_STAGE)
    given = {name: self._ask(hp, name) for name in names} | self._fixed
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
      make(**{'verbose': 0, **given}),
    )

  def _known(self) -> set[str]:
    """Returns the names of all settings of the algorithm."""
    make, names = _ALGORITHMS[self._method]
    sources = [make, *([L2Ramp] if 'limit' in names else [])]
    known = {n for source in sources for n in _parameters(source)}
    return (known | {*_SCHEDULE, *_SCHEDULE_FIXED}) - {
      'ramp',
      'seed',
      'verbose',
    }

  def _ask(self, hp: HyperParameters, name: str) -> Any:
    if name in self._fixed:
      return self._fixed[name]
    if name in _CHOICES:
      chosen = hp.Choice(name, [_DEFAULT, *_CHOICES[name]], default=_DEFAULT)
      if chosen == _DEFAULT:
        return None
      return int(chosen) if name == 'rewind_epochs' else float(chosen)
    default = _default(_ALGORITHMS[self._method][0], name)
    return _ASK[name](hp, default)


def _parameters(source: Any) -> Mapping[str, inspect.Parameter]:
  return inspect.signature(source).parameters


def _default(make: Any, name: str) -> Any:
  """Returns what the library takes for a setting that is not given."""
  if name == 'pace':
    return make._pace
  source = {'prune_fraction': IterativeSparsity, 'power': L2Ramp}.get(
    name, make
  )
  return _parameters(source)[name].default


_ASK: dict[str, Callable[[HyperParameters, Any], Any]] = {
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


def _checked_target(target: Any) -> float | tuple[float, float]:
  ends = tuple(target) if isinstance(target, tuple | list) else (target,)
  numbers = all(isinstance(end, int | float) and 0 < end < 1 for end in ends)
  if not numbers or len(ends) > 2 or (len(ends) == 2 and ends[0] >= ends[1]):
    raise ValueError(
      'target_sparsity must be in (0, 1), or (lowest, highest) of it, but is '
      f'{target!r}.'
    )
  return ends if len(ends) == 2 else ends[0]

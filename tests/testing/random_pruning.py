"""Random ways to prune: arguments of the library, sensible or silly."""

import dataclasses
from typing import Any

import tf_keras as keras

import tf_unilth
from tests.testing.draw import Draw

_STAGED = 'staged'


@dataclasses.dataclass(frozen=True)
class RandomPruning:
  """What a case asks for.

  Args:
    schedule: arguments of `IterativeSparsity`.
    structure: arguments of the wrapper.
    algorithm: the name of a callback.
    callback: its arguments.
    optimizer: the name of an optimizer.
    rate: a learning rate, or 'staged'.
    compiled: arguments of `compile`.
    fit: arguments of `fit`, without data.
    data: 'arrays', 'dataset' or 'generator', which does not tell its length.
    validation: whether there are validation data.
    count: how many examples.
    policy: Keras's dtype policy.
    by_tfmot: whether tfmot's function wraps.
    skip: which of the layers with kernels to skip, as fractions of their list.
    targets: the same for those with targets of their own.
    holds: whether the ticket is wrapped again with `FixedMask` and trained.
    is_silly: whether an argument is out of its range.
  """

  schedule: dict[str, Any]
  structure: dict[str, Any]
  algorithm: str
  callback: dict[str, Any]
  optimizer: str
  rate: float | str
  compiled: dict[str, Any]
  fit: dict[str, Any]
  data: str
  validation: bool
  count: int
  policy: str
  by_tfmot: bool
  skip: tuple[float, ...]
  targets: dict[float, float]
  holds: bool
  is_silly: bool

  def __str__(self) -> str:
    defaults = {
      'data': 'arrays',
      'validation': True,
      'policy': 'float32',
      'by_tfmot': False,
    }
    fields = dataclasses.asdict(self)
    return ' '.join(
      f'{name}={value}'
      for name, value in fields.items()
      if (name not in defaults and value) or defaults.get(name, value) != value
    )

  def make_schedule(self) -> tf_unilth.IterativeSparsity:
    """Returns the schedule."""
    return tf_unilth.IterativeSparsity(**self.schedule)

  def make_callback(self) -> keras.callbacks.Callback:
    """Returns the ticket callback."""
    return getattr(tf_unilth, self.algorithm)(**self.callback)

  def make_optimizer(self) -> Any:
    """Returns the optimizer."""
    rate = self.rate
    if rate == _STAGED:
      rate = tf_unilth.StagedLearningRate(_RATES[self.optimizer])
    family, _, name = self.optimizer.rpartition('.')
    module = keras.optimizers.legacy if family else keras.optimizers
    if name == 'Momentum':
      return module.SGD(rate, momentum=0.9)
    return getattr(module, name)(rate)


_RATES = {
  'SGD': 0.01,
  'Momentum': 0.005,
  'Adam': 0.001,
  'AdamW': 0.001,
  'RMSprop': 0.001,
  'legacy.SGD': 0.01,
  'legacy.Momentum': 0.005,
  'legacy.Adam': 0.001,
}


def make(d: Draw) -> RandomPruning:
  """Returns random arguments."""
  target = d.one(
    [0.0, 0.2, 0.5, 0.5, 0.6, 0.7, 0.7, 0.8, 0.8, 0.85, 0.9, 0.95, 0.99]
  )
  structure: dict[str, Any] = {}
  if d.chance(0.12):
    m, n = d.one([(2, 4), (1, 2), (1, 4), (3, 4), (1, 3)])
    structure['sparsity_m_by_n'], target = (m, n), m / n
  elif d.chance(0.12):
    structure['block_size'] = d.one([(1, 2), (2, 1), (2, 2), (4, 1), (3, 3)])
    structure['block_pooling_type'] = d.one(['AVG', 'MAX'])
  schedule = _schedule(d, target)
  algorithm = d.one(['UniLTH', 'UniLTH', 'UniDLTH', 'LTH', 'LTH', 'DLTH'])
  optimizer = d.one(list(_RATES))
  callback = _callback(d, algorithm)
  staged = callback.get('rewind') == 'learning_rate' or d.chance(0.3)
  fit = {'epochs': d.whole(3, 7), 'batch_size': d.one([4, 8])}
  is_silly = d.chance(0.08)
  if is_silly:
    d.one([_silly_schedule, _silly_structure, _silly_fit])(
      d, schedule, structure, fit
    )
  return RandomPruning(
    schedule,
    structure,
    algorithm,
    callback,
    optimizer,
    _STAGED if staged else _RATES[optimizer],
    _compiled(d),
    fit,
    data=d.one(['arrays'] * 8 + ['dataset'] * 2 + ['generator']),
    validation=d.chance(0.9),
    count=d.one([16, 20, 32]),
    policy=d.one(['float32'] * 14 + ['mixed_bfloat16'] * 5 + ['mixed_float16']),
    by_tfmot=not structure and d.chance(0.15),
    skip=tuple(_place(d) for _ in range(d.whole(1, 2)))
    if d.chance(0.15)
    else (),
    targets={_place(d): d.one([0.3, 0.6])} if d.chance(0.15) else {},
    holds=d.chance(0.25),
    is_silly=is_silly,
  )


def by_channels(d: Draw, pruning: RandomPruning) -> RandomPruning:
  """Returns random arguments that prune whole channels.

  Args:
    d: what decides.
    pruning: what stays of other arguments; bad ones stay bad.
  """
  schedule = {**pruning.schedule, 'of': d.one(['weights', 'flops'])}
  structure = {'structure': 'channels'}
  if pruning.is_silly:
    structure = {**pruning.structure, **structure}
  else:
    # Networks of few channels cannot lose many.
    schedule['target_sparsity'] = d.one(
      [0.0, 0.1, 0.2, 0.3, 0.3, 0.5, 0.5, 0.7]
    )
  return dataclasses.replace(
    pruning,
    schedule=schedule,
    structure=structure,
    by_tfmot=False,
    targets=pruning.targets if d.chance(0.1) else {},
  )


def _place(d: Draw) -> float:
  return d.whole(0, 99) / 100


def _schedule(d: Draw, target: float) -> dict[str, Any]:
  schedule: dict[str, Any] = {'target_sparsity': target}
  if d.chance(0.3):
    schedule['rounds'] = d.one([1, 1, 1, 2, 2, 3])
  if d.chance(0.3):
    schedule['prune_fraction'] = d.one([0.1, 0.3, 0.5, 0.9])
  if d.chance(0.3):
    schedule['pace'] = d.one(['geometric', 'cubic'])
  if d.chance(0.5):
    schedule['scope'] = d.one(['layer', 'layer', 'erk'])
  return schedule


def _callback(d: Draw, algorithm: str) -> dict[str, Any]:
  if algorithm == 'LTH':
    return d.one(
      [
        {},
        {'rewind_step': d.whole(1, 5)},
        {'rewind': 'learning_rate'},
      ]
    )
  callback: dict[str, Any] = {}
  if d.chance(0.25):
    callback['finetune_fraction'] = d.one([0.0, 0.5, 0.9, 1.0])
  if d.chance(0.2):
    limit = d.one([0.0, 0.1])
    callback['ramp'] = tf_unilth.L2Ramp(limit=limit)
  if algorithm != 'DLTH':
    callback['patience'] = d.one([1, 1, 2, None])
    if d.chance(0.25):
      callback['monitor'] = 'loss'
    if d.chance(0.2):
      callback['rewind_epochs'] = d.whole(0, 2)
  return callback


def _compiled(d: Draw) -> dict[str, Any]:
  compiled: dict[str, Any] = {}
  if d.chance(0.03):
    compiled['run_eagerly'] = True
  elif d.chance(0.02):
    compiled['jit_compile'] = True
  if d.chance(0.15) and 'run_eagerly' not in compiled:
    compiled['steps_per_execution'] = d.one([2, 3])
  return compiled


def _silly_schedule(d: Draw, schedule: Any, structure: Any, fit: Any) -> None:
  del structure, fit
  name, value = d.one(
    [
      ('target_sparsity', 1.0),
      ('target_sparsity', -0.1),
      ('target_sparsity', float('nan')),
      ('target_sparsity', 0.9999),
      ('rounds', 0),
      ('rounds', 500),
      ('prune_fraction', 1.0),
      ('scope', 'everything'),
      ('pace', 'slow'),
    ]
  )
  schedule[name] = value


def _silly_structure(d: Draw, schedule: Any, structure: Any, fit: Any) -> None:
  del schedule, fit
  structure.update(
    d.one(
      [
        {'block_size': (0, 1)},
        {'block_size': (50, 50)},
        {'sparsity_m_by_n': (4, 4)},
        {'sparsity_m_by_n': (2, 4)},
        {'block_size': (2, 2), 'sparsity_m_by_n': (2, 4)},
        {'block_size': (2, 2), 'block_pooling_type': 'MIN'},
      ]
    )
  )


def _silly_fit(d: Draw, schedule: Any, structure: Any, fit: Any) -> None:
  del schedule, structure
  fit['epochs'] = d.whole(1, 2)

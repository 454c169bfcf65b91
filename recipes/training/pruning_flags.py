"""The flags that say how to prune, and the plan that they make.

They are the arguments of prune_low_magnitude, IterativeSparsity, L2Ramp and the
callbacks, under their names; where one is not given, the library's default
stands.
"""

import inspect
from collections.abc import Mapping
from typing import Any

import tf_keras as keras
from absl import flags

import tf_unilth
from recipes.training import methods

FLAGS = flags.FLAGS

flags.DEFINE_enum(
  'method',
  'unilth',
  methods.METHODS,
  'How to prune. lth, dlth, unilth and unidlth are the algorithms; dense does '
  "not prune; gmp is tfmot's gradual magnitude pruning, oneshot one cut at "
  'half time, random a random ticket trained from scratch, lr_rewind '
  'learning-rate rewinding (Renda et al. 2020).',
)
flags.DEFINE_float(
  'target_sparsity',
  0.9,
  'Fraction of zeros among the wrapped weights.',
  0.0,
  0.999999,
)
flags.DEFINE_list('skip', None, 'Names of layers left dense, as in conv2d,fc.')
flags.DEFINE_list('block_size', None, 'Prune blocks of height,width.')
flags.DEFINE_list(
  'sparsity_m_by_n', None, 'Prune m of each n weights: m,n, as in 2,4.'
)
flags.DEFINE_float(
  'prune_fraction', None, 'Largest share of the survivors a round removes.'
)
flags.DEFINE_integer(
  'rounds', None, 'How many rounds, in place of what prune_fraction gives.'
)
flags.DEFINE_enum(
  'pace', None, ['geometric', 'cubic'], 'How sparsity rises over the rounds.'
)
flags.DEFINE_enum(
  'scope',
  None,
  ['global', 'layer', 'erk'],
  'Over what weights are ranked: all (unilth, lth), or each layer by itself '
  'with the same sparsity (dlth, random) or the Erdos-Renyi-kernel one '
  '(unidlth).',
)
flags.DEFINE_float(
  'limit', None, 'Highest lambda of the L2 ramp; 0 for no ramp.'
)
flags.DEFINE_float('power', None, 'Of the L2 ramp: (t / T)^power.')
flags.DEFINE_float(
  'increment', None, 'Of the L2 ramp, with interval: lambda rises by it.'
)
flags.DEFINE_integer(
  'interval', None, 'Of the L2 ramp: steps between two increments.'
)
flags.DEFINE_bool(
  'pretrained',
  None,
  'Take the network as trained: no dense stage, no rewind, rounds from the '
  'first step on. So it is with --initial_weights, unless --nopretrained is '
  'given.',
)
flags.DEFINE_string(
  'initial_weights',
  None,
  'Begin from the weights of a .weights.h5, .h5 or .keras file, a SavedModel '
  'or the run directory of a recipe (its saved_model), of the same network.',
)
flags.DEFINE_string('monitor', None, 'What is looked at for the plateau.')
flags.DEFINE_enum(
  'mode',
  None,
  ['auto', 'min', 'max'],
  'Whether the monitored value is to fall.',
)
flags.DEFINE_integer(
  'patience',
  None,
  'Epochs without progress that make a plateau; 0 for no plateau, which is '
  'patience=None in the library.',
)
flags.DEFINE_float('min_delta', None, 'The least change that is progress.')
flags.DEFINE_integer(
  'rewind_epochs', None, 'How far to rewind from the plateau; 0 for not at all.'
)
flags.DEFINE_float(
  'max_dense_fraction', None, 'Largest share of the epochs before pruning.'
)
flags.DEFINE_float(
  'finetune_fraction', None, 'Share of the steps after the last round.'
)
flags.DEFINE_integer('rewind_step', None, 'The step that LTH rewinds to.')
flags.DEFINE_bool(
  'lr_restart',
  None,
  'Restart the learning rate: by default unilth and unidlth do it when they '
  'begin to prune, dlth when it has pruned, gmp and oneshot not at all.',
)
flags.DEFINE_float(
  'begin_fraction',
  None,
  'Share of all steps after which gmp begins to prune (0.2) or oneshot cuts '
  '(0.5).',
  0.0,
  0.99,
)
flags.DEFINE_float(
  'end_fraction',
  None,
  'Share of all steps after which gmp is at its target (0.7).',
  0.01,
  1.0,
)

_STRUCTURE = ('block_size', 'sparsity_m_by_n')
_SCHEDULE = ('prune_fraction', 'rounds', 'pace', 'scope')
_RAMP = ('limit', 'power', 'increment', 'interval')
_DENSE_STAGE = (
  'monitor',
  'mode',
  'patience',
  'min_delta',
  'rewind_epochs',
  'max_dense_fraction',
)
_UNIFIED = (
  *_DENSE_STAGE,
  'finetune_fraction',
  'lr_restart',
  'pretrained',
)
# What `wrapping` reads.
WRAPPING = ('skip', *_STRUCTURE)
_TICKET = (*WRAPPING, *_SCHEDULE)
# Which of them a method reads.
_READ: dict[str, tuple[str, ...]] = {
  'dense': (),
  'gmp': ('lr_restart', 'begin_fraction', 'end_fraction', 'skip'),
  'oneshot': ('lr_restart', 'begin_fraction', 'skip'),
  'random': _TICKET,
  'lr_rewind': _TICKET,
  'lth': (*_TICKET, 'rewind_step'),
  'dlth': (*_TICKET, *_RAMP, 'finetune_fraction', 'lr_restart'),
  'unilth': (*_TICKET, *_RAMP, *_UNIFIED),
  'unidlth': (*_TICKET, *_RAMP, *_UNIFIED),
}
# What the library's defaults stand in: that of all methods, and the callbacks.
_COMMON = (tf_unilth.IterativeSparsity, tf_unilth.L2Ramp)
_CALLBACKS = {
  'lth': tf_unilth.LTH,
  'dlth': tf_unilth.DLTH,
  'unilth': tf_unilth.UniLTH,
  'unidlth': tf_unilth.UniDLTH,
}
_OPTIONAL = tuple(dict.fromkeys(n for names in _READ.values() for n in names))
NAMES = ('method', 'target_sparsity', *_OPTIONAL)


def readers(name: str) -> list[str]:
  """Returns the methods that read a flag; all, for `method` itself."""
  if name not in _OPTIONAL:
    return list(_READ)
  return [method for method, names in _READ.items() if name in names]


def library_default(name: str) -> str:
  """Returns what stands where a flag is not given, as text; empty: nothing.

  Where methods differ it says each one's.
  """
  found = {
    of: inspect.signature(made).parameters[name].default
    for of, made in (*((None, c) for c in _COMMON), *_CALLBACKS.items())
    if name in inspect.signature(made).parameters
  }
  known = {of: value for of, value in found.items() if value is not None}
  if len(set(known.values())) == 1:
    return str(next(iter(known.values())))
  return ', '.join(f'{value} for {of}' for of, value in known.items())


def config() -> dict[str, Any]:
  """Returns what the flags say, of those that the method reads."""
  names = 'method', 'target_sparsity', *_READ[FLAGS.method]
  return _given(names)


def as_arguments(given: Mapping[str, Any]) -> dict[str, Any]:
  """Returns what flags say as the library's arguments of their names.

  They differ in one: a number on a command line cannot be `None`.

  >>> as_arguments({'patience': 0, 'rewind_epochs': 0})
  {'patience': None, 'rewind_epochs': 0}
  """
  return {
    name: None if name == 'patience' and value == 0 else value
    for name, value in given.items()
  }


def check() -> None:
  """Raises a `ValueError` for what no run could be made of.

  A flag that the method would silently ignore is one.
  """
  for name in _given(_OPTIONAL):
    explicit = not FLAGS[name].using_default_value
    if explicit and FLAGS.method not in readers(name):
      raise ValueError(
        f'--{name} is not read by --method={FLAGS.method}, only by '
        f'{", ".join(readers(name))}.'
      )
  _check_pretrained()
  if FLAGS.patience is not None and FLAGS.patience < 0:
    # The library's own error says None where a flag has 0.
    raise ValueError(
      f'patience must be a whole number >= 0, but is {FLAGS.patience}.'
    )
  wrapping()
  # Without a rate, since variables must not be made before the strategy.
  plan(steps=1000, seed=0, rate=None)


def _check_pretrained() -> None:
  if FLAGS.pretrained and not FLAGS.initial_weights:
    raise ValueError(
      '--pretrained needs --initial_weights=FILE: without it the network is '
      'not trained yet.'
    )
  if 'pretrained' in _READ[FLAGS.method] and _given(('pretrained',)).get(
    'pretrained'
  ):
    for name in _given(_DENSE_STAGE):
      raise ValueError(
        f'--{name} is about the dense stage, which a run from '
        '--initial_weights does not have: give --nopretrained for one.'
      )


def wrapping() -> dict[str, Any]:
  """Returns what `prune_low_magnitude` is told of the layers to wrap."""
  given = _given(('skip',))
  for name, numbers in _given(_STRUCTURE).items():
    if len(numbers) != 2 or not all(number.isdigit() for number in numbers):
      raise ValueError(
        f'--{name} must be two whole numbers, as in 2,4, but is '
        f'{",".join(numbers)}.'
      )
    given[name] = tuple(map(int, numbers))
  structure = {name: given[name] for name in _STRUCTURE if name in given}
  # A layer with a name of its own: Keras numbers those of the model from 1.
  tf_unilth.prune_low_magnitude(
    keras.layers.Dense(1, name='checked'),
    tf_unilth.IterativeSparsity(0.5),
    **structure,
  )
  return given


def plan(
  steps: int,
  seed: int,
  rate: keras.optimizers.schedules.LearningRateSchedule | None,
  verbose: bool = False,
) -> methods.Plan:
  """Returns the method's plan.

  Args:
    steps: training steps of the whole run.
    seed: of random tickets.
    rate: the run's learning-rate schedule; `None` to try a plan out.
    verbose: whether the ticket callback says what it does.
  """
  given = as_arguments(_given(_READ[FLAGS.method]))
  ramp = {name: given.pop(name) for name in _RAMP if name in given}
  schedule = {name: given.pop(name) for name in _SCHEDULE if name in given}
  lr_restart = given.pop('lr_restart', False)
  begin_fraction = given.pop('begin_fraction', None)
  end_fraction = given.pop('end_fraction', 0.7)
  for name in WRAPPING:
    given.pop(name, None)
  given['verbose'] = int(verbose)
  if ramp:
    given['ramp'] = tf_unilth.L2Ramp(**ramp)
  return methods.plan(
    FLAGS.method,
    methods.Settings(
      target_sparsity=FLAGS.target_sparsity,
      steps=steps,
      seed=seed,
      rate=rate,
      lr_restart=lr_restart,
      begin_fraction=begin_fraction,
      end_fraction=end_fraction,
      schedule=schedule,
      callback=given,
    ),
  )


def _given(names: tuple[str, ...]) -> dict[str, Any]:
  given = {n: FLAGS[n].value for n in names if FLAGS[n].value is not None}
  if 'pretrained' in names and FLAGS.initial_weights:
    given.setdefault('pretrained', True)
  return given

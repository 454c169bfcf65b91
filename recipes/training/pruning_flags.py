"""Defines the flags that say how to prune, and which method reads which.

They are the arguments of prune_low_magnitude, IterativeSparsity, L2Ramp and the
callbacks, under their names; where one is not given, the library's default
applies. `command_line` alone reads their values.
"""

import inspect

from absl import flags

import tf_unilth
from recipes.training import hypersparse, methods

# How these flags are headed in `--help`.
GROUP = 'Pruning'

# Flags of two whole numbers.
PAIRS = ('block_size', 'sparsity_m_by_n')
SCHEDULE = ('prune_fraction', 'rounds', 'pace', 'scope', 'of')
RAMP = ('limit', 'power', 'increment', 'interval')
DENSE_STAGE = (
  'monitor',
  'mode',
  'patience',
  'min_delta',
  'rewind_epochs',
  'max_dense_fraction',
)
_UNIFIED = (
  *DENSE_STAGE,
  'finetune_fraction',
  'lr_restart',
  'pretrained',
)
# The flags that choose the layers to wrap, and the structure of the masks.
WRAPPING = ('skip', *PAIRS, 'structure')
_TICKET = (*WRAPPING, *SCHEDULE)
# The flags that each method reads, beside `target_sparsity`.
READ: dict[str, tuple[str, ...]] = {
  'dense': (),
  'gmp': ('lr_restart', 'begin_fraction', 'end_fraction', 'skip'),
  'oneshot': ('lr_restart', 'begin_fraction', 'skip'),
  'random': _TICKET,
  'lr_rewind': _TICKET,
  'gmp_global': (
    *('lr_restart', 'begin_fraction', 'end_fraction'),
    *(*WRAPPING, 'rounds', 'scope', 'of'),
  ),
  'oneshot_global': (
    *('lr_restart', 'begin_fraction'),
    *(*WRAPPING, 'scope', 'of'),
  ),
  'cyclic': (*WRAPPING, 'rounds', 'scope', 'of'),
  'rigl': ('skip',),
  'hypersparse': ('begin_fraction', 'end_fraction', 'limit', 'skip'),
  'lth': (*_TICKET, 'rewind_step'),
  'dlth': (*_TICKET, *RAMP, 'finetune_fraction', 'lr_restart'),
  'unilth': (*_TICKET, *RAMP, *_UNIFIED),
  'unidlth': (*_TICKET, *RAMP, *_UNIFIED),
  'small_dense': ('skip', 'structure', 'of'),
}
# Flags that not all methods read.
OPTIONAL = tuple(dict.fromkeys(n for names in READ.values() for n in names))
NAMES = ('method', 'target_sparsity', *OPTIONAL)

# Where the library's defaults are: in classes of all methods and the callbacks.
_COMMON = (tf_unilth.IterativeSparsity, tf_unilth.L2Ramp)
_CALLBACKS = {
  'lth': tf_unilth.LTH,
  'dlth': tf_unilth.DLTH,
  'unilth': tf_unilth.UniLTH,
  'unidlth': tf_unilth.UniDLTH,
}


def readers(name: str) -> list[str]:
  """Returns the methods that read a flag; all, for `method` itself."""
  if name not in OPTIONAL:
    return list(READ)
  return [method for method, names in READ.items() if name in names]


def _library_default(name: str) -> str:
  """Returns the library's default of an argument; empty, if it is `None`.

  Where methods differ, it gives the default of each.
  """
  found = {
    of: inspect.signature(made).parameters[name].default
    for of, made in (*((None, c) for c in _COMMON), *_CALLBACKS.items())
    if name in inspect.signature(made).parameters
  }
  known = {
    of: value
    for of, value in found.items()
    if value is not None and value is not False
  }
  if len(set(known.values())) == 1:
    return str(next(iter(known.values())))
  return ', '.join(f'{value} for {of}' for of, value in known.items())


def _help(name: str, text: str) -> str:
  """Returns the help of a flag, with the methods that read it."""
  read_by = readers(name)
  others = [method for method in READ if method not in read_by]
  if len(others) > len(read_by):
    text += f' Only for {", ".join(read_by)}.'
  elif others:
    text += f' Not for {", ".join(others)}.'
  default = _library_default(name)
  return f'{text} Default: {default}.' if default else text


flags.DEFINE_enum(
  'method',
  'unilth',
  methods.METHODS,
  'How to prune. lth, dlth, unilth and unidlth: the algorithms of this '
  "library. dense: no pruning. gmp: tfmot's gradual magnitude pruning. "
  'oneshot: magnitude pruning in one step. random: a random ticket trained '
  'from scratch. lr_rewind: learning-rate rewinding (Renda et al. 2020). '
  'gmp_global and oneshot_global: gradual magnitude pruning, and one cut, that '
  'rank all layers together. '
  'cyclic: the learning rate of lr_rewind, with one cut before its last cycle. '
  'rigl: a random ticket, part of whose weights is dropped and grown elsewhere '
  'as it trains (Evci et al. 2020). '
  'hypersparse: a penalty on small weights before one cut (Glandorf et al. '
  '2023). '
  'small_dense: a dense network of as many FLOPs as --structure=channels would '
  'leave, all layers narrower by the same factor, trained from scratch.',
  module_name=GROUP,
)
flags.DEFINE_float(
  'target_sparsity',
  0.9,
  'Fraction of zeros among the wrapped weights at the end of the run; with '
  '--structure=channels, least fraction of what --of names that is removed.',
  0.0,
  0.999999,
  module_name=GROUP,
)
for _name, _text in {
  'skip': 'Names of layers to leave dense, as in conv2d,fc.',
  'block_size': 'Prune blocks of HEIGHT,WIDTH weights, as in 4,1.',
  'sparsity_m_by_n': 'Prune M of every N weights in a row, as in 2,4.',
}.items():
  flags.DEFINE_list(_name, None, _help(_name, _text), module_name=GROUP)
for _name, _text in {
  'prune_fraction': 'Largest fraction of the remaining weights that one round '
  'prunes.',
  'limit': 'Largest lambda of the L2 ramp; 0 disables the ramp. By default it '
  'depends on the sparsity. For hypersparse, of its own penalty, by default '
  f'{hypersparse.LAST_LAMBDA:g}.',
  'power': 'Exponent p of the L2 ramp, lambda = limit * (t / T)^p.',
  'increment': 'Amount by which lambda rises every --interval steps, in place '
  'of a power.',
  'min_delta': 'Smallest change of the monitored value that counts as '
  'improvement.',
  'max_dense_fraction': 'Largest fraction of the epochs to train dense.',
  'finetune_fraction': 'Fraction of the training steps that follow the last '
  'round.',
}.items():
  flags.DEFINE_float(_name, None, _help(_name, _text), module_name=GROUP)
for _name, _least, _text in (
  (
    'rounds',
    1,
    'Number of pruning rounds; for cyclic, of cycles before the cut. By '
    'default as many as --prune_fraction needs; 4 for cyclic, 60 for '
    'gmp_global.',
  ),
  ('interval', 1, 'Number of steps between two increments of lambda.'),
  (
    'patience',
    0,
    'Number of epochs without improvement that count as a plateau; 0 disables '
    'plateau detection (patience=None in the library).',
  ),
  (
    'rewind_epochs',
    0,
    'Number of epochs before the plateau to rewind to; 0 disables rewinding. '
    'By default the best epoch.',
  ),
  ('rewind_step', 0, 'Training step whose weights LTH rewinds to.'),
):
  flags.DEFINE_integer(
    _name, None, _help(_name, _text), _least, module_name=GROUP
  )
for _name, _values, _text in (
  (
    'pace',
    ('geometric', 'cubic'),
    'How the sparsity rises over the rounds.',
  ),
  (
    'scope',
    ('global', 'layer', 'erk'),
    'Weights that are ranked together. global: all layers (default of unilth, '
    'lth, lr_rewind). layer: each layer by itself, with equal sparsities '
    '(default of dlth, random). erk: each layer by itself, with sparsities of '
    'the Erdos-Renyi-kernel rule (default of unidlth).',
  ),
  (
    'structure',
    ('channels',),
    'Prune whole coupled channels. The run ends with the smaller network '
    'without them: it is evaluated, exported and written to model.keras. Needs '
    '--keras=tf_keras.',
  ),
  (
    'of',
    ('weights', 'flops'),
    'What --target_sparsity is a fraction of. flops needs '
    '--structure=channels.',
  ),
  (
    'mode',
    ('auto', 'min', 'max'),
    'Whether the monitored value is to fall or to rise, as in EarlyStopping.',
  ),
):
  flags.DEFINE_enum(
    _name, None, _values, _help(_name, _text), module_name=GROUP
  )
flags.DEFINE_string(
  'monitor',
  None,
  _help('monitor', 'Metric that is monitored for the plateau.'),
  module_name=GROUP,
)
for _name, _text in {
  'lr_restart': 'Restart the learning-rate schedule when pruning begins (dlth: '
  'when it ends). By default unilth, unidlth and dlth restart it, gmp, '
  'gmp_global, oneshot and oneshot_global do not.',
  'pretrained': 'Treat the network as trained: no dense stage, no rewind, '
  'pruning from the first step. By default on with --initial_weights.',
}.items():
  flags.DEFINE_bool(_name, None, _help(_name, _text), module_name=GROUP)
flags.DEFINE_float(
  'begin_fraction',
  None,
  _help(
    'begin_fraction',
    'Fraction of the steps after which pruning begins. By default 0.2, '
    'and 0.5 for oneshot and oneshot_global.',
  ),
  0.0,
  0.99,
  module_name=GROUP,
)
flags.DEFINE_float(
  'end_fraction',
  None,
  _help(
    'end_fraction',
    'Fraction of the steps after which the target is reached. By default 0.7.',
  ),
  0.01,
  1.0,
  module_name=GROUP,
)


def _are_two_integers(value: list[str] | None) -> bool:
  return value is None or (
    len(value) == 2 and all(number.isdecimal() for number in value)
  )


for _name in PAIRS:
  flags.register_validator(
    _name, _are_two_integers, 'must be two whole numbers, as in 2,4'
  )

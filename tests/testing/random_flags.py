"""Random flags of a recipe, as a command line gives them, good and bad."""

from tests.testing.argument_values import Argument
from tests.testing.draw import Draw
from tests.testing.random_calls import Call, draw_values

_ODD = ('magic', '', '1,2', 'None', '[]', '{}', '0x1g', '--', 'é')
_NO_NUMBERS = (*_ODD, 'nan', 'inf', '-inf')
_HUGE = str(10**30)


def _number(good: tuple[str, ...], bad: tuple[str, ...] = ()) -> Argument:
  return Argument(good, (*bad, *_NO_NUMBERS, '-1'))


def _whole(good: tuple[str, ...], bad: tuple[str, ...] = ()) -> Argument:
  return Argument(good, (*bad, *_NO_NUMBERS, '-1', '1.5', _HUGE, '1' * 5000))


def _one_of(*names: str) -> Argument:
  return Argument(names, (*_ODD, names[0].upper(), ','.join(names)))


def _switch() -> Argument:
  return Argument(('true', 'false', '1', '0'), (*_ODD, '2', '-1', 'nan'))


_FREE = Argument(('somewhere',), ())
_METHODS = (
  *('lth', 'dlth', 'unilth', 'unidlth', 'dense', 'gmp', 'oneshot'),
  *('random', 'lr_rewind', 'gmp_global', 'oneshot_global', 'cyclic'),
  *('rigl', 'hypersparse', 'small_dense'),
)
ARGUMENTS = {
  'method': _one_of(*_METHODS),
  'target_sparsity': _number(('0.9', '0', '.5', '0.999999'), ('1', '95')),
  'train_examples': _whole(('300', '100'), ('0',)),
  'validation_fraction': _number(('0.2', '0.5'), ('0', '1', '0.95')),
  'data_dir': _FREE,
  'download': _switch(),
  'skip': Argument(('dense', 'dense_1', ''), ()),
  'block_size': Argument(
    ('1,1', '2,1'),
    ('0,1', '2', '1,2,3', 'a,b', '-1,2', '1.5,2', ',', 'nan,1', _HUGE),
  ),
  'sparsity_m_by_n': Argument(
    ('2,4',), ('4,4', '0,4', '5,4', '2', 'a,b', '-2,4', 'nan,4')
  ),
  'structure': Argument(('channels',), (*_ODD, 'CHANNELS')),
  'of': _one_of('weights', 'flops'),
  'prune_fraction': _number(('0.2', '0.5', '1e-9'), ('0', '1', '20')),
  'rounds': _whole(('1', '2', '3'), ('0',)),
  'pace': _one_of('geometric', 'cubic'),
  'scope': _one_of('global', 'layer', 'erk'),
  'limit': _number(('0.1', '0', '1e-9')),
  'power': _number(('1', '2.5', '0')),
  'increment': _number(('0.01',), ('0',)),
  'interval': _whole(('1', '5'), ('0',)),
  'monitor': Argument(('val_loss', 'loss', 'val_accuracy'), ('',)),
  'mode': _one_of('auto', 'min', 'max'),
  'patience': _whole(('0', '1', '2')),
  'min_delta': _number(('0', '0.1')),
  'rewind_epochs': _whole(('0', '1', '2')),
  'max_dense_fraction': _number(('0.3', '0.6'), ('0', '1', '3')),
  'finetune_fraction': _number(('0', '0.4', '1'), ('1.1',)),
  'pretrained': _switch(),
  'initial_weights': Argument(('',), ('a_file', 'a_folder', 'a_ticket', 'no')),
  'rewind_step': _whole(('0', '3')),
  'lr_restart': _switch(),
  'begin_fraction': _number(('0', '0.3'), ('1', '2')),
  'end_fraction': _number(('0.5', '1'), ('0', '1.5')),
  'epochs': _whole(('3', '4', '5'), ('0',)),
  'batch_size': _whole(('64', '256'), ('0',)),
  'learning_rate': _number(('0.1', '0.01'), ('0',)),
  'warmup_epochs': _number(('0', '1', '0.5'), ('5', '100')),
  'weight_decay': _number(('0', '1e-4')),
  'label_smoothing': _number(('0', '0.1'), ('1',)),
  'clipnorm': _number(('1', '0.1'), ('0',)),
  'seed': _whole(('0', '3', str(2**32 - 1)), (str(2**32),)),
  'strategy': Argument(('none', 'mirrored'), (*_ODD, 'tpu', 'multi_worker')),
  'mixed_precision': _one_of('none', 'bfloat16'),
  'jit_compile': _switch(),
  'steps_per_execution': _whole(('1', '2'), ('0',)),
  'output_dir': Argument(('run', 'a/b'), ('a_file', 'a_file/run')),
  'export': Argument(
    ('saved_model', 'ticket', '', 'ticket,saved_model'),
    ('onnx', 'ticket,onnx', 'SAVED_MODEL', ',', '{}'),
  ),
  'plots': _switch(),
  'tensorboard': _switch(),
  'verbose': _whole(('0', '1', '2'), ('3',)),
}
# Which methods read what, apart from those that all read, as `--help` says it.
_OF_TICKETS = (
  *('skip', 'block_size', 'sparsity_m_by_n', 'structure', 'of'),
  *('prune_fraction', 'rounds', 'pace', 'scope'),
)
_OF_RAMPS = (
  *('limit', 'power', 'increment', 'interval', 'finetune_fraction'),
  'lr_restart',
)
_OF_PLATEAUS = (
  *('monitor', 'mode', 'patience', 'min_delta', 'rewind_epochs'),
  *('max_dense_fraction', 'pretrained'),
)
_READ = {
  'dense': (),
  'gmp': ('lr_restart', 'begin_fraction', 'end_fraction', 'skip'),
  'oneshot': ('lr_restart', 'begin_fraction', 'skip'),
  'random': _OF_TICKETS,
  'lr_rewind': _OF_TICKETS,
  'gmp_global': (
    *('lr_restart', 'begin_fraction', 'end_fraction', 'skip', 'block_size'),
    *('sparsity_m_by_n', 'structure', 'of', 'rounds', 'scope'),
  ),
  'oneshot_global': (
    *('lr_restart', 'begin_fraction', 'skip', 'block_size'),
    *('sparsity_m_by_n', 'structure', 'of', 'scope'),
  ),
  'small_dense': ('skip', 'structure', 'of'),
  'cyclic': (
    *('skip', 'block_size', 'sparsity_m_by_n', 'structure', 'of'),
    *('rounds', 'scope'),
  ),
  'rigl': ('skip',),
  'hypersparse': ('begin_fraction', 'end_fraction', 'limit', 'skip'),
  'lth': (*_OF_TICKETS, 'rewind_step'),
  'dlth': (*_OF_TICKETS, *_OF_RAMPS),
  'unilth': (*_OF_TICKETS, *_OF_RAMPS, *_OF_PLATEAUS),
  'unidlth': (*_OF_TICKETS, *_OF_RAMPS, *_OF_PLATEAUS),
}
_SELDOM = {name for names in _READ.values() for name in names}


def draw_call(d: Draw) -> Call:
  """Returns random flags, most of them such as their method reads."""
  method = d.one(_METHODS)
  read = {*_READ[method]} if d.chance(0.8) else _SELDOM
  arguments = {
    name: argument
    for name, argument in ARGUMENTS.items()
    if name != 'method' and (name in read or name not in _SELDOM)
  }
  few = d.one([0, 0, 1, 1, 2])
  # Few at once, or hardly any would go together.
  names = [name for name in arguments if d.chance(0.25)] or list(arguments)
  arguments = {name: arguments[name] for name in names}
  given, bad = draw_values(d, arguments, tuple(names), few)
  if d.chance(0.1):
    given['method'], bad = d.one(ARGUMENTS['method'].bad), (*bad, 'method')
  else:
    given['method'] = method
  return Call('recipe flags', given, bad)


def command_line(call: Call) -> list[str]:
  """Returns the flags of a call as a shell hands them over."""
  return [f'--{name}={value}' for name, value in call.arguments.items()]

"""What all recipes share: flags, and one run from data to report."""

import dataclasses
import pathlib
import sys
import time
from collections.abc import Callable
from typing import Any

import tf_keras as keras
from absl import app, flags, logging

import tf_unilth
from recipes import methods, report
from recipes.datasets import Dataset

FLAGS = flags.FLAGS

flags.DEFINE_enum('method', 'unilth', methods.METHODS, 'How to prune.')
flags.DEFINE_float(
  'target_sparsity', 0.9, 'Fraction of zeros in [0, 1).', 0.0, 0.999999
)
flags.DEFINE_integer('epochs', None, 'All epochs of the run.', 1)
flags.DEFINE_integer('batch_size', None, 'Images per step.', 1)
flags.DEFINE_float('learning_rate', None, 'At the start of a stage.', 0.0)
flags.DEFINE_integer(
  'seed', 0, 'Of initial weights, order, split and random tickets.', 0
)
flags.DEFINE_float(
  'validation_fraction', 0.15, 'Cut from the training set.', 0.01, 0.9
)
flags.DEFINE_string(
  'output_dir', None, 'Where to write; by default under runs/.'
)
flags.DEFINE_bool('jit_compile', False, 'Compile the train step with XLA.')
flags.DEFINE_bool(
  'lr_restart',
  None,
  'For gmp and oneshot: restart the learning rate when pruning begins, as '
  'unilth does, so that a comparison compares pruning.',
)
flags.DEFINE_integer('verbose', 2, 'Keras progress: 0, 1 or 2.', 0, 2)

# Arguments of prune_low_magnitude, IterativeSparsity, L2Ramp and the callbacks
# under their names; where a flag is not given, the library's default stands.
flags.DEFINE_list('skip', None, 'prune_low_magnitude: layers left dense.')
flags.DEFINE_list('block_size', None, 'prune_low_magnitude: height,width.')
flags.DEFINE_list('sparsity_m_by_n', None, 'prune_low_magnitude: m,n.')
flags.DEFINE_float('prune_fraction', None, 'IterativeSparsity.')
flags.DEFINE_integer('rounds', None, 'IterativeSparsity.')
flags.DEFINE_enum('pace', None, ['geometric', 'cubic'], 'IterativeSparsity.')
flags.DEFINE_enum(
  'scope', None, ['global', 'layer', 'erk'], 'IterativeSparsity.'
)
flags.DEFINE_float('limit', None, 'L2Ramp; 0 for no ramp.')
flags.DEFINE_float('power', None, 'L2Ramp.')
flags.DEFINE_float('increment', None, 'L2Ramp.')
flags.DEFINE_integer('interval', None, 'L2Ramp.')
flags.DEFINE_string('monitor', None, 'UniLTH, UniDLTH.')
flags.DEFINE_enum('mode', None, ['auto', 'min', 'max'], 'UniLTH, UniDLTH.')
flags.DEFINE_integer('patience', None, 'UniLTH, UniDLTH; 0 for no plateau.')
flags.DEFINE_float('min_delta', None, 'UniLTH, UniDLTH.')
flags.DEFINE_integer('rewind_epochs', None, 'UniLTH, UniDLTH; 0 for no rewind.')
flags.DEFINE_float('max_dense_fraction', None, 'UniLTH, UniDLTH.')
flags.DEFINE_float('finetune_fraction', None, 'UniLTH, UniDLTH, DLTH.')
flags.DEFINE_integer('rewind_step', None, 'LTH.')

_STRUCTURE = ('block_size', 'sparsity_m_by_n')
_SCHEDULE = ('prune_fraction', 'rounds', 'pace', 'scope')
_RAMP = ('limit', 'power', 'increment', 'interval')
_UNIFIED = (
  'monitor',
  'mode',
  'patience',
  'min_delta',
  'rewind_epochs',
  'max_dense_fraction',
  'finetune_fraction',
)
_TICKET = ('skip', *_STRUCTURE, *_SCHEDULE)
# Which of them a method reads.
_READ = {
  'dense': (),
  'gmp': ('lr_restart', 'skip'),
  'oneshot': ('lr_restart', 'skip'),
  'random': _TICKET,
  'lr_rewind': _TICKET,
  'lth': (*_TICKET, 'rewind_step'),
  'dlth': (*_TICKET, *_RAMP, 'finetune_fraction'),
  'unilth': (*_TICKET, *_RAMP, *_UNIFIED),
  'unidlth': (*_TICKET, *_RAMP, *_UNIFIED),
}
_METHOD_FLAGS = tuple(
  dict.fromkeys(n for names in _READ.values() for n in names)
)
_TICKETS = ('unilth', 'unidlth', 'lth', 'dlth', 'random', 'lr_rewind')
_CONFIG = (
  'method',
  'target_sparsity',
  'epochs',
  'batch_size',
  'learning_rate',
  'seed',
  'validation_fraction',
  'jit_compile',
)


@dataclasses.dataclass(frozen=True)
class Recipe:
  """What one recipe has of its own.

  Args:
    name: of the binary.
    load: returns the data for (validation_fraction, seed).
    build: returns the model for (input_shape, classes).
    epochs: default of the flag.
    batch_size: default of the flag.
    learning_rate: default of the flag.
    momentum: of SGD.
  """

  name: str
  load: Callable[[float, int], Dataset]
  build: Callable[[tuple[int, ...], int], keras.Model]
  epochs: int
  batch_size: int
  learning_rate: float
  momentum: float = 0.9


def launch(recipe: Recipe) -> None:
  """Runs a recipe as a binary, with its defaults for the flags."""
  for name in ('epochs', 'batch_size', 'learning_rate'):
    FLAGS.set_default(name, getattr(recipe, name))
  app.run(lambda _: sys.exit(_main(recipe)))


def _main(recipe: Recipe) -> str | None:
  """Returns an error's one line, `None` if all went well."""
  logging.set_verbosity(logging.WARNING)
  try:
    # Before anything is written, so that a bad flag leaves nothing behind.
    _check_flags()
    _wrapping()
    _plan(1000, tf_unilth.StagedLearningRate(FLAGS.learning_rate))
    directory = _output_dir(recipe)
    results = report.open_run(directory, _config(recipe))
    if results is not None:
      print(f'finished before, in {directory}:\n\n{report.table(results)}')
      return None
    results = run(recipe, directory)
  except (ValueError, FloatingPointError, report.RunDirectoryError) as error:
    return f'error: {error}'
  print(f'\n{report.table(results)}\n\nwritten to {directory}')
  return None


def _output_dir(recipe: Recipe) -> pathlib.Path:
  if FLAGS.output_dir:
    return pathlib.Path(FLAGS.output_dir)
  name = f'{FLAGS.method}-{FLAGS.target_sparsity}-seed{FLAGS.seed}'
  return pathlib.Path('runs', recipe.name, name)


def _given(names: tuple[str, ...]) -> dict[str, Any]:
  return {n: FLAGS[n].value for n in names if FLAGS[n].value is not None}


def _config(recipe: Recipe) -> dict[str, Any]:
  chosen = _given((*_CONFIG, *_METHOD_FLAGS))
  return {'recipe': recipe.name, **chosen}


def _check_flags() -> None:
  """Raises for a flag that the method would silently ignore."""
  for name in _given(_METHOD_FLAGS):
    if name not in _READ[FLAGS.method]:
      readers = ', '.join(m for m, names in _READ.items() if name in names)
      raise ValueError(
        f'--{name} is not read by --method={FLAGS.method}, only by {readers}.'
      )


def _wrapping() -> dict[str, Any]:
  """Returns what the flags say of the layers to wrap."""
  wrapping = _given(('skip',))
  for name, numbers in _given(_STRUCTURE).items():
    if len(numbers) != 2 or not all(number.isdigit() for number in numbers):
      raise ValueError(
        f'--{name} must be two whole numbers, as in 2,4, but is '
        f'{",".join(numbers)}.'
      )
    wrapping[name] = tuple(map(int, numbers))
  return wrapping


def _plan(steps: int, rate: tf_unilth.StagedLearningRate) -> methods.Plan:
  """Returns the method's plan from the flags."""
  method = FLAGS.method
  given = _given(_READ[method])
  ramp = {name: given.pop(name) for name in _RAMP if name in given}
  schedule = {name: given.pop(name) for name in _SCHEDULE if name in given}
  lr_restart = given.pop('lr_restart', False)
  for name in ('skip', *_STRUCTURE):
    given.pop(name, None)
  if given.get('patience') == 0:
    given['patience'] = None
  if ramp:
    given['ramp'] = tf_unilth.L2Ramp(**ramp)
  return methods.plan(
    method,
    methods.Settings(
      target_sparsity=FLAGS.target_sparsity,
      steps=steps,
      seed=FLAGS.seed,
      rate=rate,
      lr_restart=lr_restart,
      schedule=schedule,
      callback=given,
    ),
  )


def run(recipe: Recipe, directory: pathlib.Path) -> dict[str, Any]:
  """Trains, strips, evaluates, exports and writes the run directory.

  Args:
    recipe: what to train on what.
    directory: an existing folder.

  Returns:
    The content of `results.json`.
  """
  begin = time.monotonic()
  keras.utils.set_random_seed(FLAGS.seed)
  data = recipe.load(FLAGS.validation_fraction, FLAGS.seed)
  per_epoch = -(-len(data.train[0]) // FLAGS.batch_size)
  steps = FLAGS.epochs * per_epoch
  rate = tf_unilth.StagedLearningRate(FLAGS.learning_rate, decay_steps=steps)
  plan = _plan(steps, rate)
  model = recipe.build(data.train[0].shape[1:], data.classes)
  if plan.schedule is not None:
    model = tf_unilth.prune_low_magnitude(model, plan.schedule, **_wrapping())
  model.compile(
    keras.optimizers.SGD(rate, momentum=recipe.momentum),
    keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    metrics=['accuracy'],
    jit_compile=FLAGS.jit_compile,
  )
  history = model.fit(
    *data.train,
    batch_size=FLAGS.batch_size,
    validation_data=data.validation,
    epochs=FLAGS.epochs,
    callbacks=plan.callbacks,
    verbose=FLAGS.verbose,
  )
  results = _results(recipe, data, model, plan, directory)
  results |= {'steps': steps, 'seconds': time.monotonic() - begin}
  report.write_history(directory / 'history.csv', history.history)
  report.write_json(directory / 'results.json', results)
  return results


def _results(
  recipe: Recipe,
  data: Dataset,
  model: keras.Model,
  plan: methods.Plan,
  directory: pathlib.Path,
) -> dict[str, Any]:
  """Strips, evaluates and exports a trained model."""
  summary = tf_unilth.sparsity_summary(model)
  if FLAGS.verbose:
    print(f'\n{summary}')
  ticket = tf_unilth.strip_pruning(model)
  ticket.compile(loss=model.loss, metrics=['accuracy'])
  saved = directory / 'saved_model'
  exported = tf_unilth.export_saved_model(
    ticket, saved, inputs=data.test[0], overwrite=True
  )
  if FLAGS.verbose:
    print(f'\n{exported}')
  callback = plan.callbacks[0] if FLAGS.method in _TICKETS else None
  return {
    'method': FLAGS.method,
    'dataset': data.name,
    'model': recipe.name,
    'seed': FLAGS.seed,
    'target_sparsity': FLAGS.target_sparsity,
    'sparsity': summary.sparsity,
    'nonzero_weights': summary.total_weights - summary.zeros,
    'total_weights': summary.total_weights,
    'test_accuracy': ticket.evaluate(*data.test, verbose=0)[1],
    'validation_accuracy': ticket.evaluate(*data.validation, verbose=0)[1],
    'dense_parameters_bytes': sum(w.nbytes for w in ticket.get_weights()),
    'export_bytes': exported.total_bytes,
    'export_difference': exported.output_difference,
    'epochs': FLAGS.epochs,
    'rounds': callback.rounds if callback else 0,
    'plateau_epoch': callback.plateau_epoch if callback else None,
    'rewound_to_epoch': callback.rewound_to_epoch if callback else None,
    'versions': report.versions(),
  }

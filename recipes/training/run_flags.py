"""The flags that all recipes share, but for those that say how to prune."""

import dataclasses
import importlib.util
import math
from collections.abc import Sequence
from typing import Any

from absl import flags

from recipes.training import (
  distribution,
  exports,
  initial_weights,
  pruning_flags,
)
from recipes.training.recipe import Recipe
from recipes.training.run_config import RunConfig

FLAGS = flags.FLAGS

flags.DEFINE_string(
  'data_dir',
  None,
  'Where the data lie; by default what comes with a library, or what Keras has '
  'downloaded before.',
)
flags.DEFINE_bool(
  'download', False, 'Let Keras or TFDS fetch data that are not there.'
)
flags.DEFINE_integer(
  'train_examples',
  None,
  'Train on this many images only, drawn by the seed; how many validate, '
  'validation_fraction says.',
  1,
)
flags.DEFINE_float(
  'validation_fraction',
  0.15,
  'Share of the training images that validate; of no effect on folders that '
  'have both val/ and test/.',
  0.01,
  0.9,
)

flags.DEFINE_integer('epochs', None, 'All epochs of the run.', 1)
flags.DEFINE_integer(
  'batch_size',
  None,
  'Images per step over all devices together: each of n replicas gets an n-th.',
  1,
)
flags.DEFINE_float(
  'learning_rate',
  None,
  'The highest, at the start of a stage. It is for the whole batch and is not '
  'scaled, neither by batch_size nor by the number of devices.',
  0.0,
)
flags.DEFINE_float(
  'warmup_epochs',
  None,
  'Epochs at the start of the run in which the learning rate rises. What '
  'restarts the schedule for a shorter stage warms up for the same share of '
  'it.',
  0.0,
)
flags.DEFINE_float(
  'weight_decay',
  None,
  'L2 in the gradient, g + weight_decay w, of all trained variables. The loss '
  'that is shown does not contain it.',
  0.0,
)
flags.DEFINE_float(
  'label_smoothing', None, 'Share of each label spread over all.', 0.0, 0.999
)
flags.DEFINE_float(
  'clipnorm', None, "Norm to which each variable's gradient is cut.", 1e-9
)
flags.DEFINE_integer(
  'seed',
  0,
  'Of initial weights, order, augmentation, split and random tickets.',
  0,
  2**32 - 1,
)

flags.DEFINE_enum(
  'strategy',
  'none',
  distribution.STRATEGIES,
  'none is one device; mirrored all GPUs of this machine; multi_worker several '
  'machines: start the same command on each with TF_CONFIG set, and an '
  'output_dir that all of them see.',
)
flags.DEFINE_enum(
  'mixed_precision',
  'none',
  distribution.PRECISIONS,
  'Compute in half precision and keep float32 weights: float16 for GPUs (with '
  'loss scaling), bfloat16 for GPUs since 2020, TPUs and newer CPUs.',
)
flags.DEFINE_bool(
  'jit_compile', False, 'Compile the train step with XLA; one device only.'
)
flags.DEFINE_integer(
  'steps_per_execution',
  1,
  'Steps between two looks of Python at the run. More costs less time per '
  'step; rounds then end at multiples of it.',
  1,
)
flags.DEFINE_bool(
  'deterministic',
  False,
  'Let the same command give the same weights on a GPU too; slower. On a CPU '
  'it does so in any case.',
)

flags.DEFINE_string(
  'output_dir',
  None,
  'The run directory; by default runs/RECIPE/METHOD-TARGET_SPARSITY-seedSEED.',
)
flags.DEFINE_bool(
  'overwrite',
  False,
  'Begin anew where output_dir holds a run, finished or of other flags: what '
  'that run wrote is deleted, nothing else.',
)
flags.DEFINE_list(
  'export',
  ['saved_model'],
  f'What to write of the sparse model: {", ".join(exports.KINDS)}; --export= '
  'for none.',
)
flags.DEFINE_bool('plots', True, 'Draw the plots of report.md.')
flags.DEFINE_bool(
  'tensorboard',
  False,
  'Write event files for TensorBoard, which pip install .[tensorboard] brings.',
)
flags.DEFINE_integer(
  'verbose', 2, '0 is silent, 1 a progress bar, 2 a line per epoch.', 0, 2
)
flags.DEFINE_bool('debug', False, 'Show the traceback of an error.')

GROUPS: dict[str, tuple[str, ...]] = {
  'Data': ('data_dir', 'download', 'train_examples', 'validation_fraction'),
  'Pruning': pruning_flags.NAMES,
  'Training': (
    'initial_weights',
    'epochs',
    'batch_size',
    'learning_rate',
    'warmup_epochs',
    'weight_decay',
    'label_smoothing',
    'clipnorm',
    'seed',
  ),
  'Devices': (
    'strategy',
    'mixed_precision',
    'jit_compile',
    'steps_per_execution',
    'deterministic',
  ),
  'Output': (
    'output_dir',
    'overwrite',
    'export',
    'plots',
    'tensorboard',
    'verbose',
    'debug',
  ),
}
# The flags that change no number of a run: it may go on with others.
_HARMLESS = ('data_dir', 'download', *GROUPS['Output'])
# Those that do.
NUMBERS = tuple(
  name for group in GROUPS.values() for name in group if name not in _HARMLESS
)
_DEFAULTS = (
  'epochs',
  'batch_size',
  'learning_rate',
  'weight_decay',
  'label_smoothing',
)


def adopt(recipe: Recipe) -> None:
  """Makes a recipe's own numbers the defaults of the flags."""
  for name in _DEFAULTS:
    FLAGS.set_default(name, getattr(recipe, name))
  share = recipe.warmup_epochs / recipe.epochs
  FLAGS.set_default('warmup_epochs', share * FLAGS['epochs'].value)
  if recipe.skip:
    FLAGS.set_default('skip', list(recipe.skip))


def config(recipe: Recipe) -> dict[str, Any]:
  """Returns all that a run's numbers depend on; `adopt` comes before.

  The initial weights are told by their content, wherever they lie.
  """
  names = [name for name in NUMBERS if name not in pruning_flags.NAMES]
  names += recipe.flags
  given = {n: FLAGS[n].value for n in names if FLAGS[n].value is not None}
  if path := given.pop('initial_weights', None):
    given['initial_weights'] = initial_weights.digest(path)
  return {'recipe': recipe.name, **pruning_flags.config(), **given}


def run_config() -> RunConfig:
  """Returns what the flags say now; `adopt` comes before."""
  names = [field.name for field in dataclasses.fields(RunConfig)]
  values = {name: FLAGS[name].value for name in names}
  return RunConfig(**{**values, 'export': tuple(values['export'])})


def refuse_words(arguments: Sequence[str]) -> None:
  """Raises a `ValueError` for words behind a program's name that are no flags.

  Args:
    arguments: what absl has left, the program's name first.
  """
  if arguments[1:]:
    raise ValueError(
      f'{arguments[1]!r} is no flag: they are given as --name=value.'
    )


def check() -> None:
  """Raises a `ValueError` for flags that no run could be made of."""
  _check_finite()
  pruning_flags.check()
  exports.check(FLAGS.export, FLAGS.method, FLAGS.target_sparsity)
  if FLAGS.overwrite and FLAGS.strategy == 'multi_worker':
    raise ValueError(
      '--overwrite must be off with --strategy=multi_worker: some workers '
      'would find the old run, some none. Give another --output_dir.'
    )
  if FLAGS.tensorboard and importlib.util.find_spec('tensorboard') is None:
    raise ValueError(
      '--tensorboard needs the package tensorboard: '
      "pip install '.[tensorboard]'."
    )
  if FLAGS.warmup_epochs >= FLAGS.epochs:
    raise ValueError(
      f'--warmup_epochs must be below --epochs={FLAGS.epochs}, but is '
      f'{FLAGS.warmup_epochs:g}.'
    )
  if not FLAGS.learning_rate > 0:
    raise ValueError(
      f'--learning_rate must be above 0, but is {FLAGS.learning_rate}.'
    )


def _check_finite() -> None:
  """Raises for NaN, which absl takes to be in any range, and for the endless.

  What TensorFlow counts is below 2^63.
  """
  for name in (name for group in GROUPS.values() for name in group):
    value = FLAGS[name].value
    if isinstance(value, float) and not math.isfinite(value):
      raise ValueError(f'--{name} must be a finite number, but is {value}.')
    if isinstance(value, int) and value >= 1 << 63:
      raise ValueError(f'--{name} must be below 2^63, but is {value}.')


def command(recipe: Recipe) -> str:
  """Returns the command that makes the same run again, without its paths."""
  chosen = [
    FLAGS[name].serialize()
    for group in (recipe.flags, *GROUPS.values())
    for name in group
    if name not in ('output_dir', 'overwrite', 'data_dir', 'verbose', 'debug')
    and FLAGS[name].value is not None
    and FLAGS[name].value != FLAGS[name].default
  ]
  return ' '.join(['python -m', f'recipes.{recipe.name}', *chosen])

"""Defines the flags that all recipes share, but for those of the pruning.

`command_line` alone reads their values. Each flag belongs to one of the groups
of `--help`, which absl knows by the name of a module.
"""

import importlib.util
import math
from typing import Any

from absl import flags

from recipes.training import devices, exports, methods, pruning_flags

# How one group of flags is headed in `--help`.
_DATA, _TRAINING, _DEVICES, _OUTPUT = 'Data', 'Training', 'Devices', 'Output'

flags.DEFINE_string(
  'data_dir',
  None,
  'Directory or .npz file with the data. By default the copy that comes with a '
  'library, or the cache of Keras.',
  module_name=_DATA,
)
flags.DEFINE_bool(
  'download',
  False,
  'Download missing data with Keras or TFDS.',
  module_name=_DATA,
)
flags.DEFINE_integer(
  'train_examples',
  None,
  'Number of training images, drawn with the seed. By default all that are '
  'left after the validation split.',
  1,
  module_name=_DATA,
)
flags.DEFINE_float(
  'validation_fraction',
  0.15,
  'Fraction of the training images used for validation. Ignored for image '
  'folders that have both val/ and test/.',
  0.01,
  0.9,
  module_name=_DATA,
)

flags.DEFINE_string(
  'initial_weights',
  None,
  'Start from these weights of the same network: a .weights.h5, .h5 or .keras '
  'file, a SavedModel, or the run directory of a recipe.',
  module_name=_TRAINING,
)
flags.DEFINE_integer(
  'epochs',
  None,
  'Number of epochs of the whole run.',
  1,
  module_name=_TRAINING,
)
flags.DEFINE_integer(
  'batch_size',
  None,
  'Global batch size: each of n replicas gets an n-th of it.',
  1,
  module_name=_TRAINING,
)
flags.DEFINE_float(
  'learning_rate',
  None,
  'Peak learning rate, above 0, for the global batch. It is not scaled with '
  'batch_size or the number of devices.',
  0.0,
  module_name=_TRAINING,
)
flags.DEFINE_float(
  'warmup_epochs',
  None,
  'Epochs of linear learning-rate warmup at the start of the run. A schedule '
  'that is restarted for a shorter stage warms up for the same fraction of it. '
  "By default the recipe's fraction of the epochs.",
  0.0,
  module_name=_TRAINING,
)
flags.DEFINE_float(
  'weight_decay',
  None,
  'L2 coefficient, added to the gradient as weight_decay * w for all trainable '
  'variables. The reported loss does not include it.',
  0.0,
  module_name=_TRAINING,
)
flags.DEFINE_float(
  'label_smoothing',
  None,
  'Fraction of each label that is spread evenly over all classes.',
  0.0,
  0.999,
  module_name=_TRAINING,
)
flags.DEFINE_float(
  'clipnorm',
  None,
  'Clip the gradient of each variable to this norm. By default gradients are '
  'not clipped.',
  1e-9,
  module_name=_TRAINING,
)
flags.DEFINE_integer(
  'seed',
  0,
  'Random seed of initial weights, data order, augmentation, validation split '
  'and random tickets.',
  0,
  2**32 - 1,
  module_name=_TRAINING,
)

flags.DEFINE_enum(
  'keras',
  'tf_keras',
  devices.KERASES,
  'Keras of the model. tf_keras: Keras 2 on TensorFlow. keras: Keras 3, on the '
  'backend that the environment variable KERAS_BACKEND names (tensorflow, jax '
  'or torch).',
  module_name=_DEVICES,
)
flags.DEFINE_enum(
  'strategy',
  'none',
  devices.STRATEGIES,
  'Distribution strategy. none: one device. mirrored: all GPUs of this '
  'machine. multi_worker: several machines; run the same command on each with '
  'TF_CONFIG set and an output_dir that all of them share.',
  module_name=_DEVICES,
)
flags.DEFINE_enum(
  'mixed_precision',
  'none',
  devices.PRECISIONS,
  'Compute in half precision with float32 weights: float16 for GPUs (with loss '
  'scaling), bfloat16 for GPUs since 2020, TPUs and newer CPUs.',
  module_name=_DEVICES,
)
flags.DEFINE_bool(
  'jit_compile',
  False,
  'Compile the training step with XLA. One device only.',
  module_name=_DEVICES,
)
flags.DEFINE_integer(
  'steps_per_execution',
  1,
  'Training steps per tf.function call, as in Model.compile. Higher values '
  'reduce the overhead per step; rounds then end at multiples of it.',
  1,
  module_name=_DEVICES,
)
flags.DEFINE_bool(
  'deterministic',
  False,
  'Use deterministic operations, so that the same command gives the same '
  'weights on a GPU too. Slower. CPU runs are deterministic without it.',
  module_name=_DEVICES,
)

flags.DEFINE_string(
  'output_dir',
  None,
  'Run directory. By default runs/RECIPE/METHOD-TARGET_SPARSITY-seedSEED, with '
  '-BACKEND for Keras 3.',
  module_name=_OUTPUT,
)
flags.DEFINE_bool(
  'overwrite',
  False,
  'Delete the run in output_dir and start again. Only files that a run wrote '
  'are deleted.',
  module_name=_OUTPUT,
)
flags.DEFINE_list(
  'export',
  ['saved_model'],
  f'Formats to export the sparse model to: {", ".join(exports.KINDS)}. '
  '--export= exports nothing.',
  module_name=_OUTPUT,
)
flags.DEFINE_bool(
  'plots', True, 'Draw the plots of report.md.', module_name=_OUTPUT
)
flags.DEFINE_bool(
  'tensorboard',
  False,
  "Write TensorBoard event files. Needs pip install '.[tensorboard]'.",
  module_name=_OUTPUT,
)
flags.DEFINE_integer(
  'verbose',
  2,
  '0: silent, 1: progress bar, 2: one line per epoch.',
  0,
  2,
  module_name=_OUTPUT,
)
flags.DEFINE_bool(
  'debug', False, 'Show the traceback of an error.', module_name=_OUTPUT
)

GROUPS: dict[str, tuple[str, ...]] = {
  _DATA: ('data_dir', 'download', 'train_examples', 'validation_fraction'),
  pruning_flags.GROUP: pruning_flags.NAMES,
  _TRAINING: (
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
  _DEVICES: (
    'keras',
    'strategy',
    'mixed_precision',
    'jit_compile',
    'steps_per_execution',
    'deterministic',
  ),
  _OUTPUT: (
    'output_dir',
    'overwrite',
    'export',
    'plots',
    'tensorboard',
    'verbose',
    'debug',
  ),
}
NAMES = tuple(name for names in GROUPS.values() for name in names)
# A run may go on with other values of these: its numbers do not depend on them.
_WITHOUT_EFFECT = ('data_dir', 'download', *GROUPS[_OUTPUT])
# The flags that the numbers of a run depend on.
RESULT_FLAGS = tuple(name for name in NAMES if name not in _WITHOUT_EFFECT)


def _is_usable(value: Any) -> bool:
  """Returns whether TensorFlow can count to a number; of others, `True`."""
  if isinstance(value, float):
    return math.isfinite(value)  # absl takes NaN to be in any range.
  return not isinstance(value, int) or value < 1 << 63


for _name in NAMES:
  flags.register_validator(
    _name,
    _is_usable,
    'must be a finite number, and an integer must be below 2^63',
  )


@flags.validator('learning_rate', 'must be above 0')
def _is_rate(value: float | None) -> bool:
  return value is None or value > 0


@flags.validator('tensorboard')
def _has_tensorboard(value: bool) -> bool:
  if value and importlib.util.find_spec('tensorboard') is None:
    raise flags.ValidationError(
      "needs the package tensorboard: pip install '.[tensorboard]'"
    )
  return True


@flags.validator('export', f'must be of {", ".join(exports.KINDS)}')
def _are_formats(value: list[str]) -> bool:
  return set(value) <= set(exports.KINDS)


@flags.multi_flags_validator(
  ('export', 'method', 'target_sparsity'),
  '--export=ticket needs zeros: --method must not be dense or small_dense, '
  'and --target_sparsity must be above 0',
)
def _has_ticket(given: dict[str, Any]) -> bool:
  is_pruned = given['method'] not in methods.DENSE
  has_zeros = is_pruned and given['target_sparsity'] > 0
  return 'ticket' not in given['export'] or has_zeros


@flags.multi_flags_validator(
  ('warmup_epochs', 'epochs'), '--warmup_epochs must be below --epochs'
)
def _warms_up_in_time(given: dict[str, Any]) -> bool:
  warmup, epochs = given['warmup_epochs'], given['epochs']
  return warmup is None or epochs is None or warmup < epochs


@flags.multi_flags_validator(
  ('overwrite', 'strategy'),
  '--overwrite must be off with --strategy=multi_worker: some workers would '
  'find the old run, some none. Choose another --output_dir',
)
def _overwrites_alone(given: dict[str, Any]) -> bool:
  return not given['overwrite'] or given['strategy'] != 'multi_worker'


@flags.multi_flags_validator(
  ('pretrained', 'initial_weights'),
  '--pretrained needs --initial_weights=FILE: without it the network is not '
  'trained yet',
)
def _has_weights(given: dict[str, Any]) -> bool:
  return not given['pretrained'] or bool(given['initial_weights'])

"""Searches for a recipe's best settings of tickets, with keras-tuner.

  python -m recipes.tune --recipe=digits_cnn --max_trials=20
  python -m recipes.tune --tuner=hyperband --sparsity_range=0.9,0.99 \
    --objective=front

Each trial makes a ticket with other settings; what a flag says is not searched,
nor is any other flag of the recipe. The first trial takes all defaults. The
same command goes on with a search that was stopped. It writes trials.csv,
report.md with its plot, and the best ticket's model; with --tensorboard also
what TensorBoard's HParams shows.

On several machines that see one output_dir: the same command on each, with
KERASTUNER_ORACLE_IP and KERASTUNER_ORACLE_PORT of the one that hands out the
trials, KERASTUNER_TUNER_ID=chief there, and another name on each of the others.
"""

import pathlib
import sys
from collections.abc import Sequence
from typing import Any

import tensorflow as tf
from absl import app, flags, logging

from recipes.training import (
  catalogue,
  distribution,
  experiment,
  flag_help,
  pruning_flags,
  run_flags,
)
from recipes.training.recipe import Recipe
from recipes.tuning import recipe_model, report
from tf_unilth import tuner

FLAGS = flags.FLAGS

_TUNERS = {
  'random': tuner.RandomSearch,
  'bayesian': tuner.BayesianOptimization,
  'hyperband': tuner.Hyperband,
  'grid': tuner.GridSearch,
}
_OBJECTIVES = ('accuracy', 'sparsest', 'front')

flags.DEFINE_enum('tuner', 'bayesian', list(_TUNERS), 'How to search.')
flags.DEFINE_integer(
  'max_trials', 20, 'How many trials at most; more of them go on.', 1
)
flags.DEFINE_enum(
  'objective',
  'accuracy',
  _OBJECTIVES,
  'accuracy at target_sparsity; the sparsest ticket that loses at most '
  "max_loss of the dense model's accuracy; the front of both.",
)
flags.DEFINE_list(
  'sparsity_range',
  None,
  'lowest,highest to search, in place of target_sparsity, as in 0.9,0.99.',
)
flags.DEFINE_float(
  'max_loss', 0.01, 'Of accuracy, for --objective=sparsest.', 0.0, 0.99
)
flags.DEFINE_float(
  'dense_accuracy',
  None,
  'In validation, for --objective=sparsest; trained for it if not given.',
  1e-9,
  1.0,
)
flags.DEFINE_float(
  'worker_timeout',
  60,
  'Seconds without a call after which a worker counts as dead.',
  1e-3,
)

_OWN = (
  *('recipe', 'tuner', 'max_trials', 'objective', 'sparsity_range', 'max_loss'),
  *('dense_accuracy', 'worker_timeout'),
)
# Flags of recipes that a search does not read.
_NOT_READ = ('strategy', 'steps_per_execution', 'lr_restart', 'overwrite')


def _recipe(arguments: Sequence[str]) -> Recipe:
  """Returns the recipe that is asked for, before flags are parsed.

  Its numbers are their defaults, and it may have flags of its own.
  """
  name = FLAGS['recipe'].value
  for index, argument in enumerate(arguments):
    flag, equals, value = argument.lstrip('-').partition('=')
    if argument.startswith('-') and flag == 'recipe':
      name = value if equals else ''.join(arguments[index + 1 : index + 2])
  # Of a name that is none, parsing says so.
  return catalogue.load(name if name in catalogue.NAMES else 'digits_cnn')


def _parse(arguments: Sequence[str]) -> list[str]:
  recipe = _recipe(arguments)
  run_flags.adopt(recipe)
  if {'--help', '-help', '-h'} & set(arguments[1:]):
    print(flag_help.help_text(__doc__ or '', (*_OWN, *recipe.flags)))
    sys.exit(0)
  return app.parse_flags_with_usage(arguments)


def _check() -> None:
  """Raises a `ValueError` for flags that no search could be made of."""
  if FLAGS.method not in tuner.METHODS:
    raise ValueError(
      f'--method must be one of {", ".join(tuner.METHODS)} to be tuned, but is '
      f'{FLAGS.method}.'
    )
  for name in _NOT_READ:
    if not FLAGS[name].using_default_value:
      raise ValueError(f'--{name} is not read by recipes.tune.')
  if FLAGS.objective != 'accuracy' and not FLAGS.sparsity_range:
    raise ValueError(
      f'--objective={FLAGS.objective} needs --sparsity_range=LOWEST,HIGHEST.'
    )
  if FLAGS.objective == 'accuracy' and FLAGS.sparsity_range:
    raise ValueError(
      '--sparsity_range is for --objective=sparsest and front; with accuracy '
      'the least sparse ticket would win.'
    )
  _target()
  run_flags.check()


def _target() -> Any:
  if not FLAGS.sparsity_range:
    return FLAGS.target_sparsity
  try:
    lowest, highest = map(float, FLAGS.sparsity_range)
    return lowest, highest
  except ValueError:
    raise ValueError(
      '--sparsity_range must be LOWEST,HIGHEST, but is '
      f'{",".join(FLAGS.sparsity_range)}.'
    ) from None


def _space() -> tuner.TicketSpace:
  given = pruning_flags.config()
  fixed = {
    name: value
    for name, value in given.items()
    if name not in ('method', 'target_sparsity', *pruning_flags.WRAPPING)
  }
  return tuner.TicketSpace(
    _target(), FLAGS.method, pruning_flags.as_arguments(fixed), FLAGS.seed
  )


def _objective(
  model: recipe_model.RecipeModel, directory: pathlib.Path
) -> tuner.TicketObjective:
  if FLAGS.objective == 'accuracy':
    return tuner.AccuracyAtSparsity()
  if FLAGS.objective == 'front':
    return tuner.Front()
  dense = FLAGS.dense_accuracy
  if dense is None and tuner.role() != 'alone':
    raise ValueError(
      '--objective=sparsest needs --dense_accuracy with chief and workers.'
    )
  if dense is None:
    dense = model.dense_accuracy(directory / 'dense.json')
  return tuner.SparsestWithin(FLAGS.max_loss, dense)


def _tuner(
  recipe: Recipe, model: recipe_model.RecipeModel, directory: pathlib.Path
) -> tuner.TicketTuner:
  own: dict[str, Any] = {'max_trials': FLAGS.max_trials}
  if FLAGS.tuner == 'hyperband':
    own['max_epochs'] = FLAGS.epochs
  return _TUNERS[FLAGS.tuner](
    model,
    _space(),
    **own,
    objective=_objective(model, directory),
    directory=directory / 'search',
    seed=FLAGS.seed,
    config=run_flags.config(recipe),
    wrapping=pruning_flags.wrapping(),
    worker_timeout=FLAGS.worker_timeout,
    verbose=int(FLAGS.verbose > 0),
  )


def output_dir(recipe: Recipe) -> pathlib.Path:
  """Returns the directory of the search that the flags name."""
  if FLAGS.output_dir:
    return pathlib.Path(FLAGS.output_dir)
  at = '-'.join(FLAGS.sparsity_range or [str(FLAGS.target_sparsity)])
  name = f'{FLAGS.tuner}-{FLAGS.objective}-{FLAGS.method}-{at}'
  return pathlib.Path('runs', recipe.name, f'{name}-seed{FLAGS.seed}')


def run(recipe: Recipe, directory: pathlib.Path) -> str | None:
  """Searches, or goes on, and writes what was found.

  Args:
    recipe: what to train on what.
    directory: of the search.

  Returns:
    The summary; `None` in a worker.
  """
  _check()
  with distribution.prepared(
    'none', FLAGS.mixed_precision, FLAGS.jit_compile, FLAGS.deterministic
  ):
    model = recipe_model.RecipeModel(
      recipe,
      run_flags.run_config(),
      run_flags.config(recipe),
      FLAGS['learning_rate'].using_default_value,
    )
    search = _tuner(recipe, model, directory)
    hyperband = FLAGS.tuner == 'hyperband'
    search.search(**({} if hyperband else {'epochs': FLAGS.epochs}))
    if tuner.role() == 'worker':
      return None
    return report.write(search, model, directory)


def _main(arguments: Sequence[str]) -> str | None:
  """Returns an error's one line, `None` if all went well."""
  logging.set_verbosity(logging.ERROR)
  tf.get_logger().setLevel('ERROR')
  try:
    run_flags.refuse_words(arguments)
    recipe = catalogue.load(FLAGS.recipe)
    directory = output_dir(recipe)
    summary = run(recipe, directory)
  except (*experiment.EXPECTED, RuntimeError) as error:
    if FLAGS.debug:
      raise
    return f'error: {experiment.one_line(error)}'
  except KeyboardInterrupt:
    return f'stopped; the same command goes on, in {directory}'
  if summary is not None:
    print(f'\n{summary}\n\nwritten to {directory}')
  return None


def main(arguments: Sequence[str]) -> str | None:
  """Does what the binary does; returns an error's line, `None` without one."""
  return _main(_parse(arguments))


if __name__ == '__main__':
  app.run(_main, flags_parser=_parse)

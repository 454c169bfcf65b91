"""Searches the hyperparameters of a recipe's tickets with keras-tuner.

  python -m recipes.tune --recipe=digits_cnn --max_trials=20
  python -m recipes.tune --tuner=hyperband --sparsity_range=0.9,0.99 \
    --objective=front

Each trial trains a ticket with other values of the hyperparameters. Values that
a flag sets are not searched. The first trial takes all defaults. The same
command resumes a search that was stopped. The output directory receives
trials.csv, report.md with its plot, and the model of the best ticket; with
--tensorboard also the data of TensorBoard's HParams. With --keras=keras the
models are of Keras 3, on the backend of KERAS_BACKEND.

For a search on several machines that share an output_dir, run the same command
on each, with KERASTUNER_ORACLE_IP and KERASTUNER_ORACLE_PORT of the machine
that hands out the trials, KERASTUNER_TUNER_ID=chief there, and another
KERASTUNER_TUNER_ID on each of the others.
"""

import dataclasses
import functools
import logging as standard_logging
import pathlib
from collections.abc import Sequence
from typing import Any

from absl import app, flags, logging

from recipes.training import (
  catalogue,
  command_line,
  devices,
  experiment,
  pruning_flags,
  pruning_setup,
)
from recipes.training.recipe import Recipe
from recipes.training.run_config import RunConfig
from recipes.tuning import recipe_model, report
from tf_unilth import tuner

FLAGS = flags.FLAGS

_SEARCH = 'Search'
_TUNERS = {
  'random': tuner.RandomSearch,
  'bayesian': tuner.BayesianOptimization,
  'hyperband': tuner.Hyperband,
  'grid': tuner.GridSearch,
}
_OBJECTIVES = ('accuracy', 'sparsest', 'front')

_define_number = functools.partial(flags.DEFINE_float, module_name=_SEARCH)

flags.DEFINE_enum(
  'tuner', 'bayesian', list(_TUNERS), 'Tuner to use.', module_name=_SEARCH
)
flags.DEFINE_integer(
  'max_trials',
  20,
  'Number of trials at most. A larger number resumes a finished search.',
  1,
  module_name=_SEARCH,
)
flags.DEFINE_enum(
  'objective',
  'accuracy',
  _OBJECTIVES,
  'accuracy: the validation accuracy at target_sparsity. sparsest: the '
  "sparsest ticket that loses at most max_loss of the dense model's accuracy. "
  'front: the Pareto front of accuracy and sparsity.',
  module_name=_SEARCH,
)
flags.DEFINE_list(
  'sparsity_range',
  None,
  'LOWEST,HIGHEST sparsity to search, in place of target_sparsity, as in '
  '0.9,0.99.',
  module_name=_SEARCH,
)
_define_number(
  'max_loss',
  0.01,
  'Largest loss of accuracy for --objective=sparsest.',
  0.0,
  0.99,
)
_define_number(
  'dense_accuracy',
  None,
  'Validation accuracy of the dense model for --objective=sparsest. By default '
  'it is trained first.',
  1e-9,
  1.0,
)
_define_number(
  'worker_timeout',
  60,
  'Seconds without a call after which a worker counts as dead.',
  1e-3,
)
# Flags of recipes that a search does not read.
_NOT_READ = (
  *('strategy', 'steps_per_execution', 'lr_restart', 'overwrite'),
  *('structure', 'of'),
)


@flags.multi_flags_validator(
  ('objective', 'sparsity_range'),
  '--objective=sparsest and front need --sparsity_range=LOWEST,HIGHEST; with '
  'accuracy, the least sparse ticket of a range would always win',
)
def _has_range(given: dict[str, Any]) -> bool:
  return (given['objective'] != 'accuracy') == bool(given['sparsity_range'])


@flags.validator('sparsity_range', 'must be LOWEST,HIGHEST, as in 0.9,0.99')
def _is_range(value: list[str] | None) -> bool:
  try:
    return not value or len(tuple(map(float, value))) == 2
  except ValueError:
    return False


@dataclasses.dataclass(frozen=True)
class Settings:
  """The flags of a search, beside those of the recipe, by their names.

  Args:
    searches_rate: whether the learning rate is searched: no flag gives it.
    target: `target_sparsity`, or the lowest and the highest to search.
  """

  tuner: str
  max_trials: int
  objective: str
  max_loss: float
  dense_accuracy: float | None
  worker_timeout: float
  searches_rate: bool
  target: float | tuple[float, float]
  directory: pathlib.Path


def read_flags(recipe: Recipe) -> tuple[RunConfig, Settings]:
  """Returns what the flags say of the recipe's runs, and of the search.

  Args:
    recipe: what to train on what.

  Raises:
    ValueError: there are flags that a search does not read.
  """
  config = command_line.run_config(recipe)
  for name in _NOT_READ:
    if not FLAGS[name].using_default_value:
      raise ValueError(f'--{name} is not read by recipes.tune.')
  bounds = FLAGS.sparsity_range or [str(FLAGS.target_sparsity)]
  target: Any = tuple(map(float, bounds))
  name = '-'.join([FLAGS.tuner, FLAGS.objective, FLAGS.method, *bounds])
  name += f'-seed{FLAGS.seed}'
  if config.keras == 'keras':
    name += f'-{devices.backend()}'
  default = pathlib.Path('runs', recipe.name, name)
  return config, Settings(
    tuner=FLAGS.tuner,
    max_trials=FLAGS.max_trials,
    objective=FLAGS.objective,
    max_loss=FLAGS.max_loss,
    dense_accuracy=FLAGS.dense_accuracy,
    worker_timeout=FLAGS.worker_timeout,
    searches_rate=FLAGS['learning_rate'].using_default_value,
    target=target if FLAGS.sparsity_range else FLAGS.target_sparsity,
    directory=pathlib.Path(FLAGS.output_dir or default),
  )


def _space(config: RunConfig, settings: Settings) -> tuner.TicketSpace:
  pruning = config.pruning
  read = pruning_flags.READ[pruning.method]
  fixed = pruning.given(n for n in read if n not in pruning_flags.WRAPPING)
  return tuner.TicketSpace(
    settings.target,
    pruning.method,
    pruning_setup.as_arguments(fixed),
    config.seed,
  )


def _objective(
  model: recipe_model.RecipeModel, settings: Settings
) -> tuner.TicketObjective:
  if settings.objective == 'accuracy':
    return tuner.AccuracyAtSparsity()
  if settings.objective == 'front':
    return tuner.Front()
  dense = settings.dense_accuracy
  if dense is None and tuner.role() != 'alone':
    raise ValueError(
      '--objective=sparsest needs --dense_accuracy with chief and workers.'
    )
  if dense is None:
    dense = model.dense_accuracy(settings.directory / 'dense.json')
  return tuner.SparsestWithin(settings.max_loss, dense)


def _tuner(
  config: RunConfig, settings: Settings, model: recipe_model.RecipeModel
) -> tuner.TicketTuner:
  own: dict[str, Any] = {'max_trials': settings.max_trials}
  if settings.tuner == 'hyperband':
    own['max_epochs'] = config.epochs
  return _TUNERS[settings.tuner](
    model,
    _space(config, settings),
    **own,
    objective=_objective(model, settings),
    directory=settings.directory / 'search',
    seed=config.seed,
    config=config.result_values(model.recipe.name),
    wrapping=pruning_setup.wrapping(config.pruning, config.keras_module),
    worker_timeout=settings.worker_timeout,
    verbose=int(config.verbose > 0),
  )


def run(recipe: Recipe, config: RunConfig, settings: Settings) -> str | None:
  """Runs or resumes a search, and writes its report.

  Args:
    recipe: what to train on what.
    config: of the recipe's runs.
    settings: of the search.

  Returns:
    The summary; `None` in a worker.
  """
  if config.pruning.method not in tuner.METHODS:
    raise ValueError(
      f'--method must be one of {", ".join(tuner.METHODS)} to be tuned, but is '
      f'{config.pruning.method}.'
    )
  experiment.check(config)
  with devices.prepared(config) as prepared:
    model = recipe_model.RecipeModel(
      recipe, config, prepared, settings.searches_rate
    )
    search = _tuner(config, settings, model)
    hyperband = settings.tuner == 'hyperband'
    search.search(**({} if hyperband else {'epochs': config.epochs}))
    if tuner.role() == 'worker':
      return None
    return report.write(search, model, settings.directory)


def _parse(arguments: Sequence[str]) -> list[str]:
  recipe = catalogue.chosen(arguments)
  command_line.set_flag_defaults(recipe)
  own = [command_line.RECIPE_FLAGS] if recipe.flags else []
  return command_line.parse(arguments, [catalogue.GROUP, _SEARCH, *own])


def _expected_errors() -> tuple[type[Exception], ...]:
  """Returns the errors that are shown in one line."""
  return (*command_line.expected_errors(), RuntimeError)


def _main(arguments: Sequence[str]) -> str | None:
  """Returns an error's one line, `None` if all went well."""
  logging.set_verbosity(logging.ERROR)
  standard_logging.getLogger('tensorflow').setLevel('ERROR')
  try:
    command_line.reject_positional_arguments(arguments)
    recipe = catalogue.load(FLAGS.recipe)
    config, settings = read_flags(recipe)
    summary = run(recipe, config, settings)
  except _expected_errors() as error:
    return command_line.error_line(error)
  except KeyboardInterrupt:
    return f'stopped; the same command resumes it in {settings.directory}'
  if summary is not None:
    print(f'\n{summary}\n\nwritten to {settings.directory}')
  return None


def main(arguments: Sequence[str]) -> str | None:
  """Does what the program does; returns an error's line, `None` without one."""
  return _main(_parse(arguments))


if __name__ == '__main__':
  app.run(_main, flags_parser=_parse)

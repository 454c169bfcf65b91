"""One run of a recipe: data, model, fit, export, evaluation, report."""

from typing import Any

import numpy as np

import tf_unilth
from recipes.common import figures, files, provenance
from recipes.data.dataset import Dataset, Split
from recipes.training import (
  exports,
  history_writer,
  keras_classes,
  optimization,
  plots,
  progress,
  pruning_setup,
  report,
  run_directory,
  smaller_network,
)
from recipes.training.devices import Devices
from recipes.training.recipe import Recipe
from recipes.training.run_config import RunConfig


class Run:
  """One run of a recipe: trains, exports, evaluates, reports.

  Args:
    recipe: what to train on what.
    config: what its flags say.
    devices: that it trains on.
  """

  def __init__(self, recipe: Recipe, config: RunConfig, devices: Devices):
    self._recipe = recipe.configured(config.recipe_flags)
    self._config, self._devices = config, devices
    self._keras = config.keras_module
    self._directory = config.output_dir
    self._values = config.result_values(recipe.name)
    self._chief = devices.is_chief
    self._verbose = config.verbose if self._chief else 0

  def run(self) -> dict[str, Any] | None:
    """Trains and writes; returns the results, `None` outside of the chief."""
    self._keras.utils.set_random_seed(self._config.seed)
    self._data = data = self._recipe.load(self._config.data_options)
    per_epoch = -(-data.train.examples // self._config.batch_size)
    self._steps = self._config.epochs * per_epoch
    with self._devices.scope():
      self._devices.set_seed(self._config.seed)
      self._rate = optimization.learning_rate(
        self._recipe, self._config, self._steps
      )
      self._setup = pruning_setup.training_setup(
        self._config.pruning,
        self._steps,
        self._config.seed,
        self._rate,
        self._keras,
        self._verbose > 0,
      )
      self._model = self._wrapped()
      optimization.compile_model(
        self._model, self._recipe, self._config, self._rate
      )
    if self._chief:
      if self._config.overwrite:
        run_directory.clear(self._directory)
      self._validate_data(data)
      run_directory.make(self._directory)
    writer = self._fit(per_epoch)
    return self._finish(writer)

  def _validate_data(self, data: Dataset) -> None:
    """Prints the sizes of the data; decodes all images before a new run."""
    if self._verbose:
      print(
        f'{data.name}: {data.train.examples:,} images for training, '
        f'{data.validation.examples:,} for validation, '
        f'{data.test.examples:,} for the test',
        flush=True,
      )
    if not (self._directory / run_directory.CONFIG).exists():
      for part in (data.train, data.validation, data.test):
        part.check()

  def _wrapped(self) -> Any:
    model = optimization.build(
      self._recipe, self._config, self._data.image_shape, self._data.classes
    )
    schedule = self._setup.schedule
    if schedule is None:
      return model
    wrapping = pruning_setup.wrapping(self._config.pruning, self._keras)
    return tf_unilth.prune_low_magnitude(model, schedule, **wrapping)

  def _fit(self, per_epoch: int) -> history_writer.HistoryWriter:
    resume = tf_unilth.CheckpointAndResume(
      self._directory / run_directory.CHECKPOINTS,
      config={**self._values, 'dataset': self._data.name},
      verbose=int(self._verbose > 0),
    )
    first = resume.initial_epoch
    self._devices.check_agreement(first)
    directory = self._directory if self._chief else None
    writer = keras_classes.callback(
      self._keras, history_writer.HistoryWriter, directory, self._rate, first
    )
    validation, validation_steps = self._validation()
    on_replicas = self._devices.on_replicas
    self._model.fit(
      on_replicas(self._train_batches(first), weighted=True),
      initial_epoch=first,
      epochs=self._config.epochs,
      steps_per_epoch=per_epoch,
      validation_data=on_replicas(validation, weighted=False),
      validation_steps=validation_steps,
      callbacks=[
        *self._setup.callbacks,
        *self._config_writer(first),
        writer,
        resume,
        *self._progress_callbacks(),
      ],
      verbose=0,
      # Keras 3 would shuffle batches, whose order is that of the seed.
      shuffle=self._config.keras == 'tf_keras',
    )
    return writer

  def _train_batches(self, first: int) -> Any:
    """Returns the training batches of the epochs from `first` on."""
    epochs = self._config.epochs
    # Keras 3 reads a batch even where no epoch is left.
    begin = min(first, epochs - 1)
    return self._data.train.epochs(
      self._config.batch_size, self._config.seed, begin, epochs
    )

  def _validation(self) -> tuple[Any, int | None]:
    """Returns the validation batches, and how many make a pass if not all."""
    data, batch_size = self._data.validation, self._config.batch_size
    if self._config.keras == 'tf_keras':
      # Distributed data sets do not restart by themselves.
      return data.batches(batch_size).repeat(), -(-data.examples // batch_size)
    return data.batches(batch_size), None

  def _config_writer(self, first: int) -> list[Any]:
    """Returns a callback that writes the configuration, for the chief.

    It runs when the first epoch begins, after the ticket callback has checked
    the epoch budget: a run that is refused leaves no configuration.
    """
    if not self._chief:
      return []

    def begin(epoch: int, logs: Any) -> None:
      if epoch == first:
        run_directory.begin(self._directory, self._values)

    return [self._keras.callbacks.LambdaCallback(on_epoch_begin=begin)]

  def _progress_callbacks(self) -> list[Any]:
    """Returns the callbacks that show the progress of the run."""
    keras, callbacks = self._keras, []
    if self._config.tensorboard and self._chief:
      callbacks.append(
        keras.callbacks.TensorBoard(
          self._directory / 'tensorboard', write_graph=False, profile_batch=0
        )
      )
    shown = keras_classes.callback(
      keras, progress.Progress, keras, self._verbose, self._setup.ticket
    )
    return [*callbacks, shown]

  def _finish(
    self, writer: history_writer.HistoryWriter
  ) -> dict[str, Any] | None:
    """Strips, exports, evaluates and reports a trained model."""
    # In every process, since some variables are distributed over processes.
    summary = tf_unilth.sparsity_summary(self._model)
    last = history_writer.histogram(self._model)
    ticket = self._ticket()
    stripped = tf_unilth.strip_pruning(self._model)
    weights = stripped.get_weights()
    if not self._chief:
      return None
    model, shrunk = self._smaller(self._on_one_device(stripped, weights))
    inputs, _ = next(iter(self._data.test.batches(self._config.batch_size)))
    written = exports.write(
      self._config.export, self._directory, model, ticket, np.asarray(inputs)
    )
    if self._config.verbose:
      print(
        '\n'
        + '\n\n'.join([str(summary), *(w.report for w in written.values())])
      )
    results = self._results(summary, model, weights, written)
    results['shrunk'] = shrunk
    results['seconds'] = writer.seconds
    histograms = {**writer.histograms, 'at the end': last}
    self._report(writer.history, results, summary, histograms)
    # Keras, matplotlib and TensorBoard synchronise nothing.
    files.flush_tree(self._directory)
    # Last, since this file marks the run as finished.
    run_directory.write_json(self._directory / run_directory.RESULTS, results)
    return results

  def _ticket(self) -> tf_unilth.Ticket | None:
    if 'ticket' not in self._config.export:
      return None
    return tf_unilth.Ticket.from_model(
      self._model,
      self._setup.ticket,
      method=self._config.pruning.method,
      seed=self._config.seed,
      provenance={'dataset': self._data.name, 'recipe': self._recipe.name},
    )

  def _on_one_device(self, stripped: Any, weights: list[np.ndarray]) -> Any:
    """Returns the stripped model without replicas."""
    model = stripped
    if self._config.strategy != 'none':
      self._keras.backend.reset_uids()  # For the same names of layers.
      model = optimization.build(
        self._recipe, self._config, self._data.image_shape, self._data.classes
      )
      model.set_weights(weights)
    return model

  def _smaller(self, plain: Any) -> tuple[Any, dict[str, Any] | None]:
    """Returns the model to use, compiled, and what its shrinking saved."""
    model, shrunk = plain, None
    pruned = self._setup.schedule is not None
    if pruned and self._config.pruning.structure == 'channels':
      model, shrunk = smaller_network.write(plain, self._directory)
    model.compile(loss=optimization.loss(self._config), metrics=['accuracy'])
    return model, shrunk

  def _results(
    self,
    summary: tf_unilth.SparsitySummary,
    model: Any,
    weights: list[np.ndarray],
    written: dict[str, exports.Export],
  ) -> dict[str, Any]:
    data, ticket = self._data, self._setup.ticket
    test, validation = (
      self._accuracy(model, split) for split in (data.test, data.validation)
    )
    return {
      'method': self._config.pruning.method,
      'dataset': data.name,
      'class_names': [*data.class_names],
      'image_shape': [*data.image_shape],
      'model': self._recipe.name,
      'seed': self._config.seed,
      'target_sparsity': self._config.pruning.target_sparsity,
      'sparsity': summary.sparsity,
      'nonzero_weights': summary.total_weights - summary.zeros,
      'total_weights': summary.total_weights,
      'parameters': model.count_params(),
      'flops': smaller_network.flops(model, self._config.keras),
      'test_accuracy': test,
      'validation_accuracy': validation,
      'dense_parameters_bytes': sum(w.nbytes for w in weights),
      **exports.results(written),
      'train_examples': data.train.examples,
      'epochs': self._config.epochs,
      'steps': self._steps,
      'seconds': 0.0,
      'devices': self._devices.describe(),
      'rounds': ticket.rounds if ticket else 0,
      'plateau_epoch': ticket.plateau_epoch if ticket else None,
      'rewound_to_epoch': ticket.rewound_to_epoch if ticket else None,
      'versions': provenance.versions(self._config.keras),
    }

  def _report(
    self,
    history: dict[str, list[float]],
    results: dict[str, Any],
    summary: tf_unilth.SparsitySummary,
    histograms: dict[str, Any],
  ) -> None:
    drawn: list[str] = []
    if self._config.plots and figures.available():
      title = (
        f'{self._recipe.name}, {self._config.pruning.method}: '
        f'test accuracy {results["test_accuracy"]:.2%} '
        f'at {results["sparsity"]:.2%} zeros'
      )
      plots.draw(
        self._directory,
        title,
        history,
        results,
        summary,
        histograms,
      )
      drawn = list(plots.FILES)
    report.write(
      self._directory,
      self._config.command,
      self._values,
      results,
      drawn,
    )

  def _accuracy(self, model: Any, split: Split) -> float:
    batches = split.batches(self._config.batch_size)
    return model.evaluate(self._devices.as_input(batches), verbose=0)[1]

"""A recipe as a HyperModel of keras-tuner."""

import pathlib
from typing import Any

import keras_tuner

from recipes.training import optimization, run_directory
from recipes.training.devices import Devices
from recipes.training.recipe import Recipe
from recipes.training.run_config import RunConfig

# The learning rate is searched from 1/4 to 4 times that of the recipe.
_FACTOR = 4


class RecipeModel(keras_tuner.HyperModel):
  """Builds and trains a recipe's model for a search.

  The learning rate is a hyperparameter, unless a flag sets it.

  Args:
    recipe: what to train on what.
    config: what the flags say.
    devices: that the models train on.
    searches_rate: whether the learning rate is a hyperparameter.
  """

  def __init__(
    self,
    recipe: Recipe,
    config: RunConfig,
    devices: Devices,
    searches_rate: bool,
  ):
    super().__init__(recipe.name)
    self.recipe = recipe.configured(config.recipe_flags)
    self.config, self._searches_rate = config, searches_rate
    self._devices = devices
    self.data = self.recipe.load(config.data_options)
    self._per_epoch = -(-self.data.train.examples // self.config.batch_size)

  def build(self, hp: keras_tuner.HyperParameters) -> Any:
    """Returns the compiled model, not wrapped."""
    rate = self.config.learning_rate
    if self._searches_rate:
      rate = hp.Float(
        'learning_rate',
        rate / _FACTOR,
        rate * _FACTOR,
        sampling='log',
        default=rate,
      )
    self._devices.set_seed(self.config.seed)
    model = optimization.build(
      self.recipe, self.config, self.data.image_shape, self.data.classes
    )
    schedule = optimization.learning_rate(
      self.recipe, self.config, self.config.epochs * self._per_epoch, rate
    )
    optimization.compile_model(model, self.recipe, self.config, schedule)
    return model

  def fit(
    self,
    hp: keras_tuner.HyperParameters,
    model: Any,
    *args: Any,
    epochs: int,
    initial_epoch: int = 0,
    **kwargs: Any,
  ) -> Any:
    """Trains a model for some epochs; returns Keras's `History`."""
    del hp
    data, batch_size = self.data, self.config.batch_size
    as_input = self._devices.as_input
    return model.fit(
      as_input(
        data.train.epochs(batch_size, self.config.seed, initial_epoch, epochs)
      ),
      *args,
      steps_per_epoch=self._per_epoch,
      validation_data=as_input(data.validation.batches(batch_size)),
      epochs=epochs,
      initial_epoch=initial_epoch,
      # Keras 3 would shuffle batches, whose order is that of the seed.
      shuffle=self.config.keras == 'tf_keras',
      **kwargs,
    )

  def dense_accuracy(self, path: pathlib.Path) -> float:
    """Returns the validation accuracy of the dense model, with the defaults.

    Args:
      path: of the file that stores it, so that the model is trained once.
    """
    config = self.config.result_values(self.recipe.name)
    if path.exists():
      known = run_directory.read_json(path, ('config', 'accuracy'))
      if known['config'] == config:
        return known['accuracy']
    self.config.keras_module.utils.set_random_seed(self.config.seed)
    hp = keras_tuner.HyperParameters()
    model = self.build(hp)
    history = self.fit(hp, model, epochs=self.config.epochs, verbose=0)
    accuracy = float(history.history['val_accuracy'][-1])
    if self.config.verbose:
      print(f'dense: val_accuracy {accuracy:.4f}', flush=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {'config': config, 'accuracy': accuracy}
    run_directory.write_json(path, content)
    return accuracy

  def test_accuracy(self, model: Any) -> float:
    """Returns the accuracy of a compiled model on the test set."""
    batches = self.data.test.batches(self.config.batch_size)
    found = model.evaluate(
      self._devices.as_input(batches), verbose=0, return_dict=True
    )
    return float(found['accuracy'])

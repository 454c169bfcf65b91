"""The networks of the recipes, in either Keras; all of them give logits."""

import functools
from collections.abc import Callable
from typing import Any

from recipes.networks import resnet
from recipes.networks.small import digits_cnn, lenet_300_100, small_cnn
from recipes.networks.vgg import vgg16

# From the module of a Keras, (height, width, channels) and the classes.
Build = Callable[[Any, tuple[int, ...], int], Any]


def application(
  name: str, keras: Any, input_shape: tuple[int, ...], classes: int
) -> Any:
  """Returns an untrained network of keras.applications.

  Args:
    name: of the network in keras.applications.
    keras: the module of a Keras.
    input_shape: height, width, channels.
    classes: number of labels.
  """
  return getattr(keras.applications, name)(
    weights=None,
    input_shape=input_shape,
    classes=classes,
    classifier_activation=None,
  )


resnet50: Build = functools.partial(application, 'ResNet50')
mobilenet: Build = functools.partial(application, 'MobileNet')

MODELS: dict[str, Build] = {
  'mobilenet': mobilenet,
  'resnet50': resnet50,
  'resnet18': resnet.resnet18,
  'resnet56': resnet.resnet56,
  'resnet20': resnet.resnet20,
  'vgg16': vgg16,
  'lenet_300_100': lenet_300_100,
  'digits_cnn': digits_cnn,
  'small_cnn': small_cnn,
}

"""VGG-16 for small images."""

from typing import Any

# Filters of each convolution; M halves the size.
_VGG16 = (64, 64, 'M', 128, 128, 'M', *(256,) * 3, 'M', *(512,) * 3, 'M')


def vgg16(keras: Any, input_shape: tuple[int, ...], classes: int) -> Any:
  """Returns VGG-16 with batch normalization and one dense layer.

  It is the network for 32x32 images of the pruning literature (14.7 million
  parameters), not that of Simonyan and Zisserman (2015) for 224x224 images with
  three dense layers (138 million).
  """
  layers = keras.layers
  stack: list[Any] = [layers.Input(input_shape)]
  for filters in (*_VGG16, *(512,) * 3):
    if filters == 'M':
      stack.append(layers.MaxPool2D())
      continue
    stack += [
      layers.Conv2D(
        filters,
        3,
        padding='same',
        use_bias=False,
        kernel_initializer='he_normal',
      ),
      layers.BatchNormalization(momentum=0.9),
      layers.ReLU(),
    ]
  stack += [layers.GlobalAveragePooling2D(), layers.Dense(classes)]
  return keras.Sequential(stack, name='vgg16')

"""Error messages for models that TFLite cannot convert."""

import re

_DTYPES = {  # Keys as the converter writes them.
  'f64': 'float64',
  'f16': 'float16',
  'bf16': 'bfloat16',
  'complex<f32>': 'complex64',
  'complex<f64>': 'complex128',
}


class ConversionError(Exception):
  """A failed conversion, with the converter's message."""


def failure_message(
  name: str, error: Exception, quantization: str | None
) -> str:
  """Returns why no file was written, and what to do.

  Args:
    name: the model's name.
    error: a `ConversionError`, or the failed comparison of a converted file.
    quantization: as in `export_tflite`.

  >>> failure_message('net', ConversionError('no such shape'), None)
  'TFLite cannot convert the model: no such shape. Use export_saved_model.'
  """
  text = str(error)
  missing = re.findall(r'^(?:TF Select|Custom) ops: (.*)$', text, re.M)
  dtypes = _unsupported_dtypes(text)
  if dtypes:
    return (
      f'{name!r} computes {", ".join(missing)} in {", ".join(dtypes)}, which '
      'TFLite does not support. Use tf.cast to compute it in float32, or use '
      'export_saved_model.'
    )
  if missing or 'SELECT_TF_OPS' in text:
    return (
      f'{name!r} needs TensorFlow operations that TFLite does not have (its '
      f'"select ops"): {", ".join(missing) or "tensor lists"}. Most TFLite '
      'runtimes cannot run them, so no file was written. Use '
      'export_saved_model.'
    )
  if isinstance(error, ConversionError):
    reason = (text.splitlines() or ['no message'])[0][:300].rstrip('.')
    return f'TFLite cannot convert the model: {reason}. {_advice(quantization)}'
  return (
    f'no file was kept, since its outputs are wrong: {text}. '
    f'{_advice(quantization)}'
  )


def _advice(quantization: str | None) -> str:
  if quantization is None:
    return 'Use export_saved_model.'
  if quantization == 'float16':
    return 'Use quantization=None.'
  return "Use quantization=None or 'float16'."


def _unsupported_dtypes(text: str) -> list[str]:
  """Returns the unsupported dtypes of the operations the converter lists."""
  lines = [line for line in text.splitlines() if line.startswith('\ttf.')]
  found = re.findall(r'tensor<(?:[\d?]+x)*(\w+(?:<\w+>)?)>', '\n'.join(lines))
  return sorted({_DTYPES[dtype] for dtype in found if dtype in _DTYPES})

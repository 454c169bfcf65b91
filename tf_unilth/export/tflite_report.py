"""The report of a TFLite export."""

import dataclasses

from tf_unilth.engines.tfmot import sparsity_summary
from tf_unilth.export.tflite_file import StoredTensor
from tf_unilth.export.tflite_run import Port


@dataclasses.dataclass(frozen=True)
class TFLiteExport:
  """What export_tflite wrote; prints as the report of its verification.

  Args:
    path: the file.
    bytes: its size.
    dense_bytes: the size of a plain conversion, dense and float32.
    encoding: how the weights lie, `'sparse'` or `'dense'`.
    quantization: as asked for.
    batch: the batch size that it takes, `None` if any.
    difference: the largest of the outputs, as a fraction of the largest.
    tolerance: the largest difference that would have been accepted.
    zeros: how many zeros the model's kernels have.
    zeros_kept: how many of them the file has.
    notes: what else there is to know, a sentence each.
    inputs: of the file, with their types and, if quantised, scales.
    outputs: likewise.
  """

  path: str
  bytes: int
  dense_bytes: int
  encoding: str
  quantization: str | None
  batch: int | None
  difference: float
  tolerance: float
  zeros: int
  zeros_kept: int
  notes: tuple[str, ...] = ()
  inputs: tuple[Port, ...] = ()
  outputs: tuple[Port, ...] = ()

  def __str__(self) -> str:
    batch = 'any batch size' if self.batch is None else f'batch {self.batch}'
    ratio = self.dense_bytes / self.bytes
    smaller = f' ({ratio:.1f} times smaller)' if ratio > 1.05 else ''
    lines = [
      f'{self.bytes:,} bytes{smaller}; a plain conversion has '
      f'{self.dense_bytes:,}',
      f'{self.encoding} {self.quantization or "float32"}, {batch}',
      f'outputs differ by {self.difference:.1e} of the largest at most '
      f'({self.tolerance:g} allowed), with and without delegates',
      f'zeros kept: {self.zeros_kept:,} of {self.zeros:,}',
      *_quantized_ports('inputs', self.inputs),
      *_quantized_ports('outputs', self.outputs),
      *(f'note: {note}' for note in self.notes),
    ]
    return '\n'.join(lines)


def _quantized_ports(what: str, ports: tuple[Port, ...]) -> list[str]:
  """Returns a line on inputs or outputs, if any is quantised."""
  if not any(port.scale for port in ports):
    return []
  return [f'{what}: ' + '; '.join(str(port) for port in ports)]


def count_zeros_kept(
  kernels: tuple[sparsity_summary.KernelSparsity, ...],
  stored: tuple[StoredTensor, ...],
) -> int:
  """Returns how many of the kernels' zeros a file has.

  The converter renames, transposes and splits kernels. So each is looked for
  among what has as many elements, and those that are left, among all the rest.
  """
  rest = sorted(stored, key=lambda tensor: tensor.zeros)
  kept, missing = 0, 0
  for row in sorted(kernels, key=lambda row: row.zeros):
    same = [t for t in rest if t.weights == row.weights]
    enough = [t for t in same if t.zeros >= row.zeros] or same[-1:]
    if enough:
      rest.remove(enough[0])
      kept += min(enough[0].zeros, row.zeros)
    else:
      missing += row.zeros
  return kept + min(missing, sum(tensor.zeros for tensor in rest))

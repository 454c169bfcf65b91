"""The report of a TFLite export."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from tf_unilth.engines.kernel_sparsity import KernelSparsity
from tf_unilth.export.kernel_encoding import KernelEncoding, encoding_lines

if TYPE_CHECKING:  # Both import TensorFlow.
  from tf_unilth.export.tflite_file import StoredTensor
  from tf_unilth.export.tflite_verification import Port


@dataclasses.dataclass(frozen=True)
class TFLiteExport:
  """The result of `export_tflite`; prints as a report.

  Args:
    path: the file.
    bytes: the size of the file.
    dense_bytes: the size of a plain conversion, dense and float32.
    encoding: the encoding of the weights, `'sparse'` or `'dense'`.
    quantization: as passed to `export_tflite`.
    batch: the batch size of the file; `None` if variable.
    difference: the largest output difference, as a fraction of the largest
      output.
    tolerance: the largest difference allowed.
    zeros: the number of zeros in the model's kernels.
    zeros_kept: the number of those zeros in the file.
    notes: remarks, one sentence each.
    inputs: the inputs of the file, with types and, if quantized, scales.
    outputs: likewise, the outputs.
    kernels: how the file stores and runs each kernel, and why.
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
  kernels: tuple[KernelEncoding, ...] = ()

  def __str__(self) -> str:
    batch = 'any batch size' if self.batch is None else f'batch {self.batch}'
    ratio = self.dense_bytes / self.bytes
    smaller = f' ({ratio:.1f} times smaller)' if ratio > 1.05 else ''
    run_sparse = [k for k in self.kernels if k.encoding.startswith('sparse')]
    if self.encoding == 'sparse' and not run_sparse:
      batch += '; no kernel runs sparse'
    lines = [
      f'{self.bytes:,} bytes{smaller}; a plain conversion has '
      f'{self.dense_bytes:,}',
      f'{self.encoding} {self.quantization or "float32"}, {batch}',
      f'outputs differ by at most {self.difference:.1e} of the largest '
      f'({self.tolerance:g} allowed), with and without delegates',
      f'zeros kept: {self.zeros_kept:,} of {self.zeros:,}',
      *encoding_lines(self.kernels),
      *_quantized_ports('inputs', self.inputs),
      *_quantized_ports('outputs', self.outputs),
      *(f'note: {note}' for note in self.notes),
    ]
    return '\n'.join(lines)


def _quantized_ports(kind: str, ports: tuple[Port, ...]) -> list[str]:
  """Returns a line on all inputs or outputs if any of them is quantized."""
  if not any(port.scale for port in ports):
    return []
  return [f'{kind}: ' + '; '.join(str(port) for port in ports)]


def count_zeros_kept(
  kernels: tuple[KernelSparsity, ...],
  found: tuple[KernelEncoding, ...],
  others: tuple[StoredTensor, ...],
) -> int:
  """Returns the number of the kernels' zeros that a file has.

  Zeros of kernels that are not found in the file, since the converter splits
  or rewrites them, are compared with those of all other tensors together.

  Args:
    kernels: the rows of the model's `sparsity_summary`.
    found: how the file stores each of them, in the same order.
    others: the file's tensors that are none of the found kernels.
  """
  pairs = list(zip(kernels, found, strict=True))
  kept = sum(one.zeros_kept for _, one in pairs if one.zeros_kept is not None)
  missing = sum(row.zeros for row, one in pairs if one.zeros_kept is None)
  return kept + min(missing, sum(tensor.zeros for tensor in others))

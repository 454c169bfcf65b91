"""Every number of README and docs is read from a file, or no measurement."""

import re

import pytest

from recipes.common import result_index
from tests.documents import (
  channel_claims,
  check_claims,
  controls_claims,
  cost_claims,
  disk_claims,
  document_numbers,
  extrusion_claims,
  file_claims,
  mnist_claims,
  small_network_claims,
)

_DOCUMENTS = sorted(
  ['README.md']
  + [f'docs/{path.name}' for path in document_numbers.ROOT.glob('docs/*.md')]
)
_CLAIMS = {
  'README.md': mnist_claims.README,
  'docs/comparison.md': (
    *mnist_claims.DOCS,
    *controls_claims.DOCS,
    *small_network_claims.DOCS,
    *extrusion_claims.DOCS,
  ),
  'docs/channels.md': check_claims.CHANNELS,
  'docs/costs.md': cost_claims.COSTS,
  'docs/channels_accuracy.md': channel_claims.ACCURACY,
  'docs/early_stopping.md': check_claims.EARLY_STOPPING,
  'docs/faster.md': cost_claims.FASTER,
  'docs/keras3.md': mnist_claims.KERAS_3,
  'docs/methods.md': controls_claims.METHODS,
  'docs/models.md': check_claims.MODELS,
  'docs/recipes.md': cost_claims.RECIPES,
  'docs/results.md': mnist_claims.GUIDE,
  'docs/tflite.md': check_claims.TFLITE,
  'docs/trust.md': (
    *disk_claims.TRUST,
    *file_claims.TRUST,
    *check_claims.TRUST,
  ),
  'docs/tuner.md': check_claims.TUNER,
}
_SPARSITY = r'(?:80|90|95|98|99|99\.5)%'
_SPARSITIES = rf'(?:\d\d(?:\.5)?, )*(?:\d\d and )?{_SPARSITY}'
# Numbers that no one has measured. A pattern holds the words that say what the
# number is, so that a measurement does not pass for it.
_EVERYWHERE = (
  r'Python 3\.\d+(?: to 3\.\d+)?',
  r'TensorFlow 2\.21',
  r'Keras [23]\b',
  r'Apache 2\.0',
  # Settings: the target of a run, its epochs, seeds and data.
  rf'(?<!ends )(?<!ended )\b[Aa]t {_SPARSITIES}(?=[ ;:,.)])',
  rf'{_SPARSITY}(?:,| on MNIST,) (?=three seeds|one seed|seed 0)',
  r'\b[Ss]eeds? \d(?:(?:, \d)+|(?: and \d))?\b',
  r'\b(?:15|60) epochs',
  r'\b\d+x\d+ pixels',
  r'\b[12]0,000 images',
  r'\bstage \d',
  r'\b95% interval',
)
_ALLOWED = {
  'README.md': (
    r'Keras 3\.7 or newer',
    r'digits to a 90% sparse SavedModel',
    # Publications.
    r'\(OpenReview, 2022\)',
    r'\(D?LTH, ICLR \d{4}\)',
  ),
  'docs/faster.md': (
    # The converter's rule, and what follows from it.
    r'(?:up to|by chance above) 96\.5%',
    r'Below about 60% zeros',
    r'blocks of 4 inputs of a Dense layer',
    r'no multiple of 4 it pads them',
    r'In int8 blocks have 16 inputs:',
    r'Below 1 is slower\.',
  ),
  'docs/comparison.md': (
    r'\(Renda et al\. 2020\)',
    r'\(Glandorf et al\. 2023\)',
    r'weights rewound to step 0 or 100;',
    r'where the publications train for 160 on all images',
    # Settings that were tried.
    r'95% of the rest for finetuning',
    r'\(power 0\), powers of 2 and 3\.',
    r'of 2, 3 or 4 of the',
    r'A = 3 \(UniLTH\) and 10 \(UniDLTH\) a round',
    r'power 1 \|',
  ),
  'docs/early_stopping.md': (
    # Formulas, and where they are from.
    r'\(w - w\\\*\)ᵀ H \(w - w\\\*\) / 2\.',
    r'1 - \(1 - e h\)ᵗ',
    r'1 / \(t e\)',
    r'h t e / \(1 \+ h t e\)',
    r'e / \(1 - m\)\.',
    r'\*Deep Learning\*, 7\.8,',
    r'start at 0 is',
    r'are about to go to 0\.',
    # What is computed.
    r'for 25 directions of curvature 0\.001 to 1, e = 0\.5:',
  ),
  'docs/tuner.md': (
    r'loses at most 0\.01 of the dense accuracy',
    r'from epoch 0:',
    r'`worker_timeout` seconds \(60\)',
  ),
  # Settings, definitions and exit codes.
  'docs/costs.md': (
    r'leaves at 0 a weight whose gradient and slots are 0',
    r'over 25 million weights',
    r'random weights at 95%, packed',
  ),
  'docs/custom_loop.md': (r'\*\*Stage 1 does not end',),
  'docs/start.md': (r'sets 90% of its weights to zero',),
  'docs/pretrained.md': (
    r'epochs are enough for 80 or 90%\.',
    r'on MNIST to 95% in five epochs',
    r'Adam at 1e-3',
  ),
  'docs/methods.md': (r'go back to: 0 in small networks',),
  'docs/faq.md': (r'The target is 0\.\*\*',),
  'docs/glossary.md': (
    r'1/2 lambda w\^2',
    r'kept \(1\) or zero \(0\)',
    r'between 0 and 1 ',
    r'1 dense, 2 rounds, 3 finetuning',
  ),
  'docs/limits.md': (r'with a batch of 1 ',),
  'docs/tflite.md': (
    r'networks with 90% zeros',
    r'has 80 and 95% too',
    r'numbers of 8 bits',
    r'with 16 inputs in',
    r'with a batch of 1,',
  ),
  'docs/resume.md': (
    r'needed: 1\. The',
    r' 2\. `CheckpointAndResume` stands',
    r' 3\. The directory',
    r'exit codes 143 and 130\.',
  ),
  'docs/recipes.md': (
    r'a network that is 90% zeros',
    r'15% of the others for validation',
  ),
  'docs/logs.md': (
    r'\| 1 \| dense \|',
    r'\| 2 \| rounds \|',
    r'\| 3 \| finetuning \|',
    r'only stages 2 and 3,',
    r'"4 of 4 rounds to 90%"',
    r'1/2 lambda w\^2',
    r'rises from 0 over',
    r'With A = 3 a twentieth',
  ),
  'docs/results.md': (r'A target of 0 trains',),
  'docs/channels_accuracy.md': (
    r'\b5,000 images',
    r'beside its own at 75% with',
    r'on 3,000 images',
    r'The seeds of the tables, 10 to 14,',
    r'is as fast as a network without 75% of its FLOPs',
    r'in calls with 32 images',
  ),
  'docs/models.md': (
    r'How far 40 steps to a target of 0 end',
    r'with UniLTH to 80% \(per layer\)',
    r'precisely 80% of them are zero',
  ),
}


def _claims(document):
  parts = [part for claim in _CLAIMS.get(document, ()) for part in claim()]
  return [' '.join(part.split()) for part in parts]


def _reported_rows():
  """Returns rows of reports; results_test compares whole tables."""
  for report in result_index.RESULTS.glob('comparison/*/*/report.md'):
    for line in report.read_text().splitlines():
      if line.startswith('| '):
        yield line


@pytest.mark.parametrize(
  ('document', 'claim'),
  [
    pytest.param(document, claim, id=f'{document}-{claim.__name__}')
    for document, claims in _CLAIMS.items()
    for claim in claims
  ],
)
def test_a_document_says_what_the_files_say(document, claim):
  words = document_numbers.words(document)
  for part in claim():
    assert ' '.join(part.split()) in words


@pytest.mark.parametrize('document', _DOCUMENTS)
def test_a_document_has_no_number_that_nothing_reads(document):
  unread = document_numbers.numbers(
    document_numbers.words(document),
    [*_claims(document), *_reported_rows()],
    [*_EVERYWHERE, *_ALLOWED.get(document, ())],
  )
  assert not unread, '\n'.join(unread)


def test_no_allowance_is_left_over():
  texts = {name: document_numbers.words(name) for name in _DOCUMENTS}
  for document, patterns in _ALLOWED.items():
    for pattern in patterns:
      assert re.search(pattern, texts[document]), pattern
  for pattern in _EVERYWHERE:
    assert any(re.search(pattern, text) for text in texts.values()), pattern


@pytest.mark.parametrize(
  'text',
  [
    'It is 3.5 times as fast.',
    'It loses -0.1 points.',
    '| unilth | 98.40 ± 0.10 (5) |',
    'It takes `0.3` s.',
    'Files have 11,687,804 bytes.',
    'At most 2e-07 apart.',
    'ResNet-20 reaches 98% there.',
    'Its accuracy rises to 98%.',
    'It ends at 98%, with a third of the epochs.',
  ],
)
def test_a_number_that_is_typed_in_is_found(text):
  assert document_numbers.numbers(text, [], _EVERYWHERE)


@pytest.mark.parametrize(
  'text',
  [
    'LeNet-300-100 in float32 on x86, with `--seed=3` (see [it](a/b2.md)).',
    'UniLTH at 90, 95 and 98%, seeds 0, 1, 2, with TensorFlow 2.21.',
  ],
)
def test_names_code_and_settings_are_no_measurements(text):
  assert not document_numbers.numbers(text, [], _EVERYWHERE)


def test_a_claim_that_has_changed_is_a_number_that_nothing_reads():
  text, claim = 'It is 3.5 times as fast.', 'is 3.5 times as fast'
  assert not document_numbers.numbers(text, [claim])
  assert document_numbers.numbers(text, [claim.replace('5', '4')])

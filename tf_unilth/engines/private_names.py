"""The private names of TensorFlow, Keras and tfmot that the library uses.

Nothing promises that they stay. `private_name_check` looks for them in the
installed versions before a room uses them, so that versions in which they have
moved raise one error instead of a strange one in the middle of a run.
`tests/engines/private_names_test.py` finds each use by its syntax.
"""

from typing import NamedTuple

# What the suite runs with; `.ci/versions` adds the oldest TensorFlow.
TESTED = {
  'tensorflow': '2.16 and 2.21',
  'tf_keras': '2.16 and 2.21',
  'keras': '3.15',
  'keras_tuner': '1.4.8',
  'tensorflow_model_optimization': '0.8.1',
}


class Row(NamedTuple):
  """Names of one place, and the rooms that use them.

  Args:
    where: a module, or `module:attribute` of a class or namespace in it.
    names: of attributes of it or of its instances; one that ends in `_` is the
      beginning of names.
    rooms: folders of `tf_unilth`.
  """

  where: str
  names: tuple[str, ...]
  rooms: tuple[str, ...]


def _row(where: str, names: str, rooms: str) -> Row:
  return Row(where, tuple(names.split()), tuple(rooms.split()))


_TFMOT, _RESUME = 'engines/tfmot', 'resume/tfmot'
_KERAS_3, _RESUME_3 = 'engines/keras3', 'resume/keras3'
_DATA_3 = 'keras.src.trainers.data_adapters'
_PRUNING = 'tensorflow_model_optimization.python.core.sparsity.keras'
_TUNERS = 'keras_tuner.src.tuners'
_ATTENTION = 'tf_keras.src.layers.attention.multi_head_attention'

ROWS: tuple[Row, ...] = (
  # TensorFlow.
  _row(
    'tensorflow:__internal__.tracking',
    'Trackable AutoTrackable no_automatic_dependency_tracking',
    f'{_TFMOT} export',
  ),
  _row('tensorflow.core.protobuf', 'trackable_object_graph_pb2', 'inspection'),
  _row('tensorflow.lite.python', 'schema_py_generated', 'export'),
  _row('tensorflow.lite.python.convert', 'mlir_sparsify', 'export'),
  _row('tensorflow.lite.python.convert_phase', 'ConverterError', 'export'),
  _row(
    'tensorflow.python.data.ops.batch_op:_ParallelBatchDataset',
    '_deterministic',
    'resume',
  ),
  _row(
    'tensorflow.python.data.ops.dataset_ops:DatasetV2',
    '_functions _inputs',
    'resume',
  ),
  _row(
    'tensorflow.python.data.ops.from_tensors_op:_TensorDataset',
    '_tensors',
    'resume',
  ),
  _row(
    'tensorflow.python.data.ops.from_tensor_slices_op:_TensorSliceDataset',
    '_tensors',
    'resume',
  ),
  _row(
    'tensorflow.python.distribute.values:DistributedValues',
    '_primary',
    f'{_TFMOT} export',
  ),
  _row('tensorflow.python.eager', 'context', 'resume'),
  _row('tensorflow.python.eager.context:Context', '_rng', 'resume'),
  _row(
    'tensorflow.python.eager.polymorphic_function.attributes',
    '_noinline',
    'export',
  ),
  _row(
    'tensorflow.python.eager.polymorphic_function.polymorphic_function:Function',
    '_list_all_concrete_functions',
    f'{_RESUME} {_RESUME_3}',
  ),
  _row('tensorflow.python.framework', 'op_def_registry', 'resume'),
  _row(
    'tensorflow.python.framework.convert_to_constants',
    'convert_variables_to_constants_v2',
    'inspection',
  ),
  _row('tensorflow.python.framework.ops:Graph', '_get_function', _TFMOT),
  _row('tensorflow.python.ops.lookup_ops', 'LookupInterface', _TFMOT),
  _row(
    'tensorflow.python.ops.resource_variable_ops',
    '_should_act_as_resource_variable',
    'export',
  ),
  _row(
    'tensorflow.python.ops.resource_variable_ops:BaseResourceVariable',
    '_export_to_saved_model_graph _write_object_proto',
    'export',
  ),
  _row(
    'tensorflow.python.trackable.constants',
    '_CHECKPOINTABLE_OBJECT_GRAPH',
    'inspection',
  ),
  _row(
    'tensorflow.python.trackable.autotrackable:AutoTrackable',
    '_trackable_children _self_',
    f'{_TFMOT} resume export',
  ),
  _row('tensorflow.python.trackable.resource', 'RestoredResource', _TFMOT),
  _row(
    'tensorflow.python.trackable.resource:TrackableResource',
    '_create_resource _destroy_resource _initialize '
    '_export_to_saved_model_graph _trackable_children',
    'export',
  ),
  # tfmot.
  _row('tensorflow_model_optimization.python.core.keras', 'utils', _TFMOT),
  _row(_PRUNING, 'pruning_impl pruning_wrapper', _TFMOT),
  _row(f'{_PRUNING}.pruning_impl:Pruning', '_pruning_schedule', _TFMOT),
  _row(
    f'{_PRUNING}.pruning_wrapper:PruneLowMagnitude',
    '_PRUNE_CALLBACK_ERROR_MSG _batch_input_shape',
    _TFMOT,
  ),
  # tf_keras.
  _row('tf_keras:__internal__', 'KerasTensor', _TFMOT),
  _row('tf_keras.src.backend', 'RandomGenerator', _TFMOT),
  _row(
    'tf_keras.src.backend:RandomGenerator',
    '_built _generator _maybe_init _rng_type',
    _RESUME,
  ),
  _row(
    'tf_keras.src.callbacks:ModelCheckpoint',
    '_batches_seen_since_last_saving _last_batch_seen',
    'resume',
  ),
  _row(
    'tf_keras.src.engine.base_layer:BaseRandomLayer',
    '_random_generator',
    _RESUME,
  ),
  _row(
    'tf_keras.src.engine.base_layer:Layer',
    '_batch_input_shape _build_input_shape _call_spec _flatten_layers '
    '_name_scope _obj_',
    f'{_TFMOT} compression resume',
  ),
  _row('tf_keras.src.engine.data_adapter', 'GeneratorDataAdapter', _TFMOT),
  _row(
    'tf_keras.src.engine.data_adapter:DataHandler',
    '_adapter _dataset _inferred_steps _initial_epoch _initial_step',
    f'{_TFMOT} resume {_RESUME}',
  ),
  _row(
    'tf_keras.src.engine.data_adapter:TensorLikeDataAdapter', '_shuffle', _TFMOT
  ),
  _row(
    'tf_keras.src.engine.functional',
    'Functional get_network_config',
    f'{_TFMOT} {_RESUME}',
  ),
  _row(
    'tf_keras.src.engine.functional:Functional',
    '_network_nodes _nodes_by_depth',
    _TFMOT,
  ),
  _row('tf_keras.src.engine.node:Node', '_keras_history', 'compression'),
  _row(
    'tf_keras.src.engine.training:Model',
    '_cluster_coordinator _compile_config _is_graph_network _should_eval '
    '_steps_per_execution _train_counter',
    f'{_TFMOT} {_RESUME}',
  ),
  _row('tf_keras.src.layers.core.tf_op_layer', 'TFOpLambda', _TFMOT),
  _row('tf_keras.src.layers.preprocessing.index_lookup', 'IndexLookup', _TFMOT),
  _row('tf_keras.src.layers.rnn.cell_wrappers', '_RNNCellWrapper', _TFMOT),
  _row('tf_keras.src.layers.rnn.lstm:LSTM', '_could_use_gpu_kernel', 'export'),
  _row('tf_keras.src.layers.rnn.gru:GRU', '_could_use_gpu_kernel', 'export'),
  _row(
    f'{_ATTENTION}:MultiHeadAttention',
    '_built_from_signature _key_dense _key_shape _num_heads _output_dense '
    '_query_dense _query_shape _value_dense _value_dim _value_shape',
    _TFMOT,
  ),
  _row(
    'tf_keras.src.losses:Loss',
    '_allow_sum_over_batch_size _name_scope',
    'resume',
  ),
  _row('tf_keras.src.losses:LossFunctionWrapper', '_fn_kwargs', 'resume'),
  _row(
    'tf_keras.src.mixed_precision.autocast_variable:AutoCastVariable',
    '_variable',
    _TFMOT,
  ),
  _row(
    'tf_keras.src.optimizers.legacy.optimizer_v2:OptimizerV2',
    '_create_all_weights _get_hyper _name',
    _TFMOT,
  ),
  _row(
    'tf_keras.src.optimizers.optimizer:_BaseOptimizer',
    '_index_dict _learning_rate _var_key _variables',
    f'{_TFMOT} engines',
  ),
  _row('tf_keras.src.saving.serialization_lib', 'SafeModeScope', 'compression'),
  _row('tf_keras.src.utils.generic_utils', '_is_default', 'algorithms'),
  _row(
    'tf_keras.src.utils.traceback_utils', '_keras_call_info_injected', _TFMOT
  ),
  # Keras 3.
  _row('keras.src.backend.common', 'global_state', _RESUME_3),
  _row('keras.src.backend.common.variables:Variable', '_value', _RESUME_3),
  _row(
    'keras.src.callbacks.backup_and_restore:BackupAndRestore',
    '_load_model _save_model _weights_path',
    f'{_KERAS_3} engines',
  ),
  _row(
    'keras.src.callbacks.model_checkpoint:ModelCheckpoint',
    '_batches_seen_since_last_saving _last_batch_seen',
    'resume',
  ),
  _row(
    'keras.src.layers.layer:Layer',
    '_build_shapes_dict _flatten_layers _layers _trainable_variables',
    _KERAS_3,
  ),
  _row('keras.src.models', 'functional', _RESUME_3),
  _row('keras.src.models.sequential:Sequential', '_functional', _KERAS_3),
  _row(
    'keras.src.ops.function:Function',
    '_inputs_struct _nodes_by_depth',
    _KERAS_3,
  ),
  _row(
    'keras.src.optimizers.base_optimizer:BaseOptimizer',
    '_get_variable_index _iterations _learning_rate _tracker '
    '_trainable_variables _trainable_variables_indices _var_key _variables',
    f'{_KERAS_3} engines',
  ),
  _row('keras.src.random', 'seed_generator', _RESUME_3),
  _row(
    f'{_DATA_3}.array_data_adapter:ArrayDataAdapter',
    '_inputs _shuffle',
    _RESUME_3,
  ),
  _row(f'{_DATA_3}.tf_dataset_adapter:TFDatasetAdapter', '_dataset', _RESUME_3),
  _row(
    'keras.src.trainers.epoch_iterator:EpochIterator',
    '_current_iterator _enumerate_iterator _get_iterator _steps_seen',
    f'{_RESUME_3} engines',
  ),
  _row(
    'keras.src.trainers.trainer:Trainer',
    '_compile_config _initial_epoch _should_eval _symbolic_build',
    f'{_RESUME_3} engines',
  ),
  # keras-tuner.
  _row('keras_tuner.engine.base_tuner', 'BaseTuner', 'tuner'),
  _row('keras_tuner.engine.trial', 'Trial', 'tuner'),
  _row('keras_tuner.src', 'protos', 'tuner'),
  _row('keras_tuner.src.distribute', 'oracle_chief oracle_client', 'tuner'),
  _row('keras_tuner.src.engine', 'hypermodel', 'tuner'),
  _row(
    'keras_tuner.src.engine.base_tuner:BaseTuner',
    '_activate_all_conditions _get_tuner_fname _populate_initial_space',
    'tuner',
  ),
  _row(
    'keras_tuner.src.engine.oracle:Oracle',
    '_directory _display _duplicate _project_name _random_values _retry_queue '
    '_save_trial',
    'tuner',
  ),
  _row(
    f'{_TUNERS}.bayesian:BayesianOptimizationOracle', '_nonfixed_space', 'tuner'
  ),
  _row(
    f'{_TUNERS}.gridsearch:GridSearchOracle',
    '_compare _ordered_ids _populate_next',
    'tuner',
  ),
  _row(
    f'{_TUNERS}.hyperband:HyperbandOracle',
    '_brackets _current_bracket _get_num_brackets _start_new_bracket',
    'tuner',
  ),
)

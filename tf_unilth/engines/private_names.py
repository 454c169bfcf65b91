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
  """Names of one place, and a room that uses them.

  Args:
    where: a module, or `module:attribute` of a class or namespace in it.
    names: of attributes of it or of its instances; one that ends in `_` is the
      beginning of names.
    room: a folder of `tf_unilth`.
  """

  where: str
  names: tuple[str, ...]
  room: str


_FUNCTIONS = 'tensorflow.python.eager.polymorphic_function'
_PRUNING = 'tensorflow_model_optimization.python.core.sparsity.keras'
# By place and room, as in `Row`; names are separated by spaces.
_NAMES: dict[str, dict[str, str]] = {
  # TensorFlow.
  'tensorflow:__internal__.tracking': {
    'export': 'Trackable AutoTrackable',
    'engines/tfmot': 'no_automatic_dependency_tracking',
  },
  'tensorflow.core.protobuf': {'inspection': 'trackable_object_graph_pb2'},
  'tensorflow.lite.python': {'export': 'schema_py_generated'},
  'tensorflow.lite.python.convert': {'export': 'mlir_sparsify'},
  'tensorflow.lite.python.convert_phase': {'export': 'ConverterError'},
  'tensorflow.python.data.ops.batch_op:_ParallelBatchDataset': {
    'resume': '_deterministic',
  },
  'tensorflow.python.data.ops.dataset_ops:DatasetV2': {
    'resume': '_functions _inputs',
  },
  'tensorflow.python.data.ops.from_tensors_op:_TensorDataset': {
    'resume': '_tensors',
  },
  'tensorflow.python.data.ops.from_tensor_slices_op:_TensorSliceDataset': {
    'resume': '_tensors',
  },
  'tensorflow.python.distribute.values:DistributedValues': {
    'engines/tfmot': '_primary',
    'export': '_primary',
  },
  'tensorflow.python.eager': {'resume': 'context'},
  'tensorflow.python.eager.context:Context': {'resume': '_rng'},
  f'{_FUNCTIONS}.attributes': {
    'export': '_noinline',
  },
  f'{_FUNCTIONS}.polymorphic_function:Function': {
    'resume/tfmot': '_list_all_concrete_functions',
    'resume/keras3': '_list_all_concrete_functions',
  },
  'tensorflow.python.framework': {'resume': 'op_def_registry'},
  'tensorflow.python.framework.convert_to_constants': {
    'inspection': 'convert_variables_to_constants_v2',
  },
  'tensorflow.python.framework.ops:Graph': {'engines/tfmot': '_get_function'},
  'tensorflow.python.ops.lookup_ops': {'engines/tfmot': 'LookupInterface'},
  'tensorflow.python.ops.resource_variable_ops': {
    'export': '_should_act_as_resource_variable',
  },
  'tensorflow.python.ops.resource_variable_ops:BaseResourceVariable': {
    'export': '_export_to_saved_model_graph _write_object_proto',
  },
  'tensorflow.python.trackable.constants': {
    'inspection': '_CHECKPOINTABLE_OBJECT_GRAPH',
  },
  'tensorflow.python.trackable.autotrackable:AutoTrackable': {
    'engines/tfmot': '_trackable_children _self_',
    'export': '_trackable_children',
    'resume': '_self_',
  },
  'tensorflow.python.trackable.resource': {'engines/tfmot': 'RestoredResource'},
  'tensorflow.python.trackable.resource:TrackableResource': {
    'export': (
      '_create_resource _destroy_resource _initialize '
      '_export_to_saved_model_graph _trackable_children'
    ),
  },
  # tfmot.
  'tensorflow_model_optimization.python.core.keras': {'engines/tfmot': 'utils'},
  'tensorflow_model_optimization.python.core.sparsity.keras': {
    'engines/tfmot': 'pruning_impl pruning_wrapper',
  },
  f'{_PRUNING}.pruning_impl:Pruning': {
    'engines/tfmot': '_pruning_schedule',
  },
  f'{_PRUNING}.pruning_wrapper:PruneLowMagnitude': {
    'engines/tfmot': '_PRUNE_CALLBACK_ERROR_MSG _batch_input_shape',
  },
  # tf_keras.
  'tf_keras:__internal__': {'engines/tfmot': 'KerasTensor'},
  'tf_keras.src.backend': {'engines/tfmot': 'RandomGenerator'},
  'tf_keras.src.backend:RandomGenerator': {
    'resume/tfmot': '_built _generator _maybe_init _rng_type',
  },
  'tf_keras.src.callbacks:ModelCheckpoint': {
    'resume': '_batches_seen_since_last_saving _last_batch_seen',
  },
  'tf_keras.src.engine.base_layer:BaseRandomLayer': {
    'resume/tfmot': '_random_generator',
  },
  'tf_keras.src.engine.base_layer:Layer': {
    'engines/tfmot': '_batch_input_shape _call_spec _flatten_layers _obj_',
    'compression': '_build_input_shape',
    'resume': '_name_scope',
  },
  'tf_keras.src.engine.data_adapter': {'engines/tfmot': 'GeneratorDataAdapter'},
  'tf_keras.src.engine.data_adapter:DataHandler': {
    'engines/tfmot': '_adapter _dataset _inferred_steps',
    'resume': '_adapter',
    'resume/tfmot': '_inferred_steps _initial_epoch _initial_step',
  },
  'tf_keras.src.engine.data_adapter:TensorLikeDataAdapter': {
    'engines/tfmot': '_shuffle',
  },
  'tf_keras.src.engine.functional': {
    'engines/tfmot': 'Functional',
    'resume/tfmot': 'get_network_config',
  },
  'tf_keras.src.engine.functional:Functional': {
    'engines/tfmot': '_network_nodes _nodes_by_depth',
  },
  'tf_keras.src.engine.node:Node': {'compression': '_keras_history'},
  'tf_keras.src.engine.training:Model': {
    'engines/tfmot': (
      '_cluster_coordinator _compile_config _is_graph_network '
      '_steps_per_execution'
    ),
    'resume/tfmot': '_is_graph_network _should_eval _train_counter',
  },
  'tf_keras.src.layers.core.tf_op_layer': {'engines/tfmot': 'TFOpLambda'},
  'tf_keras.src.layers.preprocessing.index_lookup': {
    'engines/tfmot': 'IndexLookup',
  },
  'tf_keras.src.layers.rnn.cell_wrappers': {'engines/tfmot': '_RNNCellWrapper'},
  'tf_keras.src.layers.rnn.lstm:LSTM': {'export': '_could_use_gpu_kernel'},
  'tf_keras.src.layers.rnn.gru:GRU': {'export': '_could_use_gpu_kernel'},
  'tf_keras.src.layers.attention.multi_head_attention:MultiHeadAttention': {
    'engines/tfmot': (
      '_built_from_signature _key_dense _key_shape _num_heads '
      '_output_dense _query_dense _query_shape _value_dense _value_dim '
      '_value_shape'
    ),
  },
  'tf_keras.src.losses:Loss': {
    'resume': '_allow_sum_over_batch_size _name_scope',
  },
  'tf_keras.src.losses:LossFunctionWrapper': {'resume': '_fn_kwargs'},
  'tf_keras.src.mixed_precision.autocast_variable:AutoCastVariable': {
    'engines/tfmot': '_variable',
  },
  'tf_keras.src.optimizers.legacy.optimizer_v2:OptimizerV2': {
    'engines/tfmot': '_create_all_weights _get_hyper _name',
  },
  'tf_keras.src.optimizers.optimizer:_BaseOptimizer': {
    'engines/tfmot': '_index_dict _learning_rate _var_key _variables',
    'engines': '_variables',
  },
  'tf_keras.src.saving.serialization_lib': {'compression': 'SafeModeScope'},
  'tf_keras.src.utils.generic_utils': {'algorithms': '_is_default'},
  'tf_keras.src.utils.traceback_utils': {
    'engines/tfmot': '_keras_call_info_injected',
  },
  # Keras 3.
  'keras.src.backend.common': {'resume/keras3': 'global_state'},
  'keras.src.backend.common.variables:Variable': {'resume/keras3': '_value'},
  'keras.src.callbacks.backup_and_restore:BackupAndRestore': {
    'engines/keras3': '_load_model _save_model _weights_path',
    'engines': '_load_model _save_model',
  },
  'keras.src.callbacks.model_checkpoint:ModelCheckpoint': {
    'resume': '_batches_seen_since_last_saving _last_batch_seen',
  },
  'keras.src.layers.layer:Layer': {
    'engines/keras3': (
      '_build_shapes_dict _flatten_layers _layers _trainable_variables'
    ),
  },
  'keras.src.models': {'resume/keras3': 'functional'},
  'keras.src.models.sequential:Sequential': {'engines/keras3': '_functional'},
  'keras.src.ops.function:Function': {
    'engines/keras3': '_inputs_struct _nodes_by_depth',
  },
  'keras.src.optimizers.base_optimizer:BaseOptimizer': {
    'engines/keras3': (
      '_get_variable_index _iterations _learning_rate _tracker '
      '_trainable_variables _trainable_variables_indices _var_key '
      '_variables'
    ),
    'engines': '_variables',
  },
  'keras.src.random': {'resume/keras3': 'seed_generator'},
  'keras.src.trainers.data_adapters.array_data_adapter:ArrayDataAdapter': {
    'resume/keras3': '_inputs _shuffle',
  },
  'keras.src.trainers.data_adapters.tf_dataset_adapter:TFDatasetAdapter': {
    'resume/keras3': '_dataset',
  },
  'keras.src.trainers.epoch_iterator:EpochIterator': {
    'resume/keras3': (
      '_current_iterator _enumerate_iterator _get_iterator _steps_seen'
    ),
    'engines': '_enumerate_iterator',
  },
  'keras.src.trainers.trainer:Trainer': {
    'resume/keras3': (
      '_compile_config _initial_epoch _should_eval _symbolic_build'
    ),
    'engines': '_initial_epoch',
  },
  # keras-tuner.
  'keras_tuner.engine.base_tuner': {'tuner': 'BaseTuner'},
  'keras_tuner.engine.trial': {'tuner': 'Trial'},
  'keras_tuner.src': {'tuner': 'protos'},
  'keras_tuner.src.distribute': {'tuner': 'oracle_chief oracle_client'},
  'keras_tuner.src.engine': {'tuner': 'hypermodel'},
  'keras_tuner.src.engine.base_tuner:BaseTuner': {
    'tuner': (
      '_activate_all_conditions _get_tuner_fname _populate_initial_space'
    ),
  },
  'keras_tuner.src.engine.oracle:Oracle': {
    'tuner': (
      '_directory _display _duplicate _project_name _random_values '
      '_retry_queue _save_trial'
    ),
  },
  'keras_tuner.src.tuners.bayesian:BayesianOptimizationOracle': {
    'tuner': '_nonfixed_space',
  },
  'keras_tuner.src.tuners.gridsearch:GridSearchOracle': {
    'tuner': '_compare _ordered_ids _populate_next',
  },
  'keras_tuner.src.tuners.hyperband:HyperbandOracle': {
    'tuner': (
      '_brackets _current_bracket _get_num_brackets _start_new_bracket'
    ),
  },
}
ROWS = tuple(
  Row(where, tuple(names.split()), room)
  for where, rooms in _NAMES.items()
  for room, names in rooms.items()
)

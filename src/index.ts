/**
 * What a plugin author imports: the types of the definitions, the registry they enter, the error to throw, and the
 * builder of graphs.
 *
 * ```ts
 * import {graphBuilder, type RegisterHook} from 'sdq';
 *
 * const register: RegisterHook = ({registry}) => {
 *   registry.add({kind: 'model', name: 'tiny', …, build: ({inputShape, classes}) => …});
 *   return Promise.resolve();
 * };
 * export default register;
 * ```
 */
export type {Augmentation, Dataset, Split, SplitBoxes} from './data/dataset.ts';
export {ExitCode, SdqError, type SdqErrorOptions} from './errors.ts';
export {graphBuilder} from './graph/builder.ts';
export type {Array32, Graph, Shape, Weights} from './graph/graph.ts';
export type {QuantizedLayer} from './graph/layer-table.ts';
export type {ForwardOptions, Network} from './graph/network.ts';
export type {OnnxModel} from './graph/onnx/proto.ts';
export {floatTensor, integerTensor} from './graph/onnx/tensors.ts';
export {toOnnx} from './graph/onnx/to-onnx.ts';
export type {CostModel, Device, LayerFigures, LayerWork, NetworkFigures} from './hardware/cost-model.ts';
export {
  Registry,
  type ActivationQuantizerDefinition,
  type CostModelDefinition,
  type DatasetDefinition,
  type Definitions,
  type Engine,
  type EngineDefinition,
  type EngineOptions,
  type EngineProbe,
  type Exporter,
  type ExporterDefinition,
  type FetchContext,
  type Kind,
  type ChosenOutputs,
  type NetworkOutput,
  type ModelContext,
  type ModelDefinition,
  type OptionsSchema,
  type RegisterHook,
  type SearcherDefinition,
  type StrategyFormatDefinition,
  type TaskContext,
  type TaskData,
  type TaskDefinition,
  type TrackerDefinition,
  type WeightQuantizerDefinition,
} from './plugin-api/registry.ts';
export type {
  Judgement,
  SearchContext,
  Searcher,
  SearchOutcome,
  SearchSettings,
  SearchTraining,
} from './plugin-api/searcher.ts';
export type {
  ImportedBits,
  PrintedStrategy,
  StrategyFormatContext,
  TrainedGrid,
  TrainedLayer,
} from './plugin-api/strategy-format.ts';
export type {Box, TargetBoxes} from './detection/boxes.ts';
export type {YoloHeads} from './detection/decode.ts';
export type {ActivationQuantizer} from './sdq/activation-quantizer.ts';
export type {IntegerLayer, IntegerNetwork, LayerInput, LayerWeights} from './sdq/integer-network.ts';
export {outcomeOf, type BudgetResult, type SelectionOutcome} from './sdq/search/outcome.ts';
export type {KeptPoint} from './sdq/search/pareto.ts';
export type {Budget, Candidate, Decision, Precision, SearchProblem, Selection} from './sdq/search/problem.ts';
export type {LayerPrecision, Strategy} from './sdq/strategy.ts';
export type {WeightQuantizer, WeightQuantizerTraits} from './sdq/weight-quantizer.ts';
export type {GradientRule, Grid} from './tensor/kernels.ts';
export type {InputSample} from './training/calibration.ts';
export type {DistillationOptions} from './sdq/distillation.ts';
export type {TrainedParameter} from './training/optimizers.ts';
export type {Quantizers} from './training/quantized-network.ts';
export type {Agreement, Evaluation, Figures, Meter, Metric, TargetArrays, Targets, Task} from './training/task.ts';
export {
  TrackerError,
  type Cursor,
  type End,
  type Event,
  type Json,
  type Pushed,
  type RemoteRun,
  type TrackedRun,
  type Tracker,
  type TrackerContext,
  type TrackerProbe,
} from './plugin-api/tracker.ts';

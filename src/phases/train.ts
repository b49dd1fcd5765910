/**
 * Phase 2: trains the network at the bitwidths of a strategy with distillation and bin regularization
 * (SDQ, Huang et al., ICML 2022, section 3.3).
 */
import * as tf from '@tensorflow/tfjs-core';

import {graphDigest} from '../graph/digest.ts';
import {hasWeights} from '../graph/layer-table.ts';
import type {Network} from '../graph/network.ts';
import {entry, present} from '../lookup.ts';
import {binRegularization, binWeight} from '../sdq/bin-regularization.ts';
import {prefixedMetric} from '../runs/run-record.ts';
import {sharedCandidates} from '../sdq/deployment/deploy.ts';
import {matchStrategy, unquantized, type Strategy} from '../sdq/strategy.ts';
import {outputChannels} from '../sdq/weight-quantizer.ts';
import {reestimateStatistics} from '../training/batch-norm-statistics.ts';
import {calibrateInputs} from '../training/calibration.ts';
import {countMistakes} from '../training/mistakes.ts';
import {createOptimizer, networkParameters} from '../training/optimizers.ts';
import {learnedValues, quantize, restoreLearnedValues, type Quantization} from '../training/quantized-network.ts';
import {learningRateFactor} from '../training/schedules.ts';
import type {Evaluation} from '../training/task.ts';
import {createTrainStep} from '../training/train-step.ts';
import {quantizationRecord, quantizationValues} from '../training/quantization-record.ts';
import {sampleTrainingInputs} from './calibration.ts';
import {detectionFiles, watchDetections} from './detections-file.ts';
import {hardwareError, violationsOf} from './hardware-check.ts';
import {readProfiles} from './hardware-file.ts';
import {loadQuantizers} from './load-quantizers.ts';
import {worstImages, writeMistakes} from './mistakes-file.ts';
import {readModelFile, writeModelFile} from './model-file.ts';
import {runPhase, type PhaseContext} from './phase.ts';
import {byMetric, metricValue, shownMetric, type TrainResult} from './results.ts';
import {createModel, readWeights, type Session} from './session.ts';
import {checkQuantizers, readStrategy} from './strategy-file.ts';
import {createTeacher, learningLoss} from './teacher.ts';
import {createComputation, trainedTarget, type Computation} from './train-target.ts';

/** Batches over which batch-norm statistics are re-estimated once the bitwidths are fixed [ours]. */
const reestimationBatches = 50;

export interface TrainInput {
  /** File of the strategy. */
  readonly strategy: string;
  /** File of the weights to start from. */
  readonly weights: string;
  /** File of the full-precision weights: the teacher `self`. */
  readonly fullPrecision: string;
}

/** @returns the kept checkpoint: the best validation epoch's, or the last one's without a validation split */
export async function train(context: PhaseContext, input: TrainInput): Promise<TrainResult> {
  const {session, run, stop} = context;
  const {config, task} = session;
  const {epochs, schedule, binRegularization: bins, scaleRateFactor} = config.train;
  const strategy = readStrategy(input.strategy);
  const profiles = readProfiles(config.hardware);
  const target = trainedTarget(session, profiles);
  const network = createModel(session, input.weights, (graph) => sharedCandidates(graph, target?.rules));
  matchModel(session, network, strategy, input.strategy);
  const violations = violationsOf(strategy, profiles, session.registry, network.graph);
  const refusal = hardwareError(input.strategy, violations);
  if (refusal !== undefined) throw refusal;
  const teacher = createTeacher(context, input.fullPrecision);
  const quantization = await quantizeByStrategy(session, network, strategy, config.train.learnScales);
  const computation = createComputation(session, target, network, quantization, strategy);
  const checkpoint = run.path('quantized.safetensors');
  const scales = quantization.parameters.map((parameter) => ({...parameter, rateFactor: scaleRateFactor}));
  const parameters = [...networkParameters(network), ...scales];
  const optimizer = createOptimizer(config.train.optimizer);
  const trainStep = createTrainStep({network, optimizer, parameters, seed: config.seed});

  try {
    const outcome = await runPhase(context, {
      name: 'train',
      network,
      parameters,
      optimizer,
      epochs,
      async start(source) {
        const sample = await sampleTrainingInputs(session, network, quantization.inputs.keys());
        const note = calibrateInputs(quantization.inputs, sample);
        if (note !== undefined) session.reporter.line(note);
        await reestimateStatistics(network, source, reestimationBatches, quantization.forward);
        const first = await computation.evaluate('validation', stop.signal);
        if (first !== null) {
          const value = metricValue(task.metric, first);
          run.journal.log('summary', {[`train/${prefixedMetric('start', task.metric)}`]: value});
          session.reporter.line(`Before training: validation ${shownMetric(task.metric, value)}.`);
        }
      },
      async step({images, targets, state}, optimizerState, stepsPerEpoch) {
        const factor = learningRateFactor(schedule, state.step, epochs * stepsPerEpoch, stepsPerEpoch);
        const lambdaE = binWeight(bins.weight, (state.step + 1) / stepsPerEpoch, bins.rampEpochs);
        const teacherOutputs = teacher?.outputs(images, {training: false});
        try {
          const result = await trainStep({
            images,
            step: state.step,
            optimizerState,
            rate: factor,
            forward: computation.forward,
            objective: (outputs) => {
              const taskLoss = learningLoss(session, outputs, targets, teacherOutputs);
              const reported = {...task.reported(outputs, targets), taskLoss};
              if (lambdaE === 0) return {loss: taskLoss, reported};
              const binRegularizer = binLoss(network, quantization);
              return {loss: tf.add(taskLoss, tf.mul(binRegularizer, lambdaE)), reported: {...reported, binRegularizer}};
            },
          });
          const learningRate = factor * config.train.optimizer.learningRate;
          return {optimizerState: result.optimizerState, metrics: {...result.metrics, learningRate}};
        } finally {
          tf.dispose(teacherOutputs ?? []);
        }
      },
      status: () => [],
      intervalMetrics: () => ({}),
      validate: () => computation.evaluate('validation', stop.signal),
      saveBest: async () => {
        const record = quantizationRecord(network, quantization);
        const values = await quantizationValues(network, quantization);
        writeModelFile(checkpoint, await network.weights(), {strategy, record, values});
      },
      async exportState() {
        return {state: null, arrays: new Map([...(await learnedValues(quantization)), ...computation.state()])};
      },
      importState(_, arrays, file) {
        restoreLearnedValues(quantization, arrays, file);
        computation.restore(arrays);
      },
      isDone: () => false,
    });
    network.load(readWeights(network.graph, checkpoint));
    restoreLearnedValues(quantization, readModelFile(checkpoint).tensors, checkpoint);
    const test = await evaluateTest(context, computation);
    return {
      checkpoint,
      ...byMetric(task.metric, outcome, test),
      epoch: outcome.best?.epoch ?? epochs,
      steps: outcome.steps,
      meanWeightBits: strategy.summary.meanWeightBits,
    };
  } finally {
    teacher?.dispose();
    quantization.dispose();
    network.dispose();
  }
}

/** The figures on the test split. What a classifier gets wrong there, or a detector finds, goes to a file. */
async function evaluateTest({run, session, stop}: PhaseContext, computation: Computation): Promise<Evaluation> {
  if (session.task.classifies !== true) {
    const detections = watchDetections(session);
    const test = present(await computation.evaluate('test', stop.signal, detections?.observe), 'test result');
    detections?.write(run.path(detectionFiles.quantized));
    return test;
  }
  const mistakes = countMistakes(worstImages);
  const test = await computation.evaluate('test', stop.signal, (outputs, batch) => {
    mistakes.add(outputs, batch);
  });
  writeMistakes(run.path('mistakes.json'), session, mistakes.result());
  return present(test, 'test result');
}

/** L_EBR over the quantized layers. */
function binLoss({layers, parameters}: Network, {precision, steps, weights}: Quantization): tf.Tensor {
  const regularized = layers
    .filter(hasWeights)
    .filter(({sharedWith}) => sharedWith === undefined)
    .map((layer) => {
      const scale = steps.get(layer.name);
      return {
        w: entry(parameters, layer.weight),
        channels: outputChannels(layer),
        bits: precision(layer).weightBits,
        ...(scale === undefined ? {} : {scale}),
      };
    });
  return binRegularization(regularized, weights);
}

/**
 * Checks that a strategy is about this network and names quantizers that are there.
 * @param file where the strategy comes from, for messages
 * @throws SdqError (exit 3)
 */
export function matchModel(
  {config, registry}: Session,
  network: Pick<Network, 'graph' | 'layers'>,
  strategy: Strategy,
  file: string,
): void {
  matchStrategy(strategy, {name: config.model.name, digest: graphDigest(network.graph)}, network.layers, file);
  checkQuantizers(strategy, registry, file);
}

/** Bitwidths, quantizers and learned values of a network under a strategy that was matched with it. */
export async function quantizeByStrategy(
  {registry}: Session,
  network: Network,
  strategy: Strategy,
  learnSteps: boolean,
): Promise<Quantization> {
  const quantizers = await loadQuantizers(registry, strategy.quantizers);
  const byName = new Map(strategy.layers.map((layer) => [layer.name, layer]));
  return quantize(network, quantizers, ({name}) => byName.get(name) ?? unquantized, {learnSteps});
}

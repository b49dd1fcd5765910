/** Phase 1: learns the bitwidth of every layer while the weights follow (SDQ, Huang et al., ICML 2022, section 3.2). */
import * as tf from '@tensorflow/tfjs-core';

import {writeFileAtomic} from '../files.ts';
import {graphDigest} from '../graph/digest.ts';
import {layerTable, type QuantizedLayer} from '../graph/layer-table.ts';
import type {Network} from '../graph/network.ts';
import {uniform} from '../random.ts';
import {keepPositive} from '../sdq/activation-quantizer.ts';
import {pinnedBits} from '../sdq/pins.ts';
import {
  advanceSearch,
  checkCandidates,
  initSearch,
  parseSearchState,
  planStep,
  searchDone,
  searchResult,
  searchSnapshot,
  sizeLayers,
  type Choice,
  type SearchProblem,
  type SearchState,
} from '../sdq/search.ts';
import {readScalars, searchWeights} from '../sdq/stochastic.ts';
import {temperature} from '../sdq/dbp.ts';
import {buildStrategy, inputBits} from '../sdq/strategy.ts';
import {outputChannels, quantizationErrors} from '../sdq/weight-quantizer.ts';
import {softCrossEntropy} from '../tensor/cross-entropy.ts';
import {batchStatistics} from '../training/batch-norm-statistics.ts';
import type {Json} from '../training/checkpoint.ts';
import {descend} from '../training/gradient-descent.ts';
import {createOptimizer, networkParameters, type TrainedParameter} from '../training/optimizers.ts';
import {writeModelFile} from './model-file.ts';
import {oneHot, runPhase, topOneAccuracy, type PhaseContext} from './phase.ts';
import {calibrateInputs, inputForward, learnedValues, loadLearnedValues, quantize} from './quantized-network.ts';
import type {SearchResult} from './results.ts';
import {buildGraph, createModel, firstImages, openPart, type JobConfig, type Session} from './session.ts';

/** The search problem of a network under a config; `steps` is what all its epochs have. */
function searchProblem(
  config: JobConfig,
  forward: SearchProblem['forward'],
  layers: readonly QuantizedLayer[],
  steps: number,
): {readonly problem: SearchProblem; readonly pinned: ReadonlyMap<string, number>} {
  const {search, seed} = config;
  checkCandidates(search.candidates);
  const pinned = pinnedBits(
    layers.map(({name}) => name),
    search.pin,
  );
  const target = search.target.meanWeightBits;
  const candidates = forward === 'fixed' ? [Math.max(1, Math.floor(target))] : search.candidates;
  const {dbp, dualRate, rampFraction, quantizationErrorWeight} = search;
  return {
    pinned,
    problem: {
      forward,
      layers: sizeLayers(layers, candidates, pinned),
      target,
      steps,
      seed,
      dbp,
      dualRate,
      rampFraction,
      quantizationErrorWeight,
    },
  };
}

/** @throws SdqError (exit 3) for a search that could not begin: candidates, pins or a target that do not fit the network */
export function checkSearch(session: Session): void {
  const {config, registry} = session;
  const {layers} = layerTable(buildGraph(session, config.model));
  initSearch(searchProblem(config, registry.get('searcher', config.search.method).forward, layers, 1).problem);
}

/** The forward pass of one search step: weights by the plan, with an indicator variable a layer that carries ∂L/∂share. */
function planForward(
  network: Network,
  plan: readonly Choice[],
  indicators: readonly tf.Variable[],
  quantizer: Parameters<typeof searchWeights>[1],
): (layer: QuantizedLayer, w: tf.Tensor) => tf.Tensor {
  const index = new Map(network.layers.map(({name}, l) => [name, l]));
  return (layer, w) => {
    const l = index.get(layer.name)!;
    return searchWeights(w, quantizer, plan[l]!, indicators[l]!, outputChannels(layer));
  };
}

/** Runs phase 1 from the weights of a file and writes `strategy.json` and the weights as the search left them. */
export async function search(context: PhaseContext, weights: string): Promise<SearchResult> {
  const {session, run} = context;
  const {config, registry, dataset, reporter} = session;
  const network = createModel(session, weights);
  const {forward} = registry.get('searcher', config.search.method);
  const steps = config.search.epochs * stepsPerEpoch(session);
  const {problem, pinned} = searchProblem(config, forward, network.layers, steps);
  let state = initSearch(problem);

  const quantization = quantize(
    network,
    registry,
    config.quantizers,
    ({name}) => ({weightBits: 32, activationBits: inputBits(config.search.activationBits, pinned.get(name))}),
    {learnSteps: false},
  );
  const indicators = network.layers.map(() => tf.variable(tf.scalar(1)));
  const trained = [...networkParameters(network), ...quantization.parameters];
  const followed: TrainedParameter[] = indicators.map((variable, l) => ({
    name: `share/${network.layers[l]!.name}`,
    variable,
    decays: false,
    rateFactor: 1,
  }));
  const optimizer = createOptimizer(config.search.optimizer);
  const statistics = batchStatistics(network);

  /** e(b) at both bitwidths of every layer, read in one go. */
  const errorsOf = (plan: readonly Choice[]): {high: number; low: number}[] => {
    const pairs = tf.tidy(() =>
      tf.stack(
        network.layers.map((layer, l) => {
          const {high, low} = plan[l]!;
          const w = network.parameters.get(layer.weight)!;
          return quantizationErrors(w, quantization.weights, [high, low ?? high], outputChannels(layer));
        }),
      ),
    );
    const values = pairs.dataSync();
    pairs.dispose();
    return plan.map((_, l) => ({high: values[2 * l]!, low: values[2 * l + 1]!}));
  };

  try {
    const {steps: done} = await runPhase(context, {
      name: 'search',
      network,
      parameters: trained,
      optimizer,
      epochs: config.search.epochs,
      async start() {
        const images = await firstImages(session);
        calibrateInputs(network, quantization.inputs, images);
        images.dispose();
      },
      async step({images, labels, state: at}, optimizerState) {
        const plan = planStep(problem, state);
        let next = optimizerState;
        let shares: number[] = [];
        const metrics = await descend(
          [...trained, ...followed],
          () => {
            const logits = network.forward(images, {
              training: true,
              weight: planForward(network, plan, indicators, quantization.weights),
              activation: inputForward(quantization.inputs),
              onBatchStatistics: statistics.collect,
              dropout: (index) => uniform(config.seed, 'dropout', at.step, index),
            });
            const loss = softCrossEntropy(logits, oneHot(labels, dataset.classes.length));
            return {loss, reported: {accuracy: topOneAccuracy(logits, labels)}};
          },
          (gradients) => {
            shares = sharesOf(gradients, followed);
            next = optimizer.update(trained, gradients, optimizerState, 1);
            keepPositive(quantization.parameters.map(({variable}) => variable));
          },
        );
        const isFinite = Number.isFinite(metrics.loss);
        statistics.settle(isFinite);
        if (isFinite) {
          const errors = problem.quantizationErrorWeight > 0 ? {errors: errorsOf(plan)} : {};
          const advanced = advanceSearch(problem, state, plan, {shares, ...errors});
          state = advanced.state;
          for (const {layer, from, to} of advanced.transitions) reporter.line(`  ${layer}: ${from} → ${to} bits`);
        }
        return {optimizerState: next, metrics};
      },
      intervalMetrics: () => snapshotMetrics(problem, state),
      validate: async () => Promise.resolve(null),
      saveBest: () => undefined,
      exportState: () => ({state: state as unknown as Json, arrays: learnedValues(quantization)}),
      importState(saved, arrays, file) {
        state = parseSearchState(saved, problem, file);
        loadLearnedValues(quantization, arrays);
      },
      isDone: () => searchDone(problem, state),
    });

    // The target may be reached between two rows.
    run.journal.log('metric', snapshotMetrics(problem, state), context.stepOffset + done);
    const result = searchResult(problem, state);
    if (result.collapsed) {
      reporter.line(
        'More than half of the searched layers ended at their lowest candidate: the strategy has collapsed.',
      );
    }
    const reached = result.missedBy === 0;
    const strategy = buildStrategy({
      model: {name: config.model.name, digest: graphDigest(network.graph)},
      quantizers: config.quantizers,
      layers: network.layers,
      weightBits: result.bits,
      activationBits: config.search.activationBits,
      pinned,
      provenance: {
        method: config.search.method,
        sdqVersion: run.record().versions['sdq']!,
        runId: run.id,
        seed: config.seed,
        ...(reached ? {target: config.search.target} : {}),
      },
    });
    const file = run.path('strategy.json');
    writeFileAtomic(file, `${JSON.stringify(strategy, null, 2)}\n`);
    const checkpoint = run.path('searched.safetensors');
    writeModelFile(checkpoint, network.weights());
    return {
      strategy: file,
      checkpoint,
      meanWeightBits: strategy.summary.meanWeightBits,
      meanWeightBitsUnpinned: strategy.summary.meanWeightBitsUnpinned,
      compression: strategy.summary.compression,
      missedBy: result.missedBy,
      collapsed: result.collapsed,
      steps: done,
    };
  } finally {
    for (const indicator of indicators) indicator.dispose();
    quantization.dispose();
    network.dispose();
  }
}

/** ∂L/∂share of every layer; 0 where the step's plan had no choice. */
function sharesOf(gradients: ReadonlyMap<string, tf.Tensor>, followed: readonly TrainedParameter[]): number[] {
  const found = followed.map(({name}) => gradients.get(name));
  const values = readScalars(found.filter((gradient) => gradient !== undefined));
  let next = 0;
  return found.map((gradient) => (gradient === undefined ? 0 : values[next++]!));
}

/** The names are a contract: docs/metrics.md. */
function snapshotMetrics(problem: SearchProblem, state: SearchState): Record<string, number> {
  const snapshot = searchSnapshot(problem, state);
  const metrics: Record<string, number> = {
    'search/expectedMeanBits': snapshot.expectedCost,
    'search/committedMeanBits': snapshot.committedCost,
    'search/scheduledMeanBits': snapshot.scheduledCost,
    'search/lambda': snapshot.lambda,
    'search/tau': temperature(problem.dbp.tauStart, problem.dbp.tauEnd, state.step, problem.steps),
  };
  for (const {name, bits, beta, cost} of snapshot.layers) {
    metrics[`dbp/${name}/beta`] = beta;
    metrics[`dbp/${name}/bits`] = bits;
    metrics[`dbp/${name}/cost`] = cost;
  }
  return metrics;
}

function stepsPerEpoch(session: Session): number {
  const source = openPart(session, 'train', 'training', session.config.seed);
  const {batchesPerEpoch} = source;
  void source.close();
  return batchesPerEpoch;
}

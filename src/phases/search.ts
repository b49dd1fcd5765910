/** Phase 1: the search method of the config finds the bitwidths of every layer. */
import * as tf from '@tensorflow/tfjs-core';

import type {BatchSource} from '../data/batches.ts';
import {ExitCode, invalidInput, SdqError} from '../errors.ts';
import {writeFileAtomic} from '../files.ts';
import {inputTensor} from '../graph/input-tensor.ts';
import type {Network} from '../graph/network.ts';
import {entry, item, property} from '../lookup.ts';
import type {Judgement, SearchContext, SearchOutcome, SearchTraining} from '../plugin-api/searcher.ts';
import {costOf} from '../sdq/search/costs.ts';
import {isDominated} from '../sdq/search/pareto.ts';
import type {Candidate, Precision, SearchProblem} from '../sdq/search/problem.ts';
import type {Strategy} from '../sdq/strategy.ts';
import {createOptimizer, networkParameters} from '../training/optimizers.ts';
import {calibrateInputs} from '../training/calibration.ts';
import {quantize, type Quantizers} from '../training/quantized-network.ts';
import {evaluate} from '../training/evaluate.ts';
import {targetTensors} from '../training/task.ts';
import {descend} from '../training/gradient-descent.ts';
import {createTrainStep} from '../training/train-step.ts';
import {imagesInBackwardPass, openSample, sampleTrainingInputs} from './calibration.ts';
import {evaluateOn} from './evaluate.ts';
import {loadQuantizers} from './load-quantizers.ts';
import {writeModelFile} from './model-file.ts';
import {runPhase, type PhaseContext} from './phase.ts';
import {inUnits, type ParetoPoint, type SearchResult} from './results.ts';
import {searchProblem, type Search} from './search-problem.ts';
import {createModel, openPart, type Session} from './session.ts';
import {createTeacher, learningLoss} from './teacher.ts';

/** @throws SdqError (exit 3) where the strategies on the way could not be judged */
export function checkPareto({data, search}: Session['config']): void {
  if (search.pareto === 0 || data.validation > 0) return;
  throw invalidInput(
    'pareto-without-validation',
    '/search/pareto: the strategies on the way are judged on validation images, and /data/validation is 0.',
    ['Set data.validation, e.g. to 5000.'],
  );
}

/** Runs phase 1 from the weights of a file and writes `strategy.json` and the weights as the search left them. */
export async function search(context: PhaseContext, weights: string): Promise<SearchResult> {
  const {session} = context;
  const {config, registry} = session;
  const network = createModel(session, weights);
  try {
    checkPareto(config);
    const steps = config.search.epochs * stepsPerEpoch(session);
    const setup = searchProblem(config, registry, network.graph, steps);
    const definition = registry.get('searcher', config.search.method);
    const [searcher, quantizers] = await Promise.all([definition.load(), loadQuantizers(registry, config.quantizers)]);
    const host = new SearchHost(context, network, setup, quantizers, weights);
    try {
      const outcome = await searcher.search(host);
      checkOutcome(outcome, setup.problem, config.search.method);
      return await writeResult(context, network, setup, outcome, host.steps);
    } finally {
      await host.close();
    }
  } finally {
    network.dispose();
  }
}

/** Images that a sample loss is the mean of, where the train part has so many. */
const judgedImages = 1024;

function sampleLossNotFinite(loss: number): SdqError {
  return new SdqError(`The loss on a sample of the training images is ${loss}.`, {
    code: 'loss-not-finite',
    exit: ExitCode.targetNotReached,
    suggestions: ['Check the weights that the search starts from: sdq evaluate --checkpoint FILE'],
  });
}

/** What a searcher works with, on a run. */
class SearchHost implements SearchContext {
  /** Training steps done. */
  steps = 0;
  readonly network: Network;
  readonly quantizers: Quantizers;
  readonly problem: SearchProblem;
  readonly settings: SearchContext['settings'];
  readonly options: SearchContext['options'];
  readonly metric: SearchContext['metric'];
  readonly #phase: PhaseContext;
  readonly #weights: string;
  #sample: BatchSource | undefined;
  /** The same images in batches that a backward pass has memory for. */
  #gradientSample: BatchSource | undefined;

  /** @param weights file that the search starts from: the teacher `self` */
  constructor(
    phase: PhaseContext,
    network: Network,
    {problem, settings}: Search,
    quantizers: Quantizers,
    weights: string,
  ) {
    this.#phase = phase;
    this.#weights = weights;
    this.network = network;
    this.problem = problem;
    this.settings = settings;
    this.quantizers = quantizers;
    this.options = phase.session.config.search.options;
    this.metric = phase.session.task.metric;
  }

  readonly sampleInputs: SearchContext['sampleInputs'] = async (layers) =>
    sampleTrainingInputs(this.#phase.session, this.network, layers);

  readonly evaluate: SearchContext['evaluate'] = async (forward) =>
    evaluateOn(this.#phase.session, this.network, 'validation', forward, this.#phase.stop.signal);

  readonly evaluateAt = async (bits: readonly Precision[]): Promise<Judgement | null> => {
    const byName = new Map(this.network.layers.map(({name}, l) => [name, item(bits, l)]));
    const quantization = quantize(this.network, this.quantizers, ({name}) => entry(byName, name), {learnSteps: false});
    try {
      calibrateInputs(quantization.inputs, await this.sampleInputs(quantization.inputs.keys()));
      return await this.evaluate(quantization.forward);
    } finally {
      quantization.dispose();
    }
  };

  readonly sampleLoss: SearchContext['sampleLoss'] = async (forward) => {
    const {session, stop} = this.#phase;
    this.#sample ??= openSample(session);
    const source = this.#sample;
    const perBatch = source.samples / source.batchesPerEpoch;
    const batchesPerEpoch = Math.min(source.batchesPerEpoch, Math.ceil(judgedImages / perBatch));
    const {loss} = await evaluate(this.network, session.task, source, forward, undefined, stop.signal, batchesPerEpoch);
    if (Number.isFinite(loss)) return loss;
    throw sampleLossNotFinite(loss);
  };

  readonly sampleGradients: SearchContext['sampleGradients'] = async (images, forward, visit) => {
    const {session, stop} = this.#phase;
    const {network} = this;
    this.#gradientSample ??= openSample(session, imagesInBackwardPass(network.graph));
    const source = this.#gradientSample;
    const variables = networkParameters(network);
    for (let index = 0, done = 0; index < source.batchesPerEpoch && done < images; index++) {
      const batch = await source.batch(0, index);
      stop.signal.throwIfAborted();
      // A variable, so that the gradient reaches the inputs of the first layers too.
      const input = tf.tidy(() => tf.variable(inputTensor(batch.images, batch.size, network.graph.input.shape)));
      const targets = targetTensors(batch, batch.size);
      const outputs = (): tf.Tensor[] => network.outputs(input, {...forward, training: false});
      try {
        const {metrics} = await descend(
          [...variables, {name: '', variable: input}],
          () => ({loss: session.task.loss(outputs(), targets)}),
          (gradients) => visit(batch.size, gradients),
        );
        if (!Number.isFinite(metrics.loss)) throw sampleLossNotFinite(metrics.loss);
      } finally {
        tf.dispose([input, targets]);
      }
      done += batch.size;
    }
  };

  readonly progress: SearchContext['progress'] = (label, done, total) =>
    this.#phase.session.reporter.update(label, done, total);

  /** Ends what the searcher asked for. */
  async close(): Promise<void> {
    await Promise.all([this.#sample?.close(), this.#gradientSample?.close()]);
  }

  readonly log: SearchContext['log'] = (metrics) => {
    const {run, stepOffset} = this.#phase;
    run.journal.log('metric', metrics, stepOffset + this.steps);
  };

  readonly line: SearchContext['line'] = (text) => this.#phase.session.reporter.line(text);

  readonly train = async (training: SearchTraining): Promise<void> => {
    const {network, problem} = this;
    const {config, task} = this.#phase.session;
    const parameters = [...networkParameters(network), ...training.parameters];
    const optimizer = createOptimizer(config.search.optimizer);
    const teacher = config.search.distillation ? createTeacher(this.#phase, this.#weights) : undefined;
    const {followed} = training;
    const trainStep = createTrainStep({network, optimizer, parameters, followed, seed: config.seed});
    const outcome = runPhase(this.#phase, {
      name: 'search',
      network,
      parameters,
      optimizer,
      epochs: config.search.epochs,
      start: async () => training.start(),
      step: async ({images, targets, state}, optimizerState) => {
        const forward = await training.forward();
        const teacherOutputs = teacher?.outputs(images, {training: false});
        try {
          const result = await trainStep({
            images,
            step: state.step,
            optimizerState,
            rate: 1,
            forward,
            objective: (outputs) => ({
              loss: learningLoss(this.#phase.session, outputs, targets, teacherOutputs),
              reported: task.reported(outputs, targets),
            }),
          });
          if (Number.isFinite(result.metrics.loss)) await training.advance(result.followed);
          return result;
        } finally {
          tf.dispose(teacherOutputs ?? []);
        }
      },
      status: () => {
        const selection = training.selection();
        return problem.budgets.map((budget) => {
          const cost = costOf(problem, budget, selection);
          return budget.name === 'meanWeightBits'
            ? `W ${cost.toFixed(2)} → ${budget.target}`
            : `${inUnits(budget.name, cost)} → ${budget.target}`;
        });
      },
      intervalMetrics: () => training.metrics(),
      validate: async () => Promise.resolve(null),
      saveBest: async () => Promise.resolve(),
      exportState: async () => training.exportState(),
      importState: (state, arrays, file) => training.importState(state, arrays, file),
      isDone: () => training.isDone(),
    });
    try {
      this.steps += (await outcome).steps;
    } finally {
      teacher?.dispose();
    }
  };
}

/** @throws SdqError (exit 3) for a method whose result is not one of the problem: a mistake of its plugin */
function checkOutcome({bits}: SearchOutcome, {decisions, layers}: SearchProblem, method: string): void {
  const fits = ({weightBits, activationBits}: Candidate, current: Precision | undefined): boolean =>
    (weightBits === undefined || weightBits === current?.weightBits) &&
    (activationBits === undefined || activationBits === current?.activationBits);
  const misfit = decisions.find(
    ({layers: about, candidates}) => !candidates.some((candidate) => about.every((l) => fits(candidate, bits[l]))),
  );
  if (misfit === undefined && bits.length === layers.length) return;
  const place =
    misfit === undefined
      ? `${bits.length} layers; the network has ${layers.length}`
      : misfit.layers
          .map((l) => `${JSON.stringify(bits[l] ?? null)} for layer "${item(layers, l).name}"`)
          .join(' and ')
          .concat(', which is none of its candidates');
  throw invalidInput('plugin-failed', `The search method ${method} came to ${place}.`);
}

/** Writes the outcome into the run's folder: the strategy, the weights as the search left them, and the strategies on the way. */
async function writeResult(
  {session: {config, reporter, task}, run}: PhaseContext,
  network: Network,
  {keepsTargets, problem, targets, hardware, strategyOf}: Search,
  {bits, budgets, details: {collapsed, points}}: SearchOutcome,
  steps: number,
): Promise<SearchResult> {
  if (collapsed) {
    reporter.line('More than half of the searched layers ended at their lowest candidate: the strategy has collapsed.');
  }
  const missed = budgets.find(({missedBy}) => missedBy > 0);
  if (!keepsTargets && missed !== undefined) {
    reporter.line(
      `With the pinned layers the mean is ${missed.cost.toFixed(3)} bits, above the target of ${missed.target}.`,
    );
  }
  const provenance = {
    method: config.search.method,
    sdqVersion: property(run.record().versions, 'sdq'),
    runId: run.id,
    seed: config.seed,
  };
  const write = (name: string, strategy: Strategy): string => {
    const file = run.path(name);
    writeFileAtomic(file, `${JSON.stringify(strategy, null, 2)}\n`);
    return file;
  };
  const strategy = strategyOf(bits, {...provenance, ...(missed === undefined ? {target: targets} : {})});
  const checkpoint = run.path('searched.safetensors');
  writeModelFile(checkpoint, await network.weights());
  return {
    strategy: write('strategy.json', strategy),
    checkpoint,
    meanWeightBits: strategy.summary.meanWeightBits,
    meanWeightBitsUnpinned: strategy.summary.meanWeightBitsUnpinned,
    compression: strategy.summary.compression,
    hardware,
    budgets,
    collapsed,
    steps,
    pareto: points.map((point): ParetoPoint => {
      const strategyOfPoint = strategyOf(point.bits, provenance);
      return {
        strategy: write(`pareto-${String(point.level).padStart(3, '0')}.json`, strategyOfPoint),
        step: point.step,
        [task.metric.name]: point.value,
        loss: point.loss,
        meanWeightBits: strategyOfPoint.summary.meanWeightBits,
        costs: Object.fromEntries(problem.budgets.map(({name}, k) => [name, item(point.costs, k)])),
        dominated: isDominated(point, points),
      };
    }),
  };
}

function stepsPerEpoch(session: Session): number {
  const source = openPart(session, 'train', 'training', session.config.seed);
  const {batchesPerEpoch} = source;
  void source.close();
  return batchesPerEpoch;
}

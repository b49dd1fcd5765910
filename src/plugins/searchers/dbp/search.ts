/** The search by differentiable bitwidth parameters (SDQ, Huang et al., ICML 2022, section 3.2): bits are learned while the weights follow. */
import * as tf from '@tensorflow/tfjs-core';

import type {Weights} from '../../../graph/graph.ts';
import {hasWeights, type QuantizedLayer} from '../../../graph/layer-table.ts';
import type {ForwardOptions, Network} from '../../../graph/network.ts';
import {entry, item, present} from '../../../lookup.ts';
import type {SearchContext, Searcher, SearchOutcome, SearchTraining} from '../../../plugin-api/searcher.ts';
import {
  committed,
  initSearch,
  parseSearchState,
  searchDone,
  type DbpProblem,
  type SearchState,
} from '../../../sdq/search/dbp-state.ts';
import {advanceSearch, planStep, type Choice} from '../../../sdq/search/dbp-step.ts';
import {bitsOf, outcomeOf} from '../../../sdq/search/outcome.ts';
import {dueLevel, keepPoint, parsePoints, type KeptPoint} from '../../../sdq/search/pareto.ts';
import {startAbove} from '../../../sdq/search/reach.ts';
import {inputCandidates, weightDecisions, type Candidate, type Selection} from '../../../sdq/search/problem.ts';
import {searchWeights} from '../../../sdq/stochastic.ts';
import {fullPrecision} from '../../../sdq/strategy.ts';
import {outputChannels, quantizationErrors, quantizeWeights} from '../../../sdq/weight-quantizer.ts';
import {calibrateInputs} from '../../../training/calibration.ts';
import type {Json} from '../../../training/checkpoint.ts';
import type {TrainedParameter} from '../../../training/optimizers.ts';
import {
  inputForward,
  learnedValues,
  quantize,
  restoreLearnedValues,
  type Quantization,
} from '../../../training/quantized-network.ts';
import {snapshotMetrics} from '../metrics.ts';
import {leastScore} from '../sensitivity/program.ts';
import {scoreMetrics, scoresOf} from '../sensitivity/scores.ts';
import {createSearchInputs, type SearchInputs} from './inputs.ts';

/** @param forward how a layer between two bitwidths is seen: one of the two at random (the paper), or their mix */
export function dbpSearcher(forward: DbpProblem['forward']): Searcher {
  return {
    async search(context) {
      const search = new DbpSearch(context, {...context.problem, ...context.settings, forward});
      try {
        return await search.run();
      } finally {
        search.dispose();
      }
    },
  };
}

class DbpSearch implements SearchTraining {
  readonly parameters: readonly TrainedParameter[];
  /** One a decision: carries ∂L/∂share, its value is not used. */
  readonly followed: readonly tf.Variable[];
  readonly #context: SearchContext;
  readonly #problem: DbpProblem;
  /** Inputs whose bits are not learned. */
  readonly #quantization: Quantization;
  readonly #inputs: SearchInputs;
  #state: SearchState;
  #plan: readonly Choice[] = [];
  #points: readonly KeptPoint[] = [];

  constructor(context: SearchContext, problem: DbpProblem) {
    const {network, quantizers} = context;
    this.#context = context;
    this.#problem = problem;
    this.#state = initSearch(problem);
    this.#quantization = quantize(network, quantizers, fixedInputs(network, problem), {learnSteps: false});
    this.#inputs = createSearchInputs(network, quantizers, problem);
    this.parameters = [...this.#quantization.parameters, ...this.#inputs.parameters];
    this.followed = tf.tidy(() => problem.decisions.map(() => tf.variable(tf.scalar(1))));
  }

  async run(): Promise<SearchOutcome> {
    await this.#context.train(this);
    await this.#keepPoint();
    // The targets may be reached between two rows.
    this.#context.log(this.metrics());
    const {bits, budgets, collapsed} = outcomeOf(this.#problem, committed(this.#state));
    return {bits, budgets, details: {collapsed, points: this.#points}};
  }

  async start(): Promise<void> {
    const sample = await this.#context.sampleInputs([...this.#quantization.inputs.keys(), ...this.#inputs.sites]);
    for (const note of [calibrateInputs(this.#quantization.inputs, sample), this.#inputs.calibrate(sample)]) {
      if (note !== undefined) this.#context.line(note);
    }
    if (this.#context.settings.start === 'sensitivity') await this.#startAboveProgram();
  }

  /** Begins one candidate above what the method `sensitivity` would choose for the same targets. [ours] */
  async #startAboveProgram(): Promise<void> {
    const scores = await scoresOf(this.#context);
    this.#context.log(scoreMetrics(this.#context, scores));
    const solution = await leastScore(this.#problem, scores);
    this.#state = initSearch(this.#problem, startAbove(this.#problem, solution));
  }

  async forward(): Promise<Pick<ForwardOptions, 'weight' | 'activation' | 'input'>> {
    await this.#keepPoint();
    this.#plan = planStep(this.#problem, this.#state);
    return {
      weight: this.#plannedWeights(this.#plan),
      activation: inputForward(this.#quantization.inputs),
      input: this.#inputs.forward(this.#plan, this.followed),
    };
  }

  async advance(shares: readonly number[]): Promise<void> {
    const errors = this.#problem.quantizationErrorWeight > 0 ? {errors: await this.#errors(this.#plan)} : {};
    const {state, transitions} = advanceSearch(this.#problem, this.#state, this.#plan, {shares, ...errors});
    this.#state = state;
    for (const {layer, from, to, beta} of transitions) {
      this.#context.line(`  ${layer}: ${shownMove(from, to)}${beta === null ? ', descent undone' : ''}`);
    }
  }

  selection(): Selection {
    return committed(this.#state);
  }

  metrics(): Record<string, number> {
    return snapshotMetrics(this.#problem, this.#state);
  }

  async exportState(): Promise<{readonly state: Json; readonly arrays: Weights}> {
    const state = {search: this.#state, pareto: this.#points} as unknown as Json;
    return {state, arrays: await learnedValues(this)};
  }

  importState(saved: Json, arrays: Weights, file: string): void {
    const {search, pareto} = (saved ?? {}) as {readonly search?: unknown; readonly pareto?: unknown};
    this.#state = parseSearchState(search, this.#problem, file);
    this.#points = parsePoints(pareto, this.#problem, file);
    restoreLearnedValues(this, arrays, file);
  }

  isDone(): boolean {
    return searchDone(this.#problem, this.#state);
  }

  dispose(): void {
    for (const indicator of this.followed) indicator.dispose();
    this.#inputs.dispose();
    this.#quantization.dispose();
  }

  /** Weights by the plan, with an indicator a decision that carries ∂L/∂share. */
  #plannedWeights(plan: readonly Choice[]): NonNullable<ForwardOptions['weight']> {
    const decisions = weightDecisions(this.#problem);
    const index = new Map(this.#context.network.layers.map(({name}, l) => [name, item(decisions, l)]));
    return (layer, w) => {
      const d = entry(index, layer.name);
      const choice = weightChoice(item(plan, d));
      return searchWeights(w, this.#quantization.weights, choice, item(this.followed, d), outputChannels(layer));
    };
  }

  /** e(b) at both bitwidths of every decision that chooses between weight bits, read in one transfer; 0 for the others. */
  async #errors(plan: readonly Choice[]): Promise<{high: number; low: number}[]> {
    const {layers, parameters} = this.#context.network;
    const errors = plan.map(() => ({high: 0, low: 0}));
    const decisions = weightDecisions(this.#problem);
    const open = layers.flatMap((layer, l) => {
      if (!hasWeights(layer)) return [];
      const d = item(decisions, l);
      const {high, low} = weightChoice(item(plan, d));
      return low === null || layer.sharedWith !== undefined ? [] : [{layer, d, bits: [high, low]}];
    });
    if (open.length === 0) return errors;
    const pairs = tf.tidy(() =>
      tf.stack(
        open.map(({layer, bits}) =>
          quantizationErrors(entry(parameters, layer.weight), this.#quantization.weights, bits, outputChannels(layer)),
        ),
      ),
    );
    const values = await pairs.data();
    pairs.dispose();
    open.forEach(({d}, i) => (errors[d] = {high: item(values, 2 * i), low: item(values, 2 * i + 1)}));
    return errors;
  }

  async #keepPoint(): Promise<void> {
    const {pareto} = this.#context.settings;
    if (pareto === 0 || this.#state.step === 0) return;
    const level = dueLevel(this.#problem, this.#state, pareto, this.#points);
    if (level === null) return;
    const judgement = await this.#context.evaluate(this.#committedForward());
    if (judgement !== null) {
      const {loss, [this.#context.metric.name]: value = NaN} = judgement;
      this.#points = [...this.#points, keepPoint(this.#problem, this.#state, level, {value, loss})];
    }
  }

  /** The network at the committed bits. */
  #committedForward(): Pick<ForwardOptions, 'weight' | 'activation'> {
    const {layers} = this.#context.network;
    const bits = new Map(bitsOf(this.#problem, committed(this.#state)).map((set, l) => [item(layers, l).name, set]));
    const fixed = inputForward(this.#quantization.inputs);
    return {
      weight: (layer, w) =>
        quantizeWeights(w, this.#quantization.weights, entry(bits, layer.name).weightBits, outputChannels(layer)),
      activation: (site) => this.#inputs.at(site, entry(bits, site.layer)) ?? fixed(site),
    };
  }
}

/** Weights in full precision, and activations too where their bits are learned. */
function fixedInputs(
  network: Network,
  problem: DbpProblem,
): (layer: QuantizedLayer) => {weightBits: number; activationBits: number} {
  const index = new Map(network.layers.map(({name}, l) => [name, l]));
  return (layer) => {
    const [first = fullPrecision, ...others] = inputCandidates(problem, entry(index, layer.name));
    const bits = others.length === 0 ? first : fullPrecision;
    return {weightBits: hasWeights(layer) ? fullPrecision : bits, activationBits: bits};
  };
}

/** What a choice means for the weights; `low` is null where it is about something else. */
function weightChoice({high, low, share}: Choice): {high: number; low: number | null; share: number} {
  const lower = low?.weightBits ?? null;
  return {high: present(high.weightBits, 'weight bits'), low: lower === high.weightBits ? null : lower, share};
}

/** What changed: `8 → 7 bits`, `input 8 → 4 bits`, `8 → 4 bits, input 8 → 4 bits`. */
function shownMove(from: Candidate, to: Candidate): string {
  const part = (name: string, before?: number, after?: number): string[] =>
    before === after ? [] : [`${name}${before} → ${after} ${after === 1 ? 'bit' : 'bits'}`];
  return [...part('', from.weightBits, to.weightBits), ...part('input ', from.activationBits, to.activationBits)].join(
    ', ',
  );
}

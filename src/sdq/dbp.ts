/**
 * Differentiable bitwidth parameters (DBP; Huang et al., ICML 2022, section 3.2): one θ a layer, β = σ(θ) the
 * probability of keeping the present bitwidth rather than the next lower candidate, a binary Gumbel-softmax draw
 * (Jang et al., 2017; Maddison et al., 2017) with a straight-through forward, and an Adam of its own.
 */
import {uniform} from '../random.ts';

/** σ(x) = 1 / (1 + e^−x). */
export function sigmoid(x: number): number {
  return 1 / (1 + Math.exp(-x));
}

/**
 * The relaxed indicator of one layer at one step: c = σ((θ + g) / τ), g = log u − log(1 − u), u ~ U(0, 1).
 * The forward pass keeps the higher bitwidth where c > ½, which happens with probability β = σ(θ).
 * A pure function of its arguments: a resumed run draws the same.
 */
export function drawIndicator(theta: number, tau: number, seed: number, step: number, layer: number): number {
  // u may be 0, never 1: c is 0 then, and so is its slope.
  const u = uniform(seed, 'gumbel', step, layer)();
  return sigmoid((theta + Math.log(u) - Math.log(1 - u)) / tau);
}

/** τ at a step of `steps`: exponential from `start` to `end` [ours]. */
export function temperature(start: number, end: number, step: number, steps: number): number {
  return start * (end / start) ** Math.min(1, step / Math.max(1, steps - 1));
}

/** One layer's θ with its optimizer state: plain numbers, so that a checkpoint holds them exactly. */
export interface Dbp {
  readonly theta: number;
  /** Adam's first and second moments and the number of updates since the last transition. */
  readonly m: number;
  readonly v: number;
  readonly updates: number;
}

export function initDbp(thetaInit: number): Dbp {
  return {theta: thetaInit, m: 0, v: 0, updates: 0};
}

const beta1 = 0.9;
const beta2 = 0.999;
const epsilon = 1e-8;

/**
 * One Adam update (Kingma and Ba, 2015) of θ. Adam, because its step does not depend on the gradient's size: a layer with
 * few weights moves on the same time scale as a large one.
 */
export function updateDbp({theta, m, v, updates}: Dbp, gradient: number, learningRate: number): Dbp {
  const step = updates + 1;
  const m1 = beta1 * m + (1 - beta1) * gradient;
  const v1 = beta2 * v + (1 - beta2) * gradient * gradient;
  const direction = m1 / (1 - beta1 ** step) / (Math.sqrt(v1 / (1 - beta2 ** step)) + epsilon);
  return {theta: theta - learningRate * direction, m: m1, v: v1, updates: step};
}

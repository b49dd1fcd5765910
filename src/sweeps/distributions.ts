/**
 * The distributions of a W&B sweep's parameters: what a grid takes from one, what a random search draws from one.
 * The definitions are those of the package `sweeps` that W&B's server uses; each draw is the inverse of the cumulative
 * distribution at one uniform draw, but for `normal` and `beta`.
 */
import {property} from '../lookup.ts';
import {normal, type Uniform} from '../random.ts';

/** One parameter's distribution, as the file gives it; `distribution` is always filled in. */
export type Distribution = {readonly distribution: string} & Readonly<Record<string, unknown>>;

/** The distribution that W&B takes where the file names none. @param isFloat whether min or max is written as a float */
export function impliedDistribution(spec: Readonly<Record<string, unknown>>, isFloat: boolean): string | undefined {
  if ('distribution' in spec) return typeof spec['distribution'] === 'string' ? spec['distribution'] : undefined;
  if ('probabilities' in spec) return 'categorical_w_probabilities';
  if ('values' in spec) return 'categorical';
  if ('value' in spec) return 'constant';
  if ('min' in spec || 'max' in spec) return isFloat ? 'uniform' : 'int_uniform';
  return undefined;
}

const number = (spec: Distribution, key: string, otherwise = 0): number => {
  const value = spec[key];
  return typeof value === 'number' ? value : otherwise;
};

/** The nearest multiple of q, without the dust of binary fractions. */
const rounded = (value: number, q: number): number => Number((Math.round(value / q) * q).toPrecision(12));

const between = (low: number, high: number, u: number): number => low + (high - low) * u;

/** Ranges of which a uniform draw in [0, 1) picks one point. */
const quantiles: Readonly<Record<string, (spec: Distribution, u: number) => number>> = {
  int_uniform: (spec, u) => {
    const low = number(spec, 'min');
    return low + Math.min(number(spec, 'max') - low, Math.floor(u * (number(spec, 'max') - low + 1)));
  },
  uniform: (spec, u) => between(number(spec, 'min'), number(spec, 'max'), u),
  log_uniform: (spec, u) => Math.exp(between(number(spec, 'min'), number(spec, 'max'), u)),
  log_uniform_values: (spec, u) => Math.exp(between(Math.log(number(spec, 'min')), Math.log(number(spec, 'max')), u)),
  inv_log_uniform: (spec, u) => Math.exp(-between(number(spec, 'min'), number(spec, 'max'), 1 - u)),
  inv_log_uniform_values: (spec, u) =>
    Math.exp(between(Math.log(number(spec, 'min')), Math.log(number(spec, 'max')), u)),
};

/** Those without ends. */
const unbounded: Readonly<Record<string, (spec: Distribution, draw: Uniform) => number>> = {
  normal: (spec, draw) => number(spec, 'mu') + number(spec, 'sigma', 1) * normal(draw),
  log_normal: (spec, draw) => Math.exp(number(spec, 'mu') + number(spec, 'sigma', 1) * normal(draw)),
  beta: (spec, draw) => {
    const x = gamma(number(spec, 'a', 1), draw);
    return x / (x + gamma(number(spec, 'b', 1), draw));
  },
};

/** A gamma variate of scale 1 (Marsaglia and Tsang, 2000); for shapes below 1 by way of shape + 1. */
function gamma(shape: number, draw: Uniform): number {
  if (shape < 1) return gamma(shape + 1, draw) * (1 - draw()) ** (1 / shape);
  const d = shape - 1 / 3;
  for (;;) {
    const x = normal(draw);
    const v = (1 + x / Math.sqrt(9 * d)) ** 3;
    if (v > 0 && Math.log(1 - draw()) < x ** 2 / 2 + d - d * v + d * Math.log(v)) return d * v;
  }
}

/** A value of a random search. */
export function drawValue(spec: Distribution, draw: Uniform): unknown {
  const {distribution} = spec;
  if (distribution === 'constant') return spec['value'];
  if (distribution === 'categorical') {
    const values = spec['values'] as readonly unknown[];
    return values[Math.floor(draw() * values.length)];
  }
  if (distribution === 'categorical_w_probabilities') {
    const values = spec['values'] as readonly unknown[];
    const probabilities = spec['probabilities'] as readonly number[];
    let rest = draw();
    const chosen = probabilities.findIndex((probability) => (rest -= probability) < 0);
    return values[chosen < 0 ? probabilities.findLastIndex((probability) => probability > 0) : chosen];
  }
  const isRounded = distribution.startsWith('q_');
  const name = isRounded ? distribution.slice(2) : distribution;
  const value = quantiles[name]?.(spec, draw()) ?? property(unbounded, name)(spec, draw);
  return isRounded ? rounded(value, number(spec, 'q', 1)) : value;
}

/** Values in order, not held in memory. */
export interface Grid {
  readonly count: number;
  readonly at: (index: number) => unknown;
}

/**
 * The values that a grid goes through; undefined for a distribution that a grid cannot have.
 * As with W&B, `q_uniform` leaves out the upper end.
 */
export function gridOf(spec: Distribution): Grid | undefined {
  const {distribution} = spec;
  if (distribution === 'constant') return {count: 1, at: () => spec['value']};
  if (distribution === 'categorical') {
    const values = spec['values'] as readonly unknown[];
    return {count: values.length, at: (index) => values[index]};
  }
  const [low, high] = [number(spec, 'min'), number(spec, 'max')];
  if (distribution === 'int_uniform') return {count: high - low + 1, at: (index) => low + index};
  if (distribution !== 'q_uniform') return undefined;
  const q = number(spec, 'q', 1);
  return {
    count: Math.ceil(Number(((high - low) / q).toPrecision(12))),
    at: (index) => Number((low + index * q).toPrecision(12)),
  };
}

/**
 * Values that tell whether a key of the config takes what the distribution gives: all listed ones; the ends and a point
 * between them of a range; three standard deviations to both sides of a normal one.
 */
export function probes(spec: Distribution): readonly unknown[] {
  const {distribution} = spec;
  if (distribution === 'constant') return [spec['value']];
  if (distribution.startsWith('categorical')) return spec['values'] as readonly unknown[];
  const isRounded = distribution.startsWith('q_');
  const name = isRounded ? distribution.slice(2) : distribution;
  const [mu, sigma] = [number(spec, 'mu'), number(spec, 'sigma', 1)];
  const bells = [mu - 3 * sigma, mu + 3 * sigma];
  const quantile = quantiles[name];
  const points =
    quantile !== undefined
      ? [0, 0.38, 1].map((u) => quantile(spec, u))
      : name === 'beta'
        ? [0, 0.38, 1]
        : name === 'normal'
          ? bells
          : bells.map(Math.exp);
  return isRounded ? points.map((value) => rounded(value, number(spec, 'q', 1))) : points;
}

/** Times of networks in a runtime, by the clock. */
import {item} from '../lookup.ts';
import type {RuntimeNetwork} from './runtime.ts';

export interface Timing {
  readonly medianMs: number;
  readonly leastMs: number;
  /** Upper less lower quartile, as a share of the median. */
  readonly spread: number;
}

interface TimedInput {
  readonly network: RuntimeNetwork;
  readonly images: Float32Array;
  readonly shape: readonly number[];
}

/** Runs before the timed ones: in them a runtime reserves memory. */
export const warmUpRuns = 3;

/**
 * The networks take turns, so that what else the machine does slows all of them.
 * @param runs of each network in a turn
 * @returns milliseconds, [network][turns · runs]
 */
export async function timesInTurns(inputs: readonly TimedInput[], turns: number, runs = 1): Promise<number[][]> {
  for (const {images, network, shape} of inputs) await network.time(images, shape, warmUpRuns);
  const times = inputs.map((): number[] => []);
  for (let turn = 0; turn < turns; turn++) {
    for (const [index, {images, network, shape}] of inputs.entries()) {
      item(times, index).push(...(await network.time(images, shape, runs)));
    }
  }
  return times;
}

/** Of the values at a share of the way from the least to the greatest; between two of them, linearly. */
function quantile(sorted: readonly number[], share: number): number {
  const place = share * (sorted.length - 1);
  const below = item(sorted, Math.floor(place));
  return below + (place % 1) * (item(sorted, Math.ceil(place)) - below);
}

/** @param times milliseconds, at least one */
export function timing(times: readonly number[]): Timing {
  const sorted = [...times].sort((a, b) => a - b);
  const medianMs = quantile(sorted, 0.5);
  return {
    medianMs,
    leastMs: item(sorted, 0),
    spread: (quantile(sorted, 0.75) - quantile(sorted, 0.25)) / medianMs,
  };
}

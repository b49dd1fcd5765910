/** ONNX's definition of Resize, along one axis: which input positions make an output position, and with what weights. */
import {item} from '../../lookup.ts';

export const resizeModes = ['nearest', 'linear', 'cubic'] as const;
export const coordinateModes = [
  'half_pixel',
  'half_pixel_symmetric',
  'pytorch_half_pixel',
  'align_corners',
  'asymmetric',
] as const;
export const nearestModes = ['round_prefer_floor', 'round_prefer_ceil', 'floor', 'ceil'] as const;

export interface Interpolation {
  readonly mode: (typeof resizeModes)[number];
  readonly coordinates: (typeof coordinateModes)[number];
  readonly nearest: (typeof nearestModes)[number];
  /** a of Keys' cubic kernel. */
  readonly cubic: number;
  readonly excludeOutside: boolean;
  /** Where the image shrinks, the kernel is as much wider. */
  readonly antialias: boolean;
}

/** An axis: its size in the input and in the output, and the scale between them. */
export interface Sizing {
  readonly from: number;
  readonly to: number;
  readonly scale: number;
}

/** @param value the axis' entry of ONNX's `sizes` or `scales` */
export function sizingOf(from: number, value: number, kind: 'sizes' | 'scales'): Sizing {
  return kind === 'scales'
    ? {from, to: Math.floor(from * value), scale: value}
    : {from, to: value, scale: value / from};
}

/** Where in the input an output position lies. */
function positionOf({coordinates}: Interpolation, {from, to, scale}: Sizing, i: number): number {
  switch (coordinates) {
    case 'half_pixel':
      return (i + 0.5) / scale - 0.5;
    case 'half_pixel_symmetric': {
      const adjustment = to / (scale * from);
      return (from / 2) * (1 - adjustment) + (i + 0.5) / scale - 0.5;
    }
    case 'pytorch_half_pixel':
      return to > 1 ? (i + 0.5) / scale - 0.5 : 0;
    case 'align_corners':
      return to > 1 ? (i * (from - 1)) / (to - 1) : 0;
    case 'asymmetric':
      return i / scale;
  }
}

function nearestOf({nearest}: Interpolation, position: number): number {
  const below = Math.floor(position);
  switch (nearest) {
    case 'floor':
      return below;
    case 'ceil':
      return Math.ceil(position);
    case 'round_prefer_floor':
      return position - below > 0.5 ? below + 1 : below;
    case 'round_prefer_ceil':
      return position - below >= 0.5 ? below + 1 : below;
  }
}

/** The weight of an input position at a distance: a triangle, or Keys' kernel (1981). */
function kernelAt(distance: number, {mode, cubic: a}: Interpolation): number {
  const d = Math.abs(distance);
  if (mode === 'linear') return Math.max(0, 1 - d);
  if (d <= 1) return (a + 2) * d ** 3 - (a + 3) * d ** 2 + 1;
  return d < 2 ? a * d ** 3 - 5 * a * d ** 2 + 8 * a * d - 4 * a : 0;
}

/** Input positions, which may lie outside, and their weights. */
function tapsOf(options: Interpolation, position: number, scale: number): readonly (readonly [number, number])[] {
  if (options.mode === 'nearest') return [[nearestOf(options, position), 1]];
  const shrinking = options.antialias ? Math.min(1, scale) : 1;
  const reach = (options.mode === 'linear' ? 1 : 2) / shrinking;
  const taps: [number, number][] = [];
  for (let source = Math.floor(position - reach) + 1; source < position + reach; source++) {
    taps.push([source, kernelAt((source - position) * shrinking, options)]);
  }
  return options.antialias ? ofSumOne(taps) : taps;
}

function ofSumOne(taps: readonly (readonly [number, number])[]): readonly (readonly [number, number])[] {
  const sum = taps.reduce((total, [, weight]) => total + weight, 0);
  return taps.map(([source, weight]) => [source, weight / sum]);
}

/** [from, to]: the weight of each input position in each output position. What lies outside is the position at the border. */
export function interpolationWeights(options: Interpolation, sizing: Sizing): Float32Array {
  const {from, to, scale} = sizing;
  const weights = new Float32Array(from * to);
  for (let i = 0; i < to; i++) {
    const taps = tapsOf(options, positionOf(options, sizing, i), scale);
    const inside = taps.filter(([source]) => source >= 0 && source < from);
    for (const [source, weight] of options.excludeOutside ? ofSumOne(inside) : taps) {
      const index = Math.min(Math.max(source, 0), from - 1) * to + i;
      weights[index] = item(weights, index) + weight;
    }
  }
  return weights;
}

/** A strategy for people: a bar a layer, and what it comes to. */
import type {Strategy} from '../sdq/strategy.ts';
import {bars} from './table.ts';

export function showStrategy({layers, summary}: Strategy): string {
  const {meanWeightBits, meanWeightBitsUnpinned, meanActivationBits, compression, bops} = summary;
  const unpinned =
    meanWeightBitsUnpinned === null ? '' : `, ${meanWeightBitsUnpinned.toFixed(3)} without the pinned layers`;
  return [
    bars(
      layers.map(({name, weightBits, pinned}) => ({
        name: pinned === true ? `${name} (pinned)` : name,
        value: weightBits,
      })),
      'bits',
    ),
    '',
    `W ${meanWeightBits.toFixed(2)} / A ${Number(meanActivationBits.toFixed(2))}: mean weight bits over ${layers.length} quantized layers${unpinned}.`,
    `Weights ${compression.toFixed(1)}× smaller than at 32 bits; ${(bops / 1e9).toFixed(2)} G bit operations a sample.`,
  ].join('\n');
}

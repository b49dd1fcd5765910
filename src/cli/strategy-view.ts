/** A strategy for people: its layers, a bar a layer, and what it comes to. */
import {inUnits, type SearchResult} from '../phases/results.ts';
import type {Strategy} from '../sdq/strategy.ts';
import {bitBars, table, wrapped} from './table.ts';

export function showStrategy({layers, summary}: Strategy): string {
  const {meanWeightBits, meanWeightBitsUnpinned, meanActivationBits, compression, bops} = summary;
  const unpinned =
    meanWeightBitsUnpinned === null ? '' : `, ${meanWeightBitsUnpinned.toFixed(3)} without the pinned ones`;
  const withWeights = layers.filter(({product}) => product !== true);
  const products = layers
    .filter(({product}) => product === true)
    .map(({name, activationBits, weightBits}) => `${name} ${activationBits}×${weightBits}`);
  return [
    bitBars(
      withWeights.map(({name, weightBits, pinned}) => ({
        name: pinned === true ? `${name} (pinned)` : name,
        bits: weightBits,
      })),
    ),
    '',
    wrapped(
      `W ${meanWeightBits.toFixed(2)} / A ${Number(meanActivationBits.toFixed(2))}: mean bits of ${withWeights.length} quantized layers${unpinned}.`,
    ),
    ...(products.length === 0 ? [] : [wrapped(`Products of two activations, bits: ${products.join(', ')}.`)]),
    wrapped(
      `Weights ${compression.toFixed(1)}× smaller than at 32 bits; ${(bops / 1e9).toFixed(2)} G bit operations a sample.`,
    ),
  ].join('\n');
}

/** What a search found costs of its budgets, a line; nothing where mean weight bits are the only one. */
export function showBudgets(budgets: SearchResult['budgets']): string {
  if (budgets.every(({name}) => name === 'meanWeightBits')) return '';
  return `Budgets: ${budgets.map(({name, cost, target}) => `${inUnits(name, cost)} of at most ${target}`).join(', ')}.\n`;
}

/** The bits of weights and input of each layer. */
export function strategyTable({layers}: Strategy): string {
  return table(
    [
      {head: 'layer'},
      {head: 'op'},
      {head: 'weights', align: 'right'},
      {head: 'W bits', align: 'right'},
      {head: 'A bits', align: 'right'},
    ],
    layers.map(({name, op, params, weightBits, activationBits}) => [name, op, params, weightBits, activationBits]),
  );
}

/** `W 1.93 / A 32, 16.6× smaller`. */
export function strategyLine({summary: {meanWeightBits, meanActivationBits, compression}}: Strategy): string {
  const bits = `W ${meanWeightBits.toFixed(2)} / A ${Number(meanActivationBits.toFixed(2))}`;
  return `${bits}, ${compression.toFixed(1)}× smaller`;
}

/** The checks that the formats share. */
import {invalidInput, type SdqError} from '../../errors.ts';
import type {WeightLayer} from '../../graph/layer-table.ts';
import type {LayerPrecision} from '../../sdq/strategy.ts';

export function formatError(message: string, suggestions: readonly string[] = []): SdqError {
  return invalidInput('strategy-format', message, suggestions);
}

/** A bitwidth of a strategy. @throws SdqError (exit 3) */
export function bitwidth(value: unknown, place: string): number {
  if (typeof value === 'number' && Number.isInteger(value) && ((value >= 1 && value <= 8) || value === 32))
    return value;
  throw formatError(
    `${place}: expected 1 to 8 bits, or 32, found ${value === undefined ? 'nothing' : JSON.stringify(value)}.`,
  );
}

/** @throws SdqError (exit 3) where a layer of the network has no bits */
export function assertComplete(entries: ReadonlyMap<string, unknown>, names: readonly string[], file: string): void {
  const missing = names.filter((name) => !entries.has(name));
  if (missing.length > 0) throw formatError(`${file}: there are no bits for ${missing.join(', ')}.`);
}

/** @throws SdqError (exit 3) where a layer is in full precision, which this format cannot say */
export function assertQuantized(layers: readonly LayerPrecision[], format: string): void {
  const float = layers.find(({weightBits, activationBits}) => weightBits > 8 || activationBits > 8);
  if (float === undefined) return;
  const {name, weightBits, activationBits} = float;
  throw formatError(
    `${format} has integers only; layer "${name}" has ${weightBits}-bit weights and ${activationBits}-bit activations.`,
  );
}

/**
 * The PyTorch module of a layer, under whose name the tools look for it.
 * @throws SdqError (exit 3) for a layer whose weights are no module's `weight`
 */
export function moduleName({name, weight}: Pick<WeightLayer, 'name' | 'weight'>, format: string): string {
  const module = /^(.+)\.weight$/.exec(weight)?.[1];
  if (module !== undefined) return module;
  throw formatError(`${format} names PyTorch modules; the weights of layer "${name}", "${weight}", are not one's own.`);
}

/** @throws SdqError (exit 3) where weights have one bit: the integers are −1 and 0 there, ours are ±½ */
export function assertNoBinaryWeights(layers: readonly LayerPrecision[], format: string): void {
  const binary = layers.filter(({weightBits}) => weightBits === 1).map(({name}) => name);
  if (binary.length === 0) return;
  throw formatError(`${format} has no weights of two levels ±c, which 1 bit has here: ${binary.join(', ')}.`, [
    'Search without it: --set search.candidates=[2,3,4,5,6,7,8].',
  ]);
}

/** The smallest of the widths that holds so many bits, and whether it is more. Widths ascend; the last one is at least 8. */
export function container(bits: number, widths: readonly number[]): number {
  return widths.find((width) => width >= bits) ?? bits;
}

/** A note on layers that a format has to store in more bits; none where there are no such layers. */
export function widened(pairs: readonly {name: string; bits: number; width: number}[]): string[] {
  const wider = pairs.filter(({bits, width}) => bits !== width);
  if (wider.length === 0) return [];
  const list = wider.map(({name, bits, width}) => `${name} (${bits} → ${width})`);
  return [`Widths that the format does not have are the next ones it has: ${list.join(', ')}.`];
}

/** Python reads it. */
export const asJson = (value: unknown): string => `${JSON.stringify(value, null, 2)}\n`;

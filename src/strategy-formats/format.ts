/** A peer's file that says how many bits each layer gets, and the checks that the formats share. */
import {ExitCode, SdqError} from '../errors.ts';
import type {Weights} from '../graph/graph.ts';
import type {QuantizedLayer} from '../graph/layer-table.ts';
import type {NetworkCost} from '../hardware/cost-model.ts';
import type {LayerPrecision, Strategy} from '../sdq/strategy.ts';

/** Bits that a file gives a layer; what it does not say is left out. */
export interface ImportedBits {
  readonly weightBits: number;
  readonly activationBits?: number;
}

/** What some formats need beside the strategy. */
export interface ExportContext {
  /** The network's quantized layers. */
  readonly layers: readonly QuantizedLayer[];
  /** Of the trained network (`--checkpoint`). */
  readonly tensors?: Weights;
  /** On the board that the strategy is converted to (`--to`). */
  readonly costs?: NetworkCost;
}

export interface StrategyFormat {
  readonly name: string;
  /** One sentence with a full stop. */
  readonly summary: string;
  /** How an exported file's name ends. */
  readonly extension: string;
  /**
   * @param names of the network's layers, in its order
   * @returns bits by layer name, for all of them
   * @throws SdqError (exit 3) naming the file, the place, what was found and what is allowed
   */
  readonly parse?: (text: string, names: readonly string[], file: string) => ReadonlyMap<string, ImportedBits>;
  /**
   * @returns the file, and what it cannot hold, one sentence each
   * @throws SdqError (exit 2 or 3) where the strategy cannot be said in this format, or something it needs is missing
   */
  readonly print?: (strategy: Strategy, context: ExportContext) => {text: string; notes: readonly string[]};
}

export function formatError(message: string, suggestions: readonly string[] = []): SdqError {
  return new SdqError(message, {code: 'strategy-format', exit: ExitCode.invalidInput, suggestions});
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
export function assertComplete(found: ReadonlyMap<string, unknown>, names: readonly string[], file: string): void {
  const missing = names.filter((name) => !found.has(name));
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

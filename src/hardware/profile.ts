/**
 * What a device can run and what it costs, as data: the files of `hardware/` and a user's own (schemas/hardware.schema.json).
 * `rules.ts` reads the first half of a profile, the cost model of its family the second.
 */
import type {DeploymentRules} from '../sdq/deployment/rules.ts';

/** Integers of some widths, or floating point. */
export type Format = IntegerFormat | FloatFormat;

export interface IntegerFormat {
  readonly type: 'integer';
  /** Widths of the values, 1 to 8. */
  readonly bits: readonly number[];
  /** Bits that a value takes in memory whatever its width; left out: its own width. */
  readonly container?: number;
  /** Signed integers, unsigned ones, or either. */
  readonly sign: 'signed' | 'unsigned' | 'any';
  /** Whether the zero-point must be 0: real zero is the integer 0. */
  readonly symmetric: boolean;
  /** The finest scale that it takes: one for the tensor, or one for each output channel. */
  readonly granularity: 'tensor' | 'channel';
  /** Whether the lowest integer, −2^(b−1), must not occur. */
  readonly narrowRange: boolean;
  /** Scales of any value, or powers of two only. */
  readonly scale: 'float' | 'power-of-two';
}

/** Not quantized: bitwidth 32 of a strategy. */
interface FloatFormat {
  readonly type: 'float';
  readonly bits: readonly [32];
  /** Bits that a value takes in memory; 16 where the device computes in half precision. */
  readonly container: 16 | 32;
}

/** Names of formats that a layer's weights and input may have. */
export interface AllowedFormats {
  readonly weights: readonly string[];
  readonly activations: readonly string[];
}

export interface OperatorRule extends AllowedFormats {
  /** For a Conv whose groups have one input channel each; it takes the place of the operator's own. */
  readonly depthwise?: AllowedFormats;
  /**
   * For a MatMul of two activations, whose second one is in `weights`. Left out: both may have the formats of activations. null: the
   * device does not run it.
   */
  readonly product?: AllowedFormats | null;
}

/**
 * Combinations of weight bits and activation bits; the first rule that has both counts, and one that no rule has is not allowed.
 */
interface PairRule {
  readonly weights: readonly number[];
  readonly activations: readonly number[];
  /** [weight bits, activation bits] that the multiplier runs them as; left out: as they are. */
  readonly executedAs?: readonly [weightBits: number, activationBits: number];
}

/** A number of the device with where it comes from. */
interface Constant {
  readonly value: number;
  readonly unit: string;
  /** Key of the profile's `sources`. */
  readonly source: string;
}

/** What a device has of one thing, e.g. DSP blocks. */
interface Resource {
  readonly amount: number;
  /** The part that a design can fill, 0 to 1. */
  readonly usable: number;
  readonly source: string;
}

/** The cost model of a device. */
interface CostModel {
  /** Name of a cost model: built-in, or of a plugin. */
  readonly family: string;
  /** The numbers that this model takes, by name. */
  readonly constants: Readonly<Record<string, Constant>>;
}

export interface HardwareProfile {
  readonly version: 1;
  /** Kebab case. */
  readonly name: string;
  /** One sentence with a full stop. */
  readonly summary: string;
  /** What the rules cannot say: advice, and what an export still has to do. */
  readonly notes: readonly string[];
  /** Key → title and address of a document or a file. */
  readonly sources: Readonly<Record<string, string>>;
  readonly formats: Readonly<Record<string, Format>>;
  /** ONNX operator → its formats; an operator that is left out does not run on the device. */
  readonly operators: Readonly<Partial<Record<'Conv' | 'Gemm' | 'MatMul', OperatorRule>>>;
  /** By default every combination of the formats runs natively. */
  readonly pairs?: readonly PairRule[];
  /** Stricter formats of the network's first and last quantized layer. */
  readonly first?: AllowedFormats;
  readonly last?: AllowedFormats;
  /** Operators whose inputs share one scale: layers that read the values they join need the same activation bits. */
  readonly unified: readonly ('Add' | 'Concat')[];
  /** What the cost model may use up, by name. */
  readonly resources: Readonly<Record<string, Resource>>;
  /** How `sdq export --target` writes a network for it; left out: it is no target. */
  readonly deployment?: DeploymentRules;
  readonly costModel: CostModel;
}

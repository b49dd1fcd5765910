/** What a format of strategies reads and writes: the file in which another tool says how many bits each layer gets. */
import type {Graph} from '../graph/graph.ts';
import type {WeightLayer} from '../graph/layer-table.ts';
import type {NetworkCost} from '../hardware/cost-model.ts';
import type {Grid} from '../tensor/kernels.ts';

/** Bits that a file gives a layer; what it does not say is left out. */
export interface ImportedBits {
  readonly weightBits: number;
  readonly activationBits?: number;
}

/** A trained quantizer: value = step · (q + offset), with q an integer in qmin … qmax. */
export interface TrainedGrid extends Grid {
  /** One for each output channel, or a single one for the tensor. */
  readonly steps: Float32Array;
}

/** What training left of one layer. */
export interface TrainedLayer {
  /** Null in full precision. */
  readonly weights: TrainedGrid | null;
  /** Null in full precision. */
  readonly input: TrainedGrid | null;
}

/** What some formats need beside the strategy. */
export interface StrategyFormatContext {
  readonly graph: Graph;
  /** The network's quantized layers, in its order. */
  readonly layers: readonly WeightLayer[];
  /**
   * A layer of the network given with `--checkpoint`, trained at the bits of the strategy; undefined without one.
   * @throws SdqError (exit 3) where the file has no grid for it
   */
  readonly trained?: (layer: string) => TrainedLayer;
  /** What the strategy costs on the board of `--to`; undefined without one. */
  readonly costs?: () => NetworkCost;
}

/** A file in another tool's format. */
export interface PrintedStrategy {
  readonly text: string;
  /** What the file cannot hold, or asks of its user: one sentence each. */
  readonly notes: readonly string[];
}

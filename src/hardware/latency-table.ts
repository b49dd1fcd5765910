/** Times that the user measured on a device, layer by layer; they take the place of the model's (schemas/latency-table.schema.json). */
import {invalidInput} from '../errors.ts';
import {item} from '../lookup.ts';
import {didYouMean} from '../nearest.ts';
import {fullPrecision} from '../sdq/strategy.ts';
import {sumCosts, type LayerCost, type PreparedCosts} from './cost-model.ts';
import type {HardwareProfile} from './profile.ts';
import {allowedPairs, type Bits, type RuledLayer} from './rules.ts';

export interface MeasuredRow extends Bits {
  /** Name of the layer. */
  readonly layer: string;
  /** For the whole batch; null where it was not measured. */
  readonly latencyUs: number | null;
  /**
   * Of a layer whose input is in float: what it takes in addition behind a layer whose input is rounded. The runtime changes from
   * integers to floats there, and back behind this layer or a later one.
   */
  readonly transitionUs?: number;
  readonly energyUj?: number | null;
  /** Upper less lower quartile of the repeats, as a share of their median. */
  readonly spread?: number;
}

/** A whole network with the same bits throughout, as it was timed. */
export interface MeasuredNetwork extends Bits {
  readonly latencyUs: number;
  readonly spread: number;
}

export interface LatencyTable {
  readonly version: 1;
  /** Name of the profile. */
  readonly hardware: string;
  readonly model: {readonly name: string; /** `sha256:` and 64 hex digits */ readonly graphDigest: string};
  readonly batch: number;
  /** Of `sdq hardware measure`: how it was measured. */
  readonly measured?: {
    /** E.g. `onnxruntime-node 1.30.0`. */
    readonly runtime: string;
    readonly processor: string;
    readonly threads: number;
    readonly runs: number;
    readonly networks: readonly MeasuredNetwork[];
  };
  readonly rows: readonly MeasuredRow[];
}

/** A row for each combination of bits that the device allows each layer, to be filled in. @param lastOnes from `lastLayers` */
export function emptyRows(
  profile: HardwareProfile,
  layers: readonly RuledLayer[],
  lastOnes?: readonly string[],
): MeasuredRow[] {
  return allowedPairs(profile, layers, lastOnes).flatMap((pairs, l) =>
    pairs.map(({weightBits, activationBits}) => {
      return {layer: item(layers, l).name, weightBits, activationBits, latencyUs: null};
    }),
  );
}

const keyOf = (layer: string, {weightBits, activationBits}: Bits): string => `${weightBits} ${activationBits} ${layer}`;

/**
 * Checks what the schema cannot say: that the table is about this device, network and batch, each row about a layer and there once.
 * @param expected what the table must be about, and the network's layers
 * @param file its name, for messages
 * @throws SdqError (exit 3) with the JSON pointer, the value found and what is allowed
 */
export function checkLatencyTable(
  table: LatencyTable,
  expected: Pick<LatencyTable, 'hardware' | 'model' | 'batch'> & {readonly layers: readonly string[]},
  file: string,
): void {
  for (const [pointer, found, allowed] of [
    ['/hardware', table.hardware, expected.hardware],
    ['/model/name', table.model.name, expected.model.name],
    ['/model/graphDigest', table.model.graphDigest, expected.model.graphDigest],
    ['/batch', table.batch, expected.batch],
  ] as const) {
    if (found !== allowed) {
      throw invalidInput('latency-table-differs', `${file}: ${pointer} is ${found}; it is used for ${allowed}.`, [
        'Write the rows of this case with `sdq hardware table-template`.',
      ]);
    }
  }
  const names = new Set(expected.layers);
  const seen = new Map<string, number>();
  table.rows.forEach((row, r) => {
    if (!names.has(row.layer)) {
      throw invalidInput(
        'latency-table-unknown-layer',
        `${file}: /rows/${r}/layer: ${table.model.name} has no quantized layer "${row.layer}".`,
        didYouMean(row.layer, expected.layers),
      );
    }
    const key = keyOf(row.layer, row);
    const first = seen.get(key);
    if (first !== undefined) {
      throw invalidInput(
        'latency-table-duplicate-row',
        `${file}: /rows/${r}: "${row.layer}" at ${row.weightBits}/${row.activationBits} bits is already /rows/${first}.`,
      );
    }
    seen.set(key, r);
  });
}

/**
 * The same costs with the measured times, and energies where they were measured, in place of the model's.
 * @throws SdqError (exit 3) for a device whose layers run at the same time: their times do not add up
 */
export function withMeasured(costs: PreparedCosts, table: LatencyTable, file: string): PreparedCosts {
  if (!costs.additive) {
    throw invalidInput(
      'latency-table-not-additive',
      `${file}: the layers of ${costs.hardware} run at the same time, so that times of single layers do not add up.`,
    );
  }
  const rows = new Map(table.rows.map((row) => [keyOf(row.layer, row), row]));
  const layer: PreparedCosts['layer'] = (geometry, bits, before): LayerCost => {
    const modelled = costs.layer(geometry, bits, before);
    const row = rows.get(keyOf(geometry.name, bits));
    if (row === undefined || row.latencyUs === null) return modelled;
    const isBehindIntegers = before !== undefined && before.activationBits !== fullPrecision;
    const {executedAs, weightMemoryKiB, activationMemoryKiB, bops} = modelled;
    return {
      source: 'measured',
      cycles: null,
      latencyUs: row.latencyUs + (isBehindIntegers ? (row.transitionUs ?? 0) : 0),
      energyUj: row.energyUj ?? modelled.energyUj,
      utilisation: null,
      boundBy: null,
      executedAs,
      weightMemoryKiB,
      activationMemoryKiB,
      bops,
    };
  };
  return {
    ...costs,
    layer,
    network: (geometries, bits) =>
      sumCosts(
        geometries.map((geometry, l) => layer(geometry, item(bits, l), bits[l - 1])),
        costs.batch,
      ),
  };
}

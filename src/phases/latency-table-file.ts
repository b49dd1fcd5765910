/** Tables of measured times, as files. */
import {createRequire} from 'node:module';

import {invalidInput} from '../errors.ts';
import {writeFileAtomic} from '../files.ts';
import {graphDigest} from '../graph/digest.ts';
import type {Graph} from '../graph/graph.ts';
import {lastLayers, layerTable} from '../graph/layer-table.ts';
import type {PreparedCosts} from '../hardware/cost-model.ts';
import type {LayerGeometry} from '../hardware/geometry.ts';
import {checkLatencyTable, emptyRows, withMeasured, type LatencyTable} from '../hardware/latency-table.ts';
import type {HardwareProfile} from '../hardware/profile.ts';
import {readJsonFile} from '../json-file.ts';
import type {Registry} from '../plugin-api/registry.ts';
import {expand, type JsonSchema} from '../schema/json-schema.ts';
import {checkFile} from '../schema/settings.ts';
import {costsOn} from './hardware-estimate.ts';

const require = createRequire(import.meta.url);

/** Rows of all bits of a large network take less than one; a file above it is refused unread. */
const limitBytes = 16 << 20;

/** The network that costs are about. */
export interface MeasuredModel {
  readonly model: LatencyTable['model'];
  /** In network order. */
  readonly geometries: readonly LayerGeometry[];
}

/**
 * The costs with measured times in place of modelled ones.
 * @throws SdqError (exit 3) for a table that is not valid or about another device, network or batch
 */
export function measuredCosts(costs: PreparedCosts, {geometries, model}: MeasuredModel, file: string): PreparedCosts {
  const table = readLatencyTable(file);
  const layers = geometries.map(({name}) => name);
  checkLatencyTable(table, {hardware: costs.hardware, model, batch: costs.batch, layers}, file);
  return withMeasured(costs, table, file);
}

/** @throws SdqError (exit 3) naming the file, the JSON pointer, the value found and what is allowed */
function readLatencyTable(file: string): LatencyTable {
  const value = readJsonFile(file, limitBytes, 'latency-table') as Record<string, unknown>;
  const schema = expand(require('../../schemas/latency-table.schema.json') as JsonSchema);
  checkFile(value, schema, file);
  return value as unknown as LatencyTable;
}

/** A row a line: people read these, and fill them in. */
export function writeTable(file: string, {rows, ...head}: LatencyTable): void {
  const entries = Object.entries(head).map(([key, value]) => `  ${JSON.stringify(key)}: ${JSON.stringify(value)}`);
  const list = rows.map((row) => `    ${JSON.stringify(row)}`).join(',\n');
  writeFileAtomic(file, `{\n${[...entries, `  "rows": [\n${list}\n  ]`].join(',\n')}\n}\n`);
}

/**
 * A table without times: a row for each layer and combination of bits that the device allows.
 * @throws SdqError (exit 3) for a device whose layers run at the same time, and for a batch out of range
 */
export function emptyTable(
  profile: HardwareProfile,
  registry: Registry,
  graph: Graph,
  model: string,
  batch: number,
): LatencyTable {
  const costs = costsOn(profile, registry, batch);
  if (!costs.additive) {
    throw invalidInput(
      'latency-table-not-additive',
      `The layers of ${profile.name} run at the same time, so that times of single layers do not add up.`,
    );
  }
  const {layers} = layerTable(graph);
  return {
    version: 1,
    hardware: profile.name,
    model: {name: model, graphDigest: `sha256:${graphDigest(graph)}`},
    batch: costs.batch,
    rows: emptyRows(
      profile,
      layers,
      lastLayers(
        graph,
        layers.map(({name}) => name),
      ),
    ),
  };
}

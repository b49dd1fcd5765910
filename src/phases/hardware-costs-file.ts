/** `hardware-costs.json` of a run: what its strategy costs on the devices of `hardware`, as `sdq hardware compare --json` has it. */
import {existsSync} from 'node:fs';
import {createRequire} from 'node:module';
import path from 'node:path';

import {writeFileAtomic} from '../files.ts';
import {readJsonFile} from '../json-file.ts';
import {expand, type JsonSchema} from '../schema/json-schema.ts';
import {checkFile} from '../schema/settings.ts';
import {compare, costsOn, sizedStrategy, type ComparedRow} from './hardware-estimate.ts';
import {readProfiles} from './hardware-file.ts';
import type {Session} from './session.ts';

const require = createRequire(import.meta.url);
const limitBytes = 1 << 20;

const hardwareCostsFile = (directory: string): string => path.join(directory, 'hardware-costs.json');

/**
 * Costs of one sample at a time, of `strategy.json` in the run's folder.
 * @throws SdqError (exit 6) where the file cannot be written; (exit 3) for a strategy that is not of the network
 */
export async function writeHardwareCosts(directory: string, {config, registry, reporter}: Session): Promise<void> {
  const devices = readProfiles(config.hardware).map((profile) => costsOn(profile, registry, 1));
  if (devices.length === 0) return;
  const strategy = await sizedStrategy(config, registry, path.join(directory, 'strategy.json'), (message) => {
    reporter.line(message);
  });
  const rows = compare(devices, [strategy]).map((row) => ({...row, strategy: 'strategy.json'}));
  writeFileAtomic(hardwareCostsFile(directory), `${JSON.stringify({batch: 1, rows}, null, 2)}\n`);
}

/**
 * A row for each device; none where the run named no device.
 * @throws SdqError (exit 3) naming the file, the place, the value found and what is allowed
 */
export function readHardwareCosts(directory: string): readonly ComparedRow[] {
  const file = hardwareCostsFile(directory);
  if (!existsSync(file)) return [];
  const value = readJsonFile(file, limitBytes, 'hardware-costs');
  checkFile(value, expand(require('../../schemas/results/hardware-compare.schema.json') as JsonSchema), file);
  return (value as {readonly rows: readonly ComparedRow[]}).rows;
}

/** Reading a strategy: its schema, then what the schema cannot say. */
import {existsSync} from 'node:fs';
import {createRequire} from 'node:module';
import path from 'node:path';

import {invalidInput} from '../errors.ts';
import {readJsonFile} from '../json-file.ts';
import {didYouMean} from '../nearest.ts';
import type {Registry} from '../plugin-api/registry.ts';
import {expand, type JsonSchema} from '../schema/json-schema.ts';
import {checkFile} from '../schema/settings.ts';
import {checkStrategy, type Strategy, type StrategyFile} from '../sdq/strategy.ts';

const require = createRequire(import.meta.url);

const schema = expand(require('../../schemas/strategy.schema.json') as JsonSchema);

/** Far more than the largest network needs; a file above it is refused unread. */
const limitBytes = 16 << 20;

/** @throws SdqError (exit 3) naming the file, the JSON pointer, the value found and what is allowed */
export function readStrategy(file: string): Strategy {
  return checkedStrategy(readJsonFile(file, limitBytes, 'strategy'), file);
}

/** The strategy of a run; undefined where it has none yet. @param directory the run's folder @throws as `readStrategy` */
export function strategyIn(directory: string): Strategy | undefined {
  const file = path.join(directory, 'strategy.json');
  return existsSync(file) ? readStrategy(file) : undefined;
}

/** @param file where the value comes from, for messages @throws SdqError (exit 3) */
export function checkedStrategy(value: unknown, file: string): Strategy {
  const strategy = structuredClone(value) as Record<string, unknown>;
  checkFile(strategy, schema, file);
  return checkStrategy(strategy as unknown as StrategyFile, file);
}

/** @param file where the strategy comes from, for messages @throws SdqError (exit 3) for a quantizer that is not there */
export function checkQuantizers({quantizers}: Strategy, registry: Registry, file: string): void {
  for (const key of ['weights', 'activations'] as const) {
    const known = registry.list(key === 'weights' ? 'weight-quantizer' : 'activation-quantizer').map(({name}) => name);
    const name = quantizers[key];
    if (known.includes(name)) continue;
    throw invalidInput(
      'strategy-unknown-quantizer',
      `${file}: /quantizers/${key}: there is no quantizer "${name}". Known: ${known.join(', ')}.`,
      didYouMean(name, known),
    );
  }
}

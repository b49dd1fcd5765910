/** The published schemas of results, ready to check a command's `--json` output. */
import {readdirSync, readFileSync} from 'node:fs';
import path from 'node:path';

import {Ajv2020} from 'ajv/dist/2020.js';

/** Of the repository. */
export const root = path.resolve(import.meta.dirname, '../..');
const folder = path.join(root, 'schemas/results');

const read = (file: string): Record<string, unknown> =>
  JSON.parse(readFileSync(file, 'utf8')) as Record<string, unknown>;

/** E.g. `model-show`. */
export const resultNames = readdirSync(folder).map((file) => path.basename(file, '.schema.json'));

/** What is wrong with one JSON document on stdout as the result of a command; empty when nothing is. */
export function resultProblems(name: string, stdout: string): string[] {
  const ajv = new Ajv2020({allErrors: true, strict: true, strictTypes: false, strictRequired: false});
  ajv.addFormat('path', true);
  for (const name of ['strategy', 'hardware']) ajv.addSchema(read(path.join(root, `schemas/${name}.schema.json`)));
  const validate = ajv.compile(read(path.join(folder, `${name}.schema.json`)));
  if (validate(JSON.parse(stdout))) return [];
  return (validate.errors ?? []).map(({instancePath, message}) => `${instancePath}: ${message ?? ''}`);
}

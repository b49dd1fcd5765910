// Writes src/config/config-types.ts from schemas/config.schema.json; with --check it only says whether it is up to date.
import {readFile, writeFile} from 'node:fs/promises';
import path from 'node:path';

import {compile} from 'json-schema-to-typescript';
import {format, resolveConfig} from 'prettier';

import {configSchema} from '../src/config/schema.ts';

const file = path.resolve(import.meta.dirname, '../src/config/config-types.ts');

/** In a config that was read every key with a default is there. Plain `number` and `number[]` are what code passes on. */
function filledIn(node) {
  if (Array.isArray(node)) return node.map(filledIn);
  if (typeof node !== 'object' || node === null) return node;
  const {
    default: _,
    examples: __,
    minItems: ___,
    ...schema
  } = Object.fromEntries(Object.entries(node).map(([key, value]) => [key, filledIn(value)]));
  if (node.enum?.every(Number.isInteger)) return {description: node.description, type: 'number'};
  if (node.properties === undefined) return schema;
  const defaulted = Object.keys(node.properties).filter((key) => 'default' in node.properties[key]);
  return {...schema, required: [...new Set([...(node.required ?? []), ...defaulted])]};
}

const {$id: _, $schema: __, ...schema} = filledIn(configSchema);
const source = await compile(schema, 'Config', {
  bannerComment:
    '/** Generated from schemas/config.schema.json by `npm run config-types`: the config with its defaults filled in. */',
  unknownAny: true,
});
const generated = await format(source, {...(await resolveConfig(file)), parser: 'typescript'});
if (process.argv.includes('--check')) {
  if ((await readFile(file, 'utf8')) !== generated) {
    console.error(
      'src/config/config-types.ts is not what schemas/config.schema.json says: run `npm run config-types`.',
    );
    process.exitCode = 1;
  }
} else {
  await writeFile(file, generated);
}

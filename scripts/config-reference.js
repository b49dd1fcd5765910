// Writes docs/config.md from schemas/config.schema.json; with --check it only says whether it is up to date.
import {readFile, writeFile} from 'node:fs/promises';
import path from 'node:path';

import {configSchema} from '../src/config/schema.ts';

const file = path.resolve(import.meta.dirname, '../docs/config.md');

const code = (value) => `\`${typeof value === 'string' ? value : JSON.stringify(value)}\``;

/** What a value may be, e.g. `whole number from 1 to 8`. */
function allowed(node) {
  if (node.anyOf !== undefined) return node.anyOf.map(allowed).join(', or ');
  if (node.enum !== undefined) return node.enum.map(code).join(', ');
  if (node.const !== undefined) return code(node.const);
  if (node.type === 'array') return `list of: ${allowed(node.items)}`;
  if (node.type === 'object') {
    if (node.properties === undefined) {
      const values =
        typeof node.additionalProperties === 'object' ? `name to ${allowed(node.additionalProperties)}` : '';
      return `mapping${values === '' ? '' : ` of ${values}`}`;
    }
    const keys = Object.entries(node.properties).map(([key, child]) => {
      const optional = node.required?.includes(key) === true ? '' : ', optional';
      return `\`${key}\` (${allowed(child)}${optional})`;
    });
    return `mapping with ${keys.join(', ')}`;
  }
  const limits = [
    node.exclusiveMinimum === undefined ? '' : `above ${node.exclusiveMinimum}`,
    node.minimum === undefined ? '' : `from ${node.minimum}`,
    node.exclusiveMaximum === undefined ? '' : `below ${node.exclusiveMaximum}`,
    node.maximum === undefined ? '' : `to ${node.maximum}`,
  ].filter((limit) => limit !== '');
  const kind = {integer: 'whole number', boolean: '`true`, `false`', string: 'text'}[node.type] ?? node.type;
  return [node.format ?? kind, ...limits].join(' ');
}

/** A row a setting; a mapping with keys of its own is a heading of rows, not one. */
function* rows(node, prefix, required) {
  for (const [key, child] of Object.entries(node.properties)) {
    const name = prefix === '' ? key : `${prefix}.${key}`;
    if (child.type === 'object' && child.properties !== undefined) {
      yield* rows(child, name, child.required ?? []);
      continue;
    }
    const initial = 'default' in child ? code(child.default) : required.includes(key) ? 'required' : 'none';
    yield [`\`${name}\``, allowed(child), initial, child.description];
  }
}

const head = ['| key | allowed | default | |', '|---|---|---|---|'];
const row = (cells) => `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
const top = Object.entries(configSchema.properties);
const sections = top.filter(([, {properties}]) => properties !== undefined);
const others = Object.fromEntries(top.filter(([, {properties}]) => properties === undefined));
const lines = [
  '# Config reference',
  '',
  'Generated from `schemas/config.schema.json` by `npm run config-reference`. Where settings come from and which wins: [files.md](files.md#config).',
  'What goes into `model.options` and `data.options` is for the model and the data set to say: `sdq model list`, [data.md](data.md).',
  ...sections.flatMap(([section, node]) => [
    '',
    `## ${section}`,
    '',
    node.description,
    '',
    ...head,
    ...[...rows(node, section, node.required ?? [])].map(row),
  ]),
  '',
  '## Other keys',
  '',
  ...head,
  ...[...rows({properties: others}, '', [])].map(row),
];
const generated = `${lines.join('\n')}\n`;

if (process.argv.includes('--check')) {
  if ((await readFile(file, 'utf8').catch(() => '')) !== generated) {
    console.error('docs/config.md is not what schemas/config.schema.json says: run `npm run config-reference`.');
    process.exitCode = 1;
  }
} else {
  await writeFile(file, generated);
}

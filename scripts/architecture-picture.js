// Draws the folders of src/ and what they import into docs/architecture.md, between its two markers; with --check it only
// says whether the picture is up to date. An arrow that others imply (a → b → c, so a → c) is left out.
import {readFileSync, readdirSync, writeFileSync} from 'node:fs';
import path from 'node:path';

const root = path.resolve(import.meta.dirname, '..');
const file = path.join(root, 'docs/architecture.md');
const [open, close] = ['<!-- folders -->', '<!-- /folders -->'];

/** Folder → folders that its files import. */
function imports() {
  const edges = new Map();
  for (const entry of readdirSync(path.join(root, 'src'), {recursive: true, withFileTypes: true})) {
    if (!entry.isFile() || !entry.name.endsWith('.ts')) continue;
    const from = path.relative(path.join(root, 'src'), entry.parentPath).split(path.sep)[0];
    if (from === '' || entry.parentPath.includes('assembly')) continue;
    const text = readFileSync(path.join(entry.parentPath, entry.name), 'utf8');
    for (const [, specifier] of text.matchAll(/from '(\.[^']+)'|import\('(\.[^']+)'\)/g)) {
      if (specifier === undefined) continue;
      const to = path.relative(path.join(root, 'src'), path.resolve(entry.parentPath, specifier)).split(path.sep);
      if (to.length < 2 || to[0] === from || to[0] === '..') continue;
      edges.set(from, (edges.get(from) ?? new Set()).add(to[0]));
    }
  }
  return edges;
}

/** @returns whether `to` can be reached from `from` without the direct arrow */
function implied(edges, from, to) {
  const seen = new Set();
  const visit = (folder) => {
    if (folder === to) return true;
    if (seen.has(folder)) return false;
    seen.add(folder);
    return [...(edges.get(folder) ?? [])].some(visit);
  };
  return [...edges.get(from)].some((next) => next !== to && visit(next));
}

const edges = imports();
const arrows = [...edges]
  .flatMap(([from, targets]) =>
    [...targets].filter((to) => !implied(edges, from, to)).map((to) => `  ${from} --> ${to}`),
  )
  .toSorted();
const picture = ['```mermaid', 'flowchart TD', ...arrows, '```'].join('\n');
const text = readFileSync(file, 'utf8');
const before = text.slice(0, text.indexOf(open) + open.length);
const after = text.slice(text.indexOf(close));
const next = `${before}\n${picture}\n${after}`;
if (!process.argv.includes('--check')) writeFileSync(file, next);
else if (next !== text) {
  console.error('docs/architecture.md is not up to date: npm run architecture-picture');
  process.exitCode = 1;
}

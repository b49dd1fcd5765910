/**
 * Before any test: a copy of the sources in JavaScript, `test-build/`, from which threads start. Threads run on plain Node,
 * which cannot read TypeScript, and a TypeScript loader in each of them takes six times as long as the thread.
 */
import {existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync} from 'node:fs';
import path from 'node:path';

import {transform} from '@swc/core';

const root = path.resolve(import.meta.dirname, '../..');
const [from, to] = [path.join(root, 'src'), path.join(root, 'test-build')];
const options = {
  jsc: {target: 'es2022', parser: {syntax: 'typescript'}, rewriteRelativeImportExtensions: true},
  module: {type: 'es6'},
};

export default async function compileWorkers() {
  const names = readdirSync(from, {recursive: true}).filter(
    (name) => name.endsWith('.ts') && (!name.includes('assembly') || path.basename(name) === 'shared.ts'),
  );
  await Promise.all(
    names.map(async (name) => {
      const {code} = await transform(readFileSync(path.join(from, name), 'utf8'), options);
      const file = path.join(to, name.replace(/ts$/, 'js'));
      mkdirSync(path.dirname(file), {recursive: true});
      // Another test run may be using it.
      if (!existsSync(file) || readFileSync(file, 'utf8') !== code) writeFileSync(file, code);
    }),
  );
}

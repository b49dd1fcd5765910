import {readFileSync, readdirSync} from 'node:fs';

import daily from './jest.config.js';
import {project} from './test/projects.js';

/** Test files that have more cases than the daily suite runs: they ask test/helpers/thorough.ts whether they may. */
const files = readdirSync('test', {recursive: true})
  .map((name) => `test/${name}`)
  .filter(
    (file) =>
      file.endsWith('.test.ts') &&
      /helpers\/(thorough|engine-builds|installed-engines)\.ts/.test(readFileSync(file, 'utf8')),
  );

/** @type {import('jest').Config} */
export default {...daily, testTimeout: 600_000, projects: [project('slow', files, {thorough: true})]};

import {mkdtempSync, rmSync} from 'node:fs';
import {tmpdir} from 'node:os';
import path from 'node:path';

import {afterAll} from '@jest/globals';

/** A fresh folder, removed when the test file is done. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(path.join(tmpdir(), 'sdq-test-'));
  afterAll(() => rmSync(folder, {recursive: true, force: true}));
  return folder;
}

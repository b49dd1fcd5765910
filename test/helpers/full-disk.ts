/** A file system of a few KiB, to be full. */
import {spawnSync} from 'node:child_process';
import {mkdtempSync, rmdirSync} from 'node:fs';
import {tmpdir} from 'node:os';
import path from 'node:path';

import {afterAll} from '@jest/globals';

/** Mounts a tmpfs of this size; undefined where the user may not mount. Removed when the test file is done. */
export function smallDisk(kibibytes: number): string | undefined {
  const folder = mkdtempSync(path.join(tmpdir(), 'sdq-disk-'));
  const {status} = spawnSync('mount', ['-t', 'tmpfs', '-o', `size=${kibibytes}k`, 'tmpfs', folder]);
  afterAll(() => {
    if (status === 0) spawnSync('umount', [folder]);
    rmdirSync(folder);
  });
  return status === 0 ? folder : undefined;
}

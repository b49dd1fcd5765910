/** File systems that refuse: a small one, to be full, and a folder that turns read-only. */
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

/**
 * Makes a folder read-only, for root too, until the function returned is called; undefined where the user may not mount.
 * @param pid the process that writes there: it stands still meanwhile, for a file it has open to write would refuse the mount
 */
export function readOnly(folder: string, pid: number): (() => void) | undefined {
  const mount = (...args: string[]): boolean => spawnSync('mount', args).status === 0;
  const unmount = (): void => void spawnSync('umount', [folder]);
  process.kill(pid, 'SIGSTOP');
  try {
    if (!mount('--bind', folder, folder)) return undefined;
    if (mount('-o', 'remount,bind,ro', folder)) return unmount;
    unmount();
    return undefined;
  } finally {
    process.kill(pid, 'SIGCONT');
  }
}

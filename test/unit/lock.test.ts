import {spawn, spawnSync} from 'node:child_process';
import {once} from 'node:events';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import {setTimeout} from 'node:timers/promises';

import {describe, expect, jest, test} from '@jest/globals';

import {interceptFs} from '../helpers/intercepted-fs.ts';
import {temporaryFolder} from '../helpers/temporary-folder.ts';

const fs = interceptFs();
const {acquireLock, isLocked, waitForSilentOwner} = await import('../../src/lock.ts');

const folder = temporaryFolder();
let folders = 0;

function newFolder(): string {
  const directory = path.join(folder, String(++folders));
  mkdirSync(directory);
  return directory;
}

const lockOf = (directory: string): string => path.join(directory, 'lock');

/** A lock as another process left it, its last heartbeat some seconds ago. */
function leaveLock(directory: string, change: object, secondsAgo = 0): void {
  const other = {pid: 1, started: '1', host: 'node17', boot: 'another', namespace: 'pid:[1]', token: 'x', ...change};
  writeFileSync(lockOf(directory), JSON.stringify(other));
  const then = Date.now() / 1000 - secondsAgo;
  utimesSync(lockOf(directory), then, then);
}

const dead = spawnSync(process.execPath, ['-e', '0']).pid;

/** Runs `during` just before the first call of a function of node:fs whose last argument `when` accepts. */
function interrupt(name: string, when: (to: string) => boolean, during: () => void, body: () => void): void {
  let isDone = false;
  fs.during((called, args, call) => {
    if (!isDone && called === name && when(String(args.at(-1)))) {
      isDone = true;
      during();
    }
    return call();
  }, body);
  expect(isDone).toBe(true);
}

describe('lock', () => {
  test('who waits for an owner on another host waits until it shows life or is dead, and for no other', async () => {
    const directory = newFolder();
    const waits: string[] = [];
    const wait = (): Promise<void> =>
      waitForSilentOwner(directory, {pollMs: 20, onWait: (message) => waits.push(message)});
    await wait();
    expect(waits).toEqual([]);
    leaveLock(directory, {}, 100);
    let isOver = false;
    const alive = wait().then(() => (isOver = true));
    await setTimeout(50);
    expect({isOver, waits}).toEqual({isOver: false, waits: [expect.stringContaining('in use on host node17')]});
    leaveLock(directory, {}, 0);
    await alive;
    expect(isLocked(directory)).toBe(true);
    leaveLock(directory, {}, 179.95);
    await wait();
    expect(isLocked(directory)).toBe(false);
    const lock = acquireLock(directory);
    await wait();
    lock.release();
    expect(waits).toHaveLength(2);
  });

  test('a lock of another host is respected while its heart beats, and taken over afterwards', () => {
    const directory = newFolder();
    leaveLock(directory, {pid: 14673}, 170);
    expect(isLocked(directory)).toBe(true);
    expect(() => acquireLock(directory)).toThrow(
      expect.objectContaining({
        message: expect.stringMatching(/in use by process 14673 on host node17.*last sign of life was 17\d s ago/),
        oclif: {exit: 6},
      }),
    );
    expect(readdirSync(directory)).toEqual(['lock']);
    leaveLock(directory, {pid: 14673}, 190);
    expect(isLocked(directory)).toBe(false);
    const lock = acquireLock(directory);
    expect(lock.tookOver).toBe(true);
    lock.check();
    lock.release();
    expect(readdirSync(directory)).toEqual([]);
  });

  const isLinux = process.platform === 'linux';
  const here = isLinux
    ? {
        boot: readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim(),
        namespace: readlinkSync('/proc/self/ns/pid'),
      }
    : {boot: '', namespace: ''};

  (isLinux ? test : test.skip)('pids of another pid namespace or boot are not looked up (Linux)', () => {
    for (const other of [
      {...here, namespace: 'pid:[7]'},
      {...here, boot: 'before'},
    ]) {
      const directory = newFolder();
      leaveLock(directory, {pid: dead, ...other});
      expect(() => acquireLock(directory)).toThrow('in use by process');
      // Even where the pid is that of this process.
      leaveLock(directory, {pid: process.pid, ...other}, 190);
      expect(isLocked(directory)).toBe(false);
    }
  });

  (isLinux ? test : test.skip)(
    'a dead process of this machine is succeeded at once, whatever its heartbeat (Linux)',
    () => {
      const directory = newFolder();
      leaveLock(directory, {pid: dead, ...here});
      acquireLock(directory).release();
      expect(existsSync(lockOf(directory))).toBe(false);
    },
  );

  test('of processes that find one dead owner exactly one succeeds, however they interleave', () => {
    for (const [name, isMoment] of [
      ['linkSync', (to: string) => to.includes('lock.next-')],
      ['renameSync', () => true],
    ] as const) {
      const directory = newFolder();
      leaveLock(directory, {pid: dead, ...here}, 190);
      const holders: string[] = [];
      const tryAs = (who: string): void => {
        try {
          acquireLock(directory);
          holders.push(who);
        } catch (error) {
          expect((error as Error).message).toContain(`in use by process ${process.pid}`);
        }
      };
      interrupt(
        name,
        isMoment,
        () => ['A', 'C'].forEach(tryAs),
        () => tryAs('B'),
      );
      // A succeeds while B is about to link; once B has linked, nobody else can.
      expect(holders).toEqual([name === 'linkSync' ? 'A' : 'B']);
      expect(isLocked(directory)).toBe(true);
    }
  });

  test('one that saw a dead owner whose successor has come and gone does not take the lock of a third', () => {
    const directory = newFolder();
    leaveLock(directory, {pid: dead, ...here}, 190);
    let third: ReturnType<typeof acquireLock> | undefined;
    interrupt(
      'linkSync',
      (to) => to.includes('lock.next-'),
      () => {
        acquireLock(directory).release();
        third = acquireLock(directory);
      },
      () => expect(() => acquireLock(directory)).toThrow('in use by process'),
    );
    const {content, names} = {content: readFileSync(lockOf(directory), 'utf8'), names: readdirSync(directory)};
    expect(JSON.parse(content)).toMatchObject({pid: process.pid});
    expect(names).toEqual(['lock']);
    third!.release();
    expect(readdirSync(directory)).toEqual([]);
  });

  test('a successor that died before it was done is succeeded too', () => {
    const directory = newFolder();
    leaveLock(directory, {pid: dead, ...here}, 190);
    // Killed between its link and its rename.
    interrupt(
      'renameSync',
      () => true,
      () => {
        throw new Error('killed');
      },
      () => expect(() => acquireLock(directory)).toThrow('killed'),
    );
    const [succession] = readdirSync(directory).filter((name) => name.startsWith('lock.next-'));
    const left = JSON.parse(readFileSync(path.join(directory, succession!), 'utf8')) as object;
    writeFileSync(path.join(directory, succession!), JSON.stringify({...left, pid: dead}));
    const lock = acquireLock(directory);
    expect(lock.tookOver).toBe(true);
    expect(JSON.parse(readFileSync(lockOf(directory), 'utf8'))).toMatchObject({pid: process.pid});
    lock.release();
    expect(readdirSync(directory)).toEqual([]);
  });

  test('a link whose reply the network lost counts as made', () => {
    const directory = newFolder();
    let links = 0;
    fs.during(
      (name, _, call) => {
        const result = call();
        if (name !== 'linkSync') return result;
        links += 1;
        throw Object.assign(new Error('EEXIST'), {code: 'EEXIST', syscall: 'link'});
      },
      () => acquireLock(directory).release(),
    );
    expect(links).toBe(1);
    expect(readdirSync(directory)).toEqual([]);
  });

  test('without hard links exactly one process gets a folder, and exactly one succeeds a dead owner', () => {
    const withoutLinks = (body: () => void): void =>
      fs.during((name, _, call) => {
        if (name === 'linkSync') throw Object.assign(new Error('not supported'), {code: 'ENOTSUP', syscall: 'link'});
        return call();
      }, body);
    const directory = newFolder();
    for (const hasDeadOwner of [false, true]) {
      if (hasDeadOwner) leaveLock(directory, {}, 190);
      withoutLinks(() => {
        const lock = acquireLock(directory);
        expect(lock.tookOver).toBe(hasDeadOwner);
        expect(() => acquireLock(directory)).toThrow(`in use by process ${process.pid}`);
        lock.check();
        lock.release();
      });
      expect(readdirSync(directory)).toEqual([]);
    }
    // Created and not yet written by another process.
    writeFileSync(lockOf(directory), '');
    withoutLinks(() => expect(() => acquireLock(directory)).toThrow('whose lock cannot be read yet'));
    utimesSync(lockOf(directory), 1, 1);
    withoutLinks(() => acquireLock(directory).release());
  });

  test('a lock that the server has and this client does not see yet is waited for, and respected', () => {
    const directory = newFolder();
    leaveLock(directory, {host: 'node18'});
    let hidden = 5;
    fs.during(
      (name, args, call) => {
        if (name === 'openSync' && args[0] === lockOf(directory) && hidden-- > 0) {
          throw Object.assign(new Error('no such file'), {code: 'ENOENT'});
        }
        return call();
      },
      () => expect(() => acquireLock(directory)).toThrow('in use by process 1 on host node18'),
    );
    expect(hidden).toBeLessThan(0);
    expect(readdirSync(directory)).toEqual(['lock']);
  });

  test('a process that stood still while another took over finds out before it writes, and leaves that lock alone', () => {
    const directory = newFolder();
    const lock = acquireLock(directory);
    lock.check();
    leaveLock(directory, {host: 'node18'});
    const later = jest.spyOn(Date, 'now').mockReturnValue(Date.now() + 60_000);
    try {
      expect(() => lock.check()).toThrow(expect.objectContaining({code: 'lock-lost', oclif: {exit: 6}}));
    } finally {
      later.mockRestore();
    }
    lock.release();
    expect(JSON.parse(readFileSync(lockOf(directory), 'utf8'))).toMatchObject({host: 'node18'});
  });

  test('a living process of this machine holds its lock however old its heartbeat is: it may be suspended', () => {
    const directory = newFolder();
    const lock = acquireLock(directory);
    const content = readFileSync(lockOf(directory), 'utf8');
    lock.release();
    writeFileSync(lockOf(directory), content);
    const then = Date.now() / 1000 - 10_000;
    utimesSync(lockOf(directory), then, then);
    expect(isLocked(directory)).toBe(process.platform === 'linux');
    utimesSync(lockOf(directory), new Date(), new Date());
    expect(() => acquireLock(directory)).toThrow(
      expect.objectContaining({
        message: `${directory} is in use by process ${process.pid}.`,
        suggestions: [expect.stringContaining(`kill ${process.pid}`)],
      }),
    );
  });

  const linux = process.platform === 'linux' ? test : test.skip;
  linux('a zombie, which its parent has not noticed, holds no lock (Linux)', async () => {
    const directory = newFolder();
    // `sleep` takes the place of the shell, and does not look after its child.
    const parent = spawn('sh', ['-c', 'sh -c "echo \\$\\$; read line" <&3 & exec sleep 60'], {
      stdio: ['ignore', 'pipe', 'inherit', 'pipe'],
    });
    try {
      const [line] = (await once(parent.stdio[1]!, 'data')) as [Buffer];
      const pid = Number(line.toString());
      const stat = (): string[] => readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]!.split(' ');
      const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
      leaveLock(directory, {pid, started: stat()[19], boot, namespace: readlinkSync('/proc/self/ns/pid')});
      expect(isLocked(directory)).toBe(true);
      process.kill(pid, 'SIGKILL');
      while (stat()[0] !== 'Z') await setTimeout(5);
      expect(isLocked(directory)).toBe(false);
      acquireLock(directory).release();
    } finally {
      parent.kill('SIGKILL');
    }
  });

  test('the lock of a process of another user, which may not be signalled, is that of a living one', () => {
    const directory = newFolder();
    const lock = acquireLock(directory);
    const content = readFileSync(lockOf(directory), 'utf8');
    lock.release();
    writeFileSync(lockOf(directory), content);
    const forbidden = jest.spyOn(process, 'kill').mockImplementation(() => {
      throw Object.assign(new Error('operation not permitted'), {code: 'EPERM'});
    });
    try {
      expect(isLocked(directory)).toBe(true);
      forbidden.mockImplementation(() => {
        throw Object.assign(new Error('no such process'), {code: 'ESRCH'});
      });
      expect(isLocked(directory)).toBe(false);
    } finally {
      forbidden.mockRestore();
    }
  });

  test('the heartbeat goes on while the main thread is busy, whatever that does', () => {
    const directory = newFolder();
    const lock = acquireLock(directory, {heartbeatMs: 20});
    const age = (): number => statSync(lockOf(directory)).mtimeMs;
    const before = readFileSync(lockOf(directory), 'utf8');
    const past = Date.now() / 1000 - 1000;
    utimesSync(lockOf(directory), past, past);
    const cell = new Int32Array(new SharedArrayBuffer(4));
    for (let i = 0; i < 1000 && age() < 1000 * past + 1000; i++) Atomics.wait(cell, 0, 0, 10);
    expect(age()).toBeGreaterThan(1000 * past + 1000);
    expect(readFileSync(lockOf(directory), 'utf8')).toBe(before);
    lock.release();
    expect(readdirSync(directory)).toEqual([]);
  });
});

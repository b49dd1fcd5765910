import {execFileSync, spawnSync} from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  renameSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';

import {describe, expect, test} from '@jest/globals';

import {SdqError} from '../../../src/errors.ts';
import {interceptFs} from '../../helpers/intercepted-fs.ts';
import {temporaryFolder} from '../../helpers/temporary-folder.ts';

const fs = interceptFs();
const {openCheckpoints} = await import('../../../src/runs/checkpoints.ts');
const {acquireLock} = await import('../../../src/lock.ts');
const {findRun, listRuns} = await import('../../../src/runs/find-run.ts');
const {resumeCommand, syncCommand} = await import('../../../src/runs/run-commands.ts');
const {createRun, resumeRun} = await import('../../../src/runs/run-directory.ts');
const {reserveRunId} = await import('../../../src/runs/run-id.ts');

const folder = temporaryFolder();
const spec = {command: 'search', config: {seed: 7}, seed: 7, versions: {sdq: '0.1.0'}};
const at = (second: number): Date => new Date(Date.UTC(2026, 0, 2, 3, 4, second));
const silent = (): void => undefined;

/** The pid of a process that has ended. */
function deadPid(): number {
  return spawnSync(process.execPath, ['-e', '0']).pid;
}

test('the record names commit, branch and remote of the working folder, without the password of the remote', () => {
  const repository = mkdtempSync(path.join(folder, 'git-'));
  const git = (...args: string[]): void =>
    void execFileSync('git', ['-c', 'user.name=a', '-c', 'user.email=a@b', ...args], {
      cwd: repository,
      stdio: 'ignore',
    });
  git('init', '-b', 'topic');
  git('commit', '--allow-empty', '-m', 'x');
  git('remote', 'add', 'origin', 'https://ada:hunter2@example.org/a.git?token=hunter2');
  const before = process.cwd();
  process.chdir(repository);
  try {
    const run = createRun(path.join(folder, 'git-runs'), spec, new Date(), () => undefined);
    run.end('finished', 0);
    const remote = 'https://example.org/a.git';
    expect(run.record().git).toEqual({commit: expect.any(String), dirty: false, branch: 'topic', remote});
  } finally {
    process.chdir(before);
  }
});

describe('run directory', () => {
  test('a run can be created, ended, listed and found by the beginning of its id', () => {
    const root = path.join(folder, 'a');
    const run = createRun(root, spec, at(5), silent);
    expect(run.id).toMatch(/^20260102-030405-search-[0-9a-f]{4}$/);
    expect(listRuns(root).map(({status}) => status)).toEqual(['running']);
    run.update({results: {search: {meanWeightBits: 2}}});
    run.end('finished', 0);
    expect(existsSync(run.path('lock'))).toBe(false);
    const {record, directory} = findRun(root, '20260102');
    expect(directory).toBe(run.directory);
    expect(record).toMatchObject({id: run.id, status: 'finished', exitCode: 0, config: {seed: 7}});
    expect(record.results).toEqual({search: {meanWeightBits: 2}});
    expect(() => resumeRun(root, run.id, 'search', at(6), silent)).toThrow(/is finished; there is nothing to resume/);
  });

  test('a living owner keeps others out; a dead one is taken over and said', () => {
    const root = path.join(folder, 'b');
    const run = createRun(root, spec, at(1), silent);
    expect(() => resumeRun(root, run.id, 'search', at(2), silent)).toThrow(`in use by process ${process.pid}`);
    writeFileSync(run.path('lock'), JSON.stringify({pid: deadPid(), started: '1'}));
    expect(listRuns(root)[0]!.status).toBe('interrupted');
    const notices: string[] = [];
    const resumed = resumeRun(root, 'latest', 'search', at(3), (message) => notices.push(message));
    expect(notices).toEqual([expect.stringContaining('the process that held it is gone')]);
    expect(resumed.record().resumedAt).toEqual([at(3).toISOString()]);
    resumed.end('interrupted', 130);
  });

  test('what a killed process left half written goes when the folder has its next owner; other files stay', () => {
    const directory = path.join(folder, 'half-written');
    mkdirSync(path.join(directory, 'tracking'), {recursive: true});
    const kept = ['.tmp', 'notes.1.tmp', '.notes.tmp', '.run.json.tmp'];
    for (const name of [...kept, '.run.json.17.tmp', 'tracking/.mlflow.json.4711.tmp'])
      writeFileSync(path.join(directory, name), '{');
    acquireLock(directory).release();
    expect(readdirSync(directory).toSorted()).toEqual([...kept, 'tracking'].toSorted());
    expect(readdirSync(path.join(directory, 'tracking'))).toEqual([]);
  });

  test('a pid that now belongs to another process does not hold the lock', () => {
    const directory = path.join(folder, 'c');
    mkdirSync(directory);
    writeFileSync(path.join(directory, 'lock'), JSON.stringify({pid: process.pid, started: 'another time'}));
    const lock = acquireLock(directory);
    expect(lock.tookOver).toBe(true);
    lock.release();
    expect(readdirSync(directory)).toEqual([]);
  });

  test('an unreadable lock is stale, not an obstacle for ever', () => {
    const directory = path.join(folder, 'd');
    mkdirSync(directory);
    writeFileSync(path.join(directory, 'lock'), 'not JSON');
    acquireLock(directory).release();
    // An empty one may be of a process that is about to write it, unless it is old.
    writeFileSync(path.join(directory, 'lock'), '');
    utimesSync(path.join(directory, 'lock'), 1, 1);
    const lock = acquireLock(directory);
    expect(JSON.parse(readFileSync(path.join(directory, 'lock'), 'utf8'))).toMatchObject({pid: process.pid});
    lock.release();
  });

  test('a run of another root is resumed by its folder, and named so', () => {
    const run = createRun(path.join(folder, 'elsewhere'), spec, at(1), silent);
    run.end('interrupted', 130);
    const from = (which: string): string => {
      const resumed = resumeRun(path.join(folder, 'none'), which, 'search', at(2), silent);
      resumed.end('interrupted', 130);
      return resumed.directory;
    };
    expect(from(run.directory)).toBe(run.directory);
    expect(from(`${path.relative('', run.directory)}/`)).toBe(run.directory);
    expect(() => from(path.join(folder, 'elsewhere', 'x'))).toThrow(/elsewhere.x.run\.json/);
    expect(resumeCommand('search', run.directory)).toBe(`sdq search --resume ${path.relative('', run.directory)}`);
    expect(resumeCommand('search', path.resolve('two words'))).toBe('sdq search --resume "./two words"');
    expect(syncCommand(path.resolve('.'))).toBe('sdq track sync ./');
    expect(findRun(path.join(folder, 'none'), run.directory)).toMatchObject({
      record: {id: run.id, status: 'interrupted'},
      directory: run.directory,
    });
  });

  test('another command may not resume it, an unknown or broken run is named', () => {
    const root = path.join(folder, 'e');
    const run = createRun(root, spec, at(1), silent);
    run.end('failed', 1);
    expect(() => resumeRun(root, run.id, 'train', at(2), silent)).toThrow(
      /is a run of `sdq search`, not of `sdq train`/,
    );
    expect(() => findRun(root, 'nothing')).toThrow(/There is no run "nothing"/);
    writeFileSync(run.path('run.json'), '[1, 2]');
    expect(() => findRun(root, run.id)).toThrow(SdqError);
  });

  test('latest passes over runs that failed with nothing to go on from, unless there is no other', () => {
    const root = path.join(folder, 'f');
    const latest = (): string => {
      const run = resumeRun(root, 'latest', 'search', at(9), silent);
      run.end('failed', 6);
      return run.id;
    };
    const refused = createRun(root, spec, at(1), silent);
    refused.end('failed', 6);
    expect(latest()).toBe(refused.id);
    const begun = createRun(root, spec, at(2), silent);
    begun.checkpoints.save('1', Buffer.from('state'));
    begun.end('failed', 6);
    createRun(root, spec, at(3), silent).end('failed', 3);
    createRun(root, {...spec, command: 'train'}, at(4), silent).end('interrupted', 130);
    expect(latest()).toBe(begun.id);
    const killed = createRun(root, spec, at(5), silent);
    killed.end('interrupted', 130);
    expect(latest()).toBe(killed.id);
  });

  test('a folder that was renamed or copied is read, listed and resumed, with the paths it has now', () => {
    const root = path.join(folder, 'renamed');
    const run = createRun(root, spec, at(1), silent);
    run.update({
      results: {
        search: {checkpoint: run.path('searched.safetensors'), pareto: [{strategy: run.path('pareto-1.json')}]},
      },
    });
    run.end('interrupted', 130);
    createRun(root, spec, at(0), silent).end('interrupted', 130);
    const renamed = path.join(root, 'my-best-run');
    renameSync(run.directory, renamed);
    const moved = {
      search: {
        checkpoint: path.join(renamed, 'searched.safetensors'),
        pareto: [{strategy: path.join(renamed, 'pareto-1.json')}],
      },
    };
    for (const which of ['latest', 'my-best', run.id, renamed]) {
      expect(findRun(root, which)).toMatchObject({directory: renamed, record: {id: run.id, results: moved}});
    }
    const told: string[] = [];
    const list = (): string[] => listRuns(root, {onRenamed: ({directory}) => told.push(directory)}).map(({id}) => id);
    expect(list()[1]).toBe(run.id);
    expect(told).toEqual([renamed]);
    cpSync(renamed, path.join(root, 'my-best-run-2'), {recursive: true});
    expect(findRun(root, 'my-best-run').directory).toBe(renamed);
    expect(() => findRun(root, run.id)).toThrow('names 2 runs');
    const resumed = resumeRun(root, 'my-best-run', 'search', at(2), silent);
    expect(resumed.directory).toBe(renamed);
    resumed.end('finished', 0);
    expect(JSON.parse(readFileSync(path.join(renamed, 'run.json'), 'utf8'))).toMatchObject({
      id: run.id,
      results: moved,
    });
  });

  test('ids that collide are drawn again; a given id that is taken is refused', () => {
    const root = path.join(folder, 'collisions');
    mkdirSync(root);
    // Every suffix but these: whatever is drawn, it collides.
    const free = ['ffff', '0000', '8001'];
    const isUsed = (id: string): boolean => !free.some((suffix) => id.endsWith(suffix));
    const ids = free.map(() => reserveRunId(root, 'search', at(1), isUsed));
    expect(ids.map((id) => id.slice(-4)).toSorted()).toEqual(free.toSorted());
    expect(() => reserveRunId(root, 'search', at(1), isUsed)).toThrow('All 65536 ids of runs');
    const run = createRun(root, {...spec, id: ids[0]}, at(1), silent);
    run.end('finished', 0);
    expect(() => createRun(root, {...spec, id: ids[0]}, at(1), silent)).toThrow('SDQ_RUN_ID is');
  });

  test('a run that another process finishes before the lock is taken is not resumed', () => {
    const root = path.join(folder, 'finished-meanwhile');
    const run = createRun(root, spec, at(1), silent);
    run.end('interrupted', 130);
    const finished = {...run.record(), status: 'finished', exitCode: 0, results: {search: {accuracy: 0.9}}};
    fs.during(
      (name, _, call) => {
        if (name === 'linkSync') writeFileSync(run.path('run.json'), JSON.stringify(finished));
        return call();
      },
      () => {
        const resume = (): unknown => resumeRun(root, run.id, 'search', at(2), silent);
        expect(resume).toThrow('is finished; there is nothing to resume');
      },
    );
    expect(JSON.parse(readFileSync(run.path('run.json'), 'utf8'))).toEqual(finished);
    expect(existsSync(run.path('lock'))).toBe(false);
  });

  test('no runs folder means no runs', () => {
    expect(listRuns(path.join(folder, 'nowhere'))).toEqual([]);
  });
});

describe('checkpoints', () => {
  const bytes = (text: string): Uint8Array => Buffer.from(text);

  test('keeps the two newest and gives the newest back', () => {
    const directory = path.join(folder, 'checkpoints-1');
    const checkpoints = openCheckpoints(directory);
    expect(checkpoints.latest(silent)).toBeUndefined();
    for (const name of ['1', '2', '3']) checkpoints.save(name, bytes(name));
    expect(Buffer.from(checkpoints.latest(silent)!.content).toString()).toBe('3');
    expect(readdirSync(directory).sort()).toEqual(['manifest.json', 'step-2.safetensors', 'step-3.safetensors']);
    checkpoints.clear();
    expect(readdirSync(directory)).toEqual(['manifest.json']);
  });

  test('a damaged newest checkpoint is named and the older one is used; two damaged ones are an error', () => {
    const directory = path.join(folder, 'checkpoints-2');
    const checkpoints = openCheckpoints(directory);
    checkpoints.save('1', bytes('old'));
    checkpoints.save('2', bytes('new'));
    writeFileSync(path.join(directory, 'step-2.safetensors'), 'nEw');
    const messages: string[] = [];
    const latest = checkpoints.latest((message) => messages.push(message));
    expect(Buffer.from(latest!.content).toString()).toBe('old');
    expect(messages).toEqual([expect.stringContaining('step-2.safetensors is damaged')]);
    writeFileSync(path.join(directory, 'step-1.safetensors'), '');
    expect(() => checkpoints.latest(silent)).toThrow(/all 2 are missing or damaged/);
  });

  test('a checkpoint is complete on the disk before the manifest names it, and an old one goes only afterwards', () => {
    const directory = path.join(folder, 'checkpoints-3');
    const checkpoints = openCheckpoints(directory);
    for (const name of ['1', '2']) checkpoints.save(name, bytes(name));
    const calls: string[] = [];
    const names = new Map<unknown, string>();
    const shown = (file: unknown): string => path.basename(String(file)).replace(/^\.(.+)\.\d+\.tmp$/, '$1 (draft)');
    fs.during(
      (name, args, call) => {
        const result = call();
        if (name === 'openSync') names.set(result, shown(args[0]));
        if (['writeSync', 'fsyncSync'].includes(name)) calls.push(`${name} ${names.get(args[0])!}`);
        if (name === 'renameSync') calls.push(`${name} ${shown(args[1])}`);
        if (name === 'rmSync') calls.push(`${name} ${shown(args[0])}`);
        return result;
      },
      () => checkpoints.save('3', bytes('3')),
    );
    expect(calls).toEqual([
      'writeSync step-3.safetensors (draft)',
      'fsyncSync step-3.safetensors (draft)',
      'renameSync step-3.safetensors',
      'fsyncSync checkpoints-3',
      'writeSync manifest.json (draft)',
      'fsyncSync manifest.json (draft)',
      'renameSync manifest.json',
      'fsyncSync checkpoints-3',
      'rmSync step-1.safetensors',
    ]);
  });
});

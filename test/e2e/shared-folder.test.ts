/** Many processes in one runs directory, with the built code (`npm run build`). */
import {spawn, type ChildProcess} from 'node:child_process';
import {once} from 'node:events';
import {mkdirSync, utimesSync, writeFileSync} from 'node:fs';
import path from 'node:path';
import {createInterface} from 'node:readline';
import {fileURLToPath} from 'node:url';

import {afterAll, describe, expect, test} from '@jest/globals';

import {uniform} from '../../src/random.ts';
import {readJournal} from '../../src/runs/journal.ts';
import {allRuns} from '../../src/runs/find-run.ts';
import {temporaryFolder} from '../helpers/temporary-folder.ts';
import {thorough} from '../helpers/thorough.ts';

const base = temporaryFolder();
const writer = fileURLToPath(new URL('../helpers/run-writer.js', import.meta.url));
const started: ChildProcess[] = [];
afterAll(() => started.forEach((child) => child.kill('SIGKILL')));

function start(...args: readonly string[]) {
  const child = spawn(process.execPath, [writer, ...args], {cwd: base, stdio: ['pipe', 'pipe', 'inherit']});
  started.push(child);
  return child;
}

const processes = 10;
const runsEach = 10;
const rows = 20;
/** Of each of the ten. */
const kills = 3;

(thorough ? describe : describe.skip)('a shared folder (in the slow suite)', () => {
  test('10 processes × 10 runs, each killed three times: no lock is stolen, no row is lost or doubled', async () => {
    const root = path.join(base, 'runs');
    mkdirSync(root);
    const draw = uniform(Number(process.env['TEST_SEED'] ?? 1), 'bench');
    /** The process that was told that the row of a run and step is logged. */
    const logged = new Map<string, number>();
    const takenOver: string[] = [];
    const endings: string[] = [];

    /** A process, and after its death another one for the rest of its runs. */
    const work = async (runs: number, killsLeft: number): Promise<void> => {
      // One that is to be killed makes runs until then: it may be far ahead of the lines that are read here.
      const child = start('write', root, String(killsLeft > 0 ? Infinity : runs), String(rows));
      let killAfter = killsLeft > 0 ? 1 + Math.floor(1.5 * rows * draw()) : Infinity;
      let left = runs;
      const exit = once(child, 'exit') as Promise<[code: number | null, signal: string | null]>;
      for await (const line of createInterface({input: child.stdout})) {
        const [what, run = '', step, pid] = line.split(' ');
        if (what === 'took') takenOver.push(run);
        if (what === 'end') left -= 1;
        if (what !== 'row') continue;
        logged.set(`${run} ${step!}`, Number(pid));
        killAfter -= 1;
        if (killAfter === 0) child.kill('SIGKILL');
      }
      const [code, signal] = await exit;
      endings.push(signal ?? String(code));
      if (signal !== null) await work(Math.max(1, left), killsLeft - 1);
    };
    await Promise.all(Array.from({length: processes}, () => work(runsEach, kills)));

    expect(endings.toSorted()).toEqual([
      ...Array.from({length: processes}, () => '0'),
      ...Array.from({length: processes * kills}, () => 'SIGKILL'),
    ]);
    // A kill that comes between two runs leaves none to take over: how many do is chance.
    expect(takenOver.length).toBeGreaterThan(0);
    const runs = allRuns(root);
    expect(runs.length).toBeGreaterThanOrEqual(processes * runsEach);
    for (const {record, directory} of runs) {
      expect(record.status).toBe('finished');
      const events = [...readJournal(path.join(directory, 'events.jsonl'))].filter(({kind}) => kind === 'metric');
      expect(events.map(({step}) => step)).toEqual(Array.from({length: rows}, (_, i) => i + 1));
      const writers = events.map(({data}) => data['search/loss']);
      // Whose lock was taken over has written nothing since.
      expect(writers.filter((pid, i) => pid !== writers[i - 1])).toEqual([...new Set(writers)]);
      for (const [i, pid] of writers.entries()) {
        const told = logged.get(`${record.id} ${i + 1}`);
        // A process may be killed between the row and its line.
        if (told !== undefined) expect(told).toBe(pid);
      }
    }
    const known = new Set(runs.map(({record}) => record.id));
    expect([...logged.keys()].filter((row) => !known.has(row.slice(0, row.indexOf(' '))))).toEqual([]);
  }, 120_000);

  test("another host's lock is respected by 10 processes until its heartbeat is stale; then exactly one takes over", async () => {
    const children = Array.from({length: processes}, () => start('claim'));
    const answers = children.map((child) => createInterface({input: child.stdout})[Symbol.asyncIterator]());
    const ask = async (folder: string): Promise<string[]> => {
      const soon = Date.now() + 20;
      children.forEach((child) => child.stdin.write(`${soon} ${folder}\n`));
      const all = await Promise.all(answers.map((lines) => lines.next()));
      return all.map(({value}) => String(value)).sort();
    };
    const refused = (count: number): string[] => Array.from({length: count}, () => 'refused');
    for (let round = 0; round < 20; round++) {
      const folder = path.join(base, `other-host-${round}`);
      const lock = path.join(folder, 'lock');
      mkdirSync(folder);
      writeFileSync(lock, JSON.stringify({pid: 1, started: '1', host: 'node17', boot: 'other', namespace: 'pid:[1]'}));
      const beat = (secondsAgo: number): void => utimesSync(lock, Date.now() / 1000, Date.now() / 1000 - secondsAgo);
      beat(150);
      expect(await ask(folder)).toEqual(refused(processes));
      beat(190);
      expect(await ask(folder)).toEqual(['got', ...refused(processes - 1)]);
      expect(await ask(folder)).toEqual(refused(processes));
    }
    const exits = children.map((child) => once(child, 'exit'));
    children.forEach((child) => child.stdin.end());
    expect(await Promise.all(exits)).toEqual(children.map(() => [0, null]));
  }, 120_000);
});

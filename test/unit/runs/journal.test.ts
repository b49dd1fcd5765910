import {appendFileSync, readFileSync, truncateSync, writeFileSync} from 'node:fs';
import path from 'node:path';

import {describe, expect, test} from '@jest/globals';
import fc from 'fast-check';

import {SdqError} from '../../../src/errors.ts';
import {interceptFs} from '../../helpers/intercepted-fs.ts';
import {temporaryFolder} from '../../helpers/temporary-folder.ts';

const fs = interceptFs();
const {openJournal, readJournal} = await import('../../../src/runs/journal.ts');

const folder = temporaryFolder();
let count = 0;
const newFile = (): string => path.join(folder, `events-${count++}.jsonl`);

describe('journal', () => {
  test('numbers and stamps every line, and a reader sees it before the journal is closed', () => {
    const file = newFile();
    const journal = openJournal(file, {now: () => 1234});
    journal.log('metric', {loss: 0.5}, 3);
    expect(readFileSync(file, 'utf8')).toBe('{"seq":1,"ts":1234,"kind":"metric","step":3,"data":{"loss":0.5}}\n');
    journal.log('end', {status: 'finished'});
    expect([...readJournal(file)].map(({seq}) => seq)).toEqual([1, 2]);
    journal.close();
  });

  test('writes NaN and infinities as strings', () => {
    const file = newFile();
    const journal = openJournal(file);
    journal.log('metric', {a: NaN, b: Infinity, c: [-Infinity], d: new Float32Array([1, NaN])});
    journal.close();
    expect([...readJournal(file)][0]!.data).toEqual({a: 'NaN', b: 'Infinity', c: ['-Infinity'], d: [1, 'NaN']});
  });

  test('cuts a line torn at any byte and goes on with the next number', () => {
    const whole = newFile();
    const journal = openJournal(whole, {now: () => 1});
    journal.log('metric', {text: 'first'}, 1);
    journal.log('metric', {text: 'sécond'}, 2);
    journal.close();
    const bytes = readFileSync(whole);
    const firstLine = bytes.indexOf(10) + 1;
    for (let cut = firstLine; cut < bytes.length; cut++) {
      const file = newFile();
      writeFileSync(file, bytes.subarray(0, cut));
      const reopened = openJournal(file, {now: () => 2});
      expect(reopened.position()).toBe(1);
      reopened.log('metric', {text: 'again'}, 2);
      reopened.close();
      expect([...readJournal(file)].map(({seq, data}) => [seq, data['text']])).toEqual([
        [1, 'first'],
        [2, 'again'],
      ]);
    }
  });

  test('does not write again what a resumed run repeats, and goes on after it', () => {
    const file = newFile();
    const first = openJournal(file, {now: () => 1});
    for (let step = 1; step <= 5; step++) first.log('metric', {step}, step);
    first.log('end', {status: 'interrupted'});
    first.close();

    const second = openJournal(file, {now: () => 2});
    expect(second.replayAfter(0)).toBe(0); // the run, from its beginning
    expect(second.replayAfter(2)).toBe(0); // the phase: its checkpoint was saved after step 2
    for (let step = 3; step <= 7; step++) second.log('metric', {step}, step);
    expect(second.position()).toBe(8);
    second.close();
    const steps = [...readJournal(file)].filter(({kind}) => kind === 'metric').map(({step}) => step);
    expect(steps).toEqual([1, 2, 3, 4, 5, 6, 7]);
    expect([...readJournal(file)].map(({seq}) => seq)).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
  });

  test('a call that is not the one the journal holds next ends the replay: kind and step both count', () => {
    for (const [kind, step] of [
      ['metric', 4],
      ['param', 3],
    ] as const) {
      const file = newFile();
      const first = openJournal(file);
      for (let i = 1; i <= 4; i++) first.log('metric', {i}, i);
      first.close();
      const second = openJournal(file);
      second.replayAfter(2);
      second.log(kind, {other: true}, step);
      second.log('metric', {}, 4);
      second.close();
      const written = [...readJournal(file)].slice(4).map((event) => [event.seq, event.kind, event.step]);
      expect(written).toEqual([
        [5, kind, step],
        [6, 'metric', 4],
      ]);
    }
  });

  test('lines are synced once a second, whatever becomes of the wall clock', () => {
    let running = 0;
    let wall = Date.UTC(2026, 0, 1);
    const journal = openJournal(newFile(), {now: () => wall, elapsed: () => running});
    const syncs: number[] = [];
    fs.during(
      (name, args, call) => {
        if (name !== 'fsync') return call();
        syncs.push(running);
        (args[1] as () => void)();
        return undefined;
      },
      () => {
        for (; running <= 4000; running += 500) {
          journal.log('metric', {}, running);
          wall -= 3_600_000;
        }
      },
    );
    expect(syncs).toEqual([1000, 2000, 3000, 4000]);
    journal.close();
  });

  test('a line of which the disk took a part is finished, and a disk that stays full is reported once', () => {
    const file = newFile();
    const troubles: string[] = [];
    const journal = openJournal(file, {now: () => 1, onTrouble: ({message}) => troubles.push(message)});
    const full = Object.assign(new Error('no space left on device'), {code: 'ENOSPC'});
    let writes = 0;
    fs.during(
      (name, args, call) => {
        if (name !== 'writeSync') return call();
        writes += 1;
        if (writes <= 2) throw full;
        // Half of the first line, then all that comes.
        if (writes > 3) return call();
        return fs.original.writeSync(args[0] as number, (args[1] as Uint8Array).subarray(0, 9));
      },
      () => {
        for (const step of [1, 2, 3]) journal.log('metric', {loss: step}, step);
      },
    );
    journal.close();
    expect(troubles).toEqual([expect.stringContaining(file)]);
    expect([...readJournal(file)].map(({seq, step}) => [seq, step])).toEqual([
      [1, 1],
      [2, 2],
      [3, 3],
    ]);
  });

  test('a process that has lost its lock writes no line', () => {
    const file = newFile();
    const journal = openJournal(file, {
      beforeWrite: () => {
        throw new Error('lock lost');
      },
    });
    expect(() => journal.log('metric', {}, 1)).toThrow('lock lost');
    journal.close();
    expect(readFileSync(file, 'utf8')).toBe('');
  });

  test('a position taken during a replay resumes at the same event', () => {
    const file = newFile();
    const first = openJournal(file);
    for (let step = 1; step <= 4; step++) first.log('metric', {}, step);
    first.close();
    const second = openJournal(file);
    second.replayAfter(1);
    second.log('metric', {}, 2);
    const saved = second.position();
    second.close();
    const third = openJournal(file);
    third.replayAfter(saved);
    for (let step = 3; step <= 5; step++) third.log('metric', {}, step);
    third.close();
    expect([...readJournal(file)].map(({step}) => step)).toEqual([1, 2, 3, 4, 5]);
  });

  test('counts the lines that the file has lost before a position', () => {
    const file = newFile();
    const first = openJournal(file);
    for (let step = 1; step <= 4; step++) first.log('metric', {}, step);
    first.close();
    truncateSync(file, readFileSync(file, 'utf8').split('\n').slice(0, 2).join('\n').length + 1);
    const second = openJournal(file);
    expect(second.replayAfter(0)).toBe(0);
    expect(second.replayAfter(3)).toBe(1);
    second.close();
  });

  test('names the byte offset of a line that is not an event', () => {
    const file = newFile();
    const journal = openJournal(file, {now: () => 1});
    journal.log('metric', {}, 1);
    journal.close();
    const offset = readFileSync(file).length;
    appendFileSync(file, '{"seq":2}\n');
    expect(() => openJournal(file)).toThrow(new RegExp(`byte ${offset} is not an event`));
    expect(() => openJournal(file)).toThrow(SdqError);
  });

  test('random bytes are refused or read, never a crash', () => {
    fc.assert(
      fc.property(fc.uint8Array({maxLength: 300}), (bytes) => {
        const file = newFile();
        writeFileSync(file, bytes);
        try {
          for (const event of readJournal(file)) expect(event.seq).toEqual(expect.any(Number));
        } catch (error) {
          expect(error).toBeInstanceOf(SdqError);
        }
      }),
      {numRuns: 200},
    );
  });

  test('a folder that cannot be written is named', () => {
    expect(() => openJournal(path.join(folder, 'no', 'such', 'folder'))).toThrow(
      /Cannot write .*no such file or folder/,
    );
  });
});

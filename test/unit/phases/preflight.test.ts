import {expect, test} from '@jest/globals';

import {SdqError} from '../../../src/errors.ts';
import {preflight} from '../../../src/phases/preflight.ts';
import type {Session} from '../../../src/phases/session.ts';
import {models} from '../../../src/plugins/models/index.ts';
import {classification} from '../../../src/plugins/tasks/classification.ts';
import {Registry} from '../../../src/plugin-api/registry.ts';
import {madeDataset} from '../../helpers/made-dataset.ts';

/** A session of cnn-small on images of 2048 × 2048, which no test could hold: only the shapes are read. */
function session(batchSize: number, limitBytes: number | undefined, classes = ['a', 'b']): Session {
  const registry = new Registry(['model', 'task']);
  for (const model of models) registry.add(model);
  registry.add(classification);
  const labels = new Uint16Array(new SharedArrayBuffer(2 * 512));
  const split = {kind: 'files' as const, paths: new Array<string>(512).fill('x.png'), labels};
  const dataset = {...madeDataset(1, 1), classes, height: 2048, width: 2048, train: split};
  return {
    config: {
      model: {name: 'cnn-small'},
      task: {name: 'classification', options: {}},
      data: {name: 'made', batchSize, validation: 0},
      train: {distillation: {teacher: 'self'}},
    },
    registry,
    dataset,
    task: {outputs: classes.length, caution: classification.caution?.(dataset, {})},
    engine: {name: 'wasm', limitBytes},
  } as unknown as Session;
}

function failure(body: () => void): SdqError {
  try {
    body();
  } catch (error) {
    if (error instanceof SdqError) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
}

test('a step that the memory cannot hold is refused before it is tried, with a batch that fits', () => {
  const error = failure(() => preflight(session(64, 4 * 2 ** 30), 'pretrain'));
  expect(error.oclif.exit).toBe(6);
  // The images alone: 64 × 3 × 2048² × 4 bytes = 3072 MiB.
  const [, needed] = /needs (\d+) MiB at least; the wasm engine has 4096 MiB/.exec(error.message)!;
  expect(Number(needed)).toBeGreaterThan(3072);
  const [, batch] = /data\.batchSize=(\d+)/.exec(error.suggestions[0]!)!;
  expect(() => preflight(session(Number(batch), 4 * 2 ** 30), 'pretrain')).not.toThrow();
});

test('one image too many for the memory', () => {
  expect(failure(() => preflight(session(1, 2 ** 20), 'pretrain')).suggestions[0]).toContain('One image is too much');
});

test('an engine without a limit is not judged', () => {
  expect(() => preflight(session(512, undefined), 'pretrain')).not.toThrow();
});

test('one class is said to leave nothing to learn', () => {
  const lines: string[] = [];
  const reporter = {line: (text: string) => lines.push(text)} as unknown as Session['reporter'];
  preflight({...session(1, undefined, ['a']), reporter}, 'pretrain');
  expect(lines).toEqual(['made has one class only (a): there is nothing to learn.']);
});

test('a search that is to learn from a teacher needs one', () => {
  const given = session(1, undefined);
  const config = {...given.config, search: {distillation: true}, train: {distillation: {teacher: 'none'}}};
  const error = failure(() => preflight({...given, config} as Session, 'search'));
  expect(error.message).toBe(
    '/search/distillation is true, and /train/distillation/teacher is none: the search has no teacher to learn from.',
  );
  expect(error.oclif.exit).toBe(3);
});

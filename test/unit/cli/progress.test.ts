import {PassThrough} from 'node:stream';

import {expect, test} from '@jest/globals';

import {createProgress} from '../../../src/cli/progress.ts';

function recorded(isTTY: boolean): {stream: NodeJS.WriteStream; text: () => string} {
  let text = '';
  const stream = new PassThrough();
  stream.on('data', (chunk: Buffer) => (text += chunk.toString()));
  const terminal = {isTTY, columns: 80, cursorTo: () => true, moveCursor: () => true, clearLine: () => true};
  return {stream: Object.assign(stream, terminal) as unknown as NodeJS.WriteStream, text: () => text};
}

test('without a terminal there is one line an epoch and no bar', () => {
  const {stream, text} = recorded(false);
  const progress = createProgress(stream, {silent: false});
  for (let step = 1; step <= 100; step++) progress.update('search, epoch 1/2', step, 100);
  progress.line('search, epoch 1/2: loss 0.5');
  progress.stop();
  expect(text()).toBe('search, epoch 1/2: loss 0.5\n');
});

test('silent means nothing at all', () => {
  const {stream, text} = recorded(true);
  const progress = createProgress(stream, {silent: true});
  progress.update('search', 1, 2);
  progress.line('a notice');
  progress.stop();
  expect(text()).toBe('');
});

test('a bar draws from a loop that lets no timer run, and a line goes before it', async () => {
  const {stream, text} = recorded(true);
  const progress = createProgress(stream, {silent: false});
  const end = performance.now() + 700;
  for (let step = 0; performance.now() < end; step++) progress.update('search, epoch 1/2', step, 1e9, 'loss 0.43');
  const drawn = text().match(/search, epoch 1\/2 \[/g) ?? [];
  progress.line('search, epoch 1/2: loss 0.5');
  progress.stop();
  await new Promise((resolve) => setTimeout(resolve, 300));
  expect(drawn.length).toBeGreaterThanOrEqual(2);
  expect(drawn.length).toBeLessThanOrEqual(10);
  expect(text()).toContain('loss 0.43');
  expect(text().endsWith('search, epoch 1/2: loss 0.5\n')).toBe(true);
});

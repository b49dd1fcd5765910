import {PassThrough} from 'node:stream';

import {expect, test} from '@jest/globals';

import {createProgress} from '../../../src/cli/progress.ts';

function recorded(isTTY: boolean): {stream: NodeJS.WriteStream; text: () => string} {
  let text = '';
  const stream = new PassThrough();
  stream.on('data', (chunk: Buffer) => (text += chunk.toString()));
  const terminal = {isTTY, columns: 120, cursorTo: () => true, moveCursor: () => true, clearLine: () => true};
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

test('the time left is of the whole phase: it is not begun anew with an epoch, and unknown before there is a speed', async () => {
  const {stream, text} = recorded(true);
  let ms = 0;
  const progress = createProgress(stream, {silent: false, now: () => ms});
  progress.update('search, epoch 1/4', 1, 400);
  progress.update('search, epoch 1/4', 2, 400);
  expect(text()).not.toContain('ETA');
  for (let step = 3; step <= 101; step++) {
    ms += 1000;
    progress.update(`search, epoch ${Math.ceil(step / 100)}/4`, step, 400, `step ${step}`);
    // Draws at most ten times a second.
    if (step >= 100) await new Promise((resolve) => setTimeout(resolve, 120));
  }
  progress.update('search, epoch 2/4', 102, 400, 'the last');
  progress.stop();
  expect(text()).not.toContain('ETA 0s');
  // 99 s for the 99 steps after the second one.
  expect(text()).toContain('search, epoch 2/4 [=');
  expect(text()).toMatch(/ETA 4m5\ds, step 101/);
});

test('the time of a job is that of all its phases', async () => {
  const {stream, text} = recorded(true);
  let ms = 0;
  const progress = createProgress(stream, {silent: false, now: () => ms});
  progress.plan([
    {name: 'pretrain', steps: 100},
    {name: 'search', steps: 200},
    {name: 'train', steps: 50},
  ]);
  progress.update('search, epoch 1/2', 0, 200);
  ms = 150_000;
  await new Promise((resolve) => setTimeout(resolve, 120));
  progress.update('search, epoch 1/2', 100, 200, 'loss 1');
  progress.stop();
  // 100 more steps of 1.5 s, and 50 that take 2 / 1.5 as long.
  expect(text()).toContain('ETA 2m30s (all 4m10s), loss 1');
});

test('a second evaluation of the same name has its own speed', async () => {
  const {stream, text} = recorded(true);
  let ms = 0;
  const progress = createProgress(stream, {silent: false, now: () => ms});
  for (let batch = 1; batch <= 40; batch++) progress.update('evaluating on validation', batch, 40);
  // An hour of training.
  ms = 3_600_000;
  progress.update('evaluating on validation', 1, 40);
  for (let batch = 2; batch <= 20; batch++) {
    ms += 1000;
    if (batch === 20) await new Promise((resolve) => setTimeout(resolve, 120));
    progress.update('evaluating on validation', batch, 40);
  }
  progress.stop();
  expect(text()).toContain('50% ETA 20s');
  expect(text()).not.toContain('20s,');
  expect(text()).not.toMatch(/ETA \d+h/);
});

test.each([60, 80])('%i columns have room for the figures', async (columns) => {
  const {stream, text} = recorded(true);
  Object.assign(stream, {columns});
  let ms = 0;
  const progress = createProgress(stream, {silent: false, now: () => ms});
  progress.update('pretrain, epoch 1/6', 1, 600, 'loss 1.120, 812 images/s');
  ms = 10_000;
  await new Promise((resolve) => setTimeout(resolve, 120));
  progress.update('pretrain, epoch 1/6', 11, 600, 'loss 1.120, 812 images/s');
  progress.stop();
  expect(text()).toContain('pretrain, epoch 1/6 1% ETA 9m49s, loss 1.120, 812 images/s');
});

test('a bar draws from a loop that lets no timer run, and a line goes before it', async () => {
  const {stream, text} = recorded(true);
  const progress = createProgress(stream, {silent: false});
  const end = performance.now() + 700;
  for (let step = 0; performance.now() < end; step++)
    progress.update('search, epoch 1/2', step, 1e9, `loss 0.43, step ${step}`);
  const drawn = text().match(/search, epoch 1\/2 \[/g) ?? [];
  progress.line('search, epoch 1/2: loss 0.5');
  progress.stop();
  await new Promise((resolve) => setTimeout(resolve, 300));
  expect(drawn.length).toBeGreaterThanOrEqual(2);
  expect(drawn.length).toBeLessThanOrEqual(10);
  expect(text()).toContain('loss 0.43');
  expect(text().endsWith('search, epoch 1/2: loss 0.5\n')).toBe(true);
});

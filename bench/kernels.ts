/**
 * Speed of the wasm engine's convolutions and matrix products by shape, against the peak of one thread, and the error of
 * Winograd's algorithm against the direct one.
 *
 *   npx tsx bench/kernels.ts [--threads 1,2] [--only 3x3]
 *
 * Operations are those of the direct algorithm (2 a multiply-add), so that Winograd may exceed the peak. Times are the best of
 * many calls, the kernels of a shape taken in turns.
 */
import {parseArgs} from 'node:util';

import * as tf from '@tensorflow/tfjs-core';

import {backendName, type WasmBackend} from '../src/plugins/engines/wasm/backend.ts';
import {wasmEngine} from '../src/plugins/engines/wasm/index.ts';

const {values} = parseArgs({options: {threads: {type: 'string', default: '1,2'}, only: {type: 'string', default: ''}}});

type Shape4 = [number, number, number, number];

interface Shape {
  readonly name: string;
  readonly x: Shape4;
  readonly filter: Shape4;
  readonly stride: number;
  readonly pad: number;
}

const shape = (name: string, x: Shape4, filter: Shape4, stride = 1, pad = (filter[0] - 1) / 2): Shape => ({
  name,
  x,
  filter,
  stride,
  pad,
});

const shapes: readonly Shape[] = [
  shape('3x3 16 @32', [32, 32, 32, 16], [3, 3, 16, 16]),
  shape('3x3 32 @16', [32, 16, 16, 32], [3, 3, 32, 32]),
  shape('3x3 64 @8', [32, 8, 8, 64], [3, 3, 64, 64]),
  shape('3x3 /2 16→32 @32', [32, 32, 32, 16], [3, 3, 16, 32], 2),
  shape('3x3 /2 32→64 @16', [32, 16, 16, 32], [3, 3, 32, 64], 2),
  shape('1x1 /2 16→32 @32', [32, 32, 32, 16], [1, 1, 16, 32], 2),
  shape('3x3 3→16 @32', [32, 32, 32, 3], [3, 3, 3, 16]),
  shape('1x1 24→144 @16', [16, 16, 16, 24], [1, 1, 24, 144]),
  shape('1x1 144→24 @16', [16, 16, 16, 144], [1, 1, 144, 24]),
  shape('1x1 96→576 @8', [16, 8, 8, 96], [1, 1, 96, 576]),
  shape('7x7 /2 3→64 @224', [2, 224, 224, 3], [7, 7, 3, 64], 2),
  shape('3x3 64 @56', [4, 56, 56, 64], [3, 3, 64, 64]),
  shape('3x3 128 @28', [4, 28, 28, 128], [3, 3, 128, 128]),
  shape('3x3 256 @14', [8, 14, 14, 256], [3, 3, 256, 256]),
  shape('3x3 512 @7', [16, 7, 7, 512], [3, 3, 512, 512]),
];
const depthwiseShapes: readonly Shape[] = [
  shape('depthwise 96 @16', [32, 16, 16, 96], [3, 3, 96, 1]),
  shape('depthwise 576 @4', [32, 4, 4, 576], [3, 3, 576, 1]),
  shape('depthwise 32 @112', [2, 112, 112, 32], [3, 3, 32, 1]),
  shape('depthwise /2 144 @16', [32, 16, 16, 144], [3, 3, 144, 1], 2),
  shape('depthwise /2 96 @112', [1, 112, 112, 96], [3, 3, 96, 1], 2),
  shape('depthwise 5x5 120 @28', [4, 28, 28, 120], [5, 5, 120, 1]),
  shape('depthwise 5x5 672 @14', [4, 14, 14, 672], [5, 5, 672, 1]),
  shape('depthwise 5x5 /2 144 @56', [2, 56, 56, 144], [5, 5, 144, 1], 2),
  shape('depthwise 7x7 40 @56', [4, 56, 56, 40], [7, 7, 40, 1]),
  shape('depthwise 7x7 160 @14', [8, 14, 14, 160], [7, 7, 160, 1]),
];
const products: readonly (readonly [rows: number, length: number, columns: number])[] = [
  [128, 64, 10],
  [128, 1280, 1000],
  [512, 512, 512],
];

function run(kernel: string, inputs: Record<string, tf.Tensor>, attributes: object): tf.Tensor {
  return tf.engine().runKernel(kernel, inputs, attributes as tf.NamedAttrMap);
}

/** Best time of each function in ms; they take turns for about a second. */
function bestTimes(functions: readonly (() => tf.Tensor | null)[]): number[] {
  const best = functions.map(() => Infinity);
  const start = performance.now();
  for (let turn = 0; turn < 5 || (performance.now() - start < 1000 && turn < 300); turn++) {
    for (const [i, f] of functions.entries()) {
      const before = performance.now();
      const result = f();
      best[i] = Math.min(best[i]!, performance.now() - before);
      result?.dispose();
    }
  }
  return best;
}

function line(name: string, operations: number, functions: readonly (() => tf.Tensor)[], peak: number): void {
  const speeds = bestTimes(functions).map((ms) => operations / ms / 1e6);
  const cells = speeds.map((speed) => `${speed.toFixed(1)} (${((100 * speed) / peak).toFixed(0)} %)`.padStart(14));
  console.log(`${name.padEnd(25)}${cells.join('')}`);
}

/**
 * Largest error of Winograd's and of the direct convolution in units of the largest output, against sums in float64.
 * A 3×4 filter whose last column is 0 is the same convolution, by the direct kernel.
 */
function errors(channels: number, size: number): {readonly winograd: number; readonly direct: number} {
  const x = tf.randomNormal<tf.Rank.R4>([2, size, size, channels], 0, 1, 'float32', 1);
  const filter = tf.randomNormal<tf.Rank.R4>([3, 3, channels, channels], 0, 1, 'float32', 2);
  const wide = tf.pad(filter, [[0, 0], [0, 1], [0, 0], [0, 0]]); // prettier-ignore
  const y = tf.conv2d(x, filter, 1, 'same').dataSync();
  const z = tf.conv2d(x, wide, 1, [[0, 0], [1, 1], [1, 2], [0, 0]]).dataSync(); // prettier-ignore
  const [input, weights] = [x.dataSync(), filter.dataSync()];
  let [winograd, direct, largest] = [0, 0, 0];
  for (let place = 0; place < y.length; place += 37) {
    const column = place % channels;
    const [px, py] = [Math.floor(place / channels) % size, Math.floor(place / channels / size) % size];
    const image = Math.floor(place / channels / size / size);
    let sum = 0;
    for (let ky = 0; ky < 3; ky++) {
      for (let kx = 0; kx < 3; kx++) {
        const [iy, ix] = [py + ky - 1, px + kx - 1];
        if (iy < 0 || iy >= size || ix < 0 || ix >= size) continue;
        for (let c = 0; c < channels; c++) {
          const from = ((image * size + iy) * size + ix) * channels + c;
          sum += input[from]! * weights[((ky * 3 + kx) * channels + c) * channels + column]!;
        }
      }
    }
    winograd = Math.max(winograd, Math.abs(y[place]! - sum));
    direct = Math.max(direct, Math.abs(z[place]! - sum));
    largest = Math.max(largest, Math.abs(sum));
  }
  return {winograd: winograd / largest, direct: direct / largest};
}

const selected = ({name}: Shape): boolean => name.includes(values.only);

for (const threads of values.threads.split(',').map(Number)) {
  const engine = await wasmEngine.start({threads});
  await tf.setBackend(backendName);
  const sink = tf.zeros([128]);
  const steps = 100_000;
  // 10 chains of multiply-adds of 4 lanes, one after the other on each thread.
  // eslint-disable-next-line @typescript-eslint/no-unsafe-class-instance-assignment -- tfjs types every backend its own
  const backend = tf.backend() as WasmBackend;
  const peakTime = bestTimes([
    () => {
      backend.run('multiplyAddPeak', [backend.pointer(sink), steps], [], threads);
      return null;
    },
  ])[0]!;
  const peak = (threads * steps * 10 * 4 * 2) / peakTime / 1e6;
  console.log(`\n${threads} thread(s), peak ${peak.toFixed(1)} GFLOP/s; GFLOP/s (of the peak)`);

  console.log(`${''.padEnd(25)}       forward         input        filter`);
  for (const s of shapes.filter(selected)) {
    const x = tf.randomUniform(s.x, -1, 1);
    const filter = tf.randomUniform(s.filter, -1, 1);
    const attributes = {strides: s.stride, pad: s.pad, dilations: 1, dataFormat: 'NHWC'};
    const y = run(tf.Conv2D, {x, filter}, attributes);
    line(
      s.name,
      2 * (y.size / s.filter[3]) * filter.size,
      [
        () => run(tf.Conv2D, {x, filter}, attributes),
        () => run(tf.Conv2DBackpropInput, {dy: y, filter}, {...attributes, inputShape: s.x}),
        () => run(tf.Conv2DBackpropFilter, {x, dy: y}, {...attributes, filterShape: s.filter}),
      ],
      peak,
    );
    tf.dispose([x, filter, y]);
  }
  for (const s of depthwiseShapes.filter(selected)) {
    const x = tf.randomUniform(s.x, -1, 1);
    const filter = tf.randomUniform(s.filter, -1, 1);
    const attributes = {strides: s.stride, pad: s.pad, dilations: 1, dataFormat: 'NHWC'};
    const y = run(tf.DepthwiseConv2dNative, {x, filter}, attributes);
    line(
      s.name,
      2 * (y.size / s.filter[2]) * filter.size,
      [
        () => run(tf.DepthwiseConv2dNative, {x, filter}, attributes),
        () => run(tf.DepthwiseConv2dNativeBackpropInput, {dy: y, filter}, {...attributes, inputShape: s.x}),
        () => run(tf.DepthwiseConv2dNativeBackpropFilter, {x, dy: y}, {...attributes, filterShape: s.filter}),
      ],
      peak,
    );
    tf.dispose([x, filter, y]);
  }

  if (values.only === '') {
    console.log(`${''.padEnd(25)}       a · b         a · bᵀ        aᵀ · b`);
    for (const [rows, length, columns] of products) {
      const [a, at] = [tf.randomUniform([rows, length]), tf.randomUniform([length, rows])];
      const [b, bt] = [tf.randomUniform([length, columns]), tf.randomUniform([columns, length])];
      line(
        `${rows} × ${length} × ${columns}`,
        2 * rows * length * columns,
        [() => tf.matMul(a, b), () => tf.matMul(a, bt, false, true), () => tf.matMul(at, b, true)],
        peak,
      );
      tf.dispose([a, at, b, bt]);
    }
  }
  sink.dispose();
  await engine.dispose();
}

const engine = await wasmEngine.start({threads: 1});
await tf.setBackend(backendName);
console.log('\nlargest error in units of the largest output, 3×3 convolution of normal draws');
for (const [channels, size] of [
  [16, 32],
  [32, 16],
  [64, 8],
  [256, 14],
] as const) {
  // prettier-ignore
  const {winograd, direct} = tf.tidy(() => {
    return errors(channels, size);
  });
  console.log(`${channels} @${size}: Winograd ${winograd.toExponential(1)}, direct ${direct.toExponential(1)}`);
}
await engine.dispose();

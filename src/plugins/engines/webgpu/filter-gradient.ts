/**
 * The gradient of a convolution by its filter, as a matrix product: dW [k, out] = Σ over places of x [place, k] · dy [place, out], with
 * k = (row, column, channel) of the filter. The backend's own kernel has one thread for each element of the filter, which adds up all
 * places: too few for a GPU. Here the places are shared among groups, whose sums are then added in a fixed order.
 */
import * as tf from '@tensorflow/tfjs-core';

import type {Backend} from './gpu.ts';
import {addParts, backendName, groupIndex, int, runProgram} from './program.ts';

/** Elements of the filter in a tile's side, and places loaded at a time. */
const side = 16;
/** Groups to start, about: several for each core of a large GPU [ours]. */
const wantedGroups = 1024;

const declarations = `
      var<workgroup> xs : array<f32, ${side * side}>;
      var<workgroup> ds : array<f32, ${side * side}>;`;

const body = `
        let group = ${groupIndex};
        let tile_out = group % uniforms.tilesOut;
        let tile_k = group / uniforms.tilesOut % uniforms.tilesK;
        let split = group / uniforms.tilesOut / uniforms.tilesK;
        let a = i32(localIndex) / ${side};
        let b = i32(localIndex) % ${side};
        let k = tile_k * ${side} + b;
        let channel = k % uniforms.channels;
        let column = k / uniforms.channels % uniforms.filterWidth;
        let row = k / uniforms.channels / uniforms.filterWidth;
        let out = tile_out * ${side} + b;
        var sum = 0.0;
        for (var chunk = 0; chunk < uniforms.chunks; chunk = chunk + 1) {
          let place = (split * uniforms.chunks + chunk) * ${side} + a;
          var xv = 0.0;
          var dv = 0.0;
          if (place < uniforms.places) {
            let ox = place % uniforms.outWidth;
            let oy = place / uniforms.outWidth % uniforms.outHeight;
            let image = place / uniforms.outWidth / uniforms.outHeight;
            let iy = oy * uniforms.strideHeight - uniforms.top + row;
            let ix = ox * uniforms.strideWidth - uniforms.left + column;
            if (k < uniforms.k && iy >= 0 && iy < uniforms.height && ix >= 0 && ix < uniforms.width) {
              xv = x[((image * uniforms.height + iy) * uniforms.width + ix) * uniforms.channels + channel];
            }
            if (out < uniforms.outputs) { dv = dy[place * uniforms.outputs + out]; }
          }
          xs[a * ${side} + b] = xv;
          ds[a * ${side} + b] = dv;
          workgroupBarrier();
          for (var j = 0; j < ${side}; j = j + 1) { sum = sum + xs[j * ${side} + a] * ds[j * ${side} + b]; }
          workgroupBarrier();
        }
        let to = tile_k * ${side} + a;
        if (split < uniforms.splits && to < uniforms.k && out < uniforms.outputs) {
          result[(split * uniforms.k + to) * uniforms.outputs + out] = sum;
        }`;

interface Attributes {
  readonly strides: number | [number, number];
  readonly pad: 'valid' | 'same' | number | tf.backend_util.ExplicitPadding;
  readonly dimRoundingMode?: 'floor' | 'round' | 'ceil';
  readonly filterShape: [number, number, number, number];
}

type Image = tf.TensorInfo & {shape: [number, number, number, number]};

/** @param x [N, height, width, in]. @param dy [N, outHeight, outWidth, out]. @returns [rows, columns, in, out] */
function filterGradient(backend: Backend, x: Image, dy: tf.TensorInfo, attributes: Attributes): tf.TensorInfo {
  const {strides, pad, dimRoundingMode, filterShape} = attributes;
  const info = tf.backend_util.computeConv2DInfo(x.shape, filterShape, strides, 1, pad, dimRoundingMode);
  const {inChannels: channels, outChannels: outputs} = info;
  const k = info.filterHeight * info.filterWidth * channels;
  const places = info.batchSize * info.outHeight * info.outWidth;
  const [tilesK, tilesOut] = [Math.ceil(k / side), Math.ceil(outputs / side)];
  const mostSplits = Math.max(1, Math.ceil(places / (4 * side)));
  const chunks = Math.ceil(places / side / Math.min(mostSplits, Math.ceil(wantedGroups / (tilesK * tilesOut))));
  const splits = Math.max(1, Math.ceil(places / (side * chunks)));
  const numbers = {
    ...{k, outputs, places, tilesK, tilesOut, chunks, splits, channels, filterWidth: info.filterWidth},
    ...{outHeight: info.outHeight, outWidth: info.outWidth, height: info.inHeight, width: info.inWidth},
    ...{strideHeight: info.strideHeight, strideWidth: info.strideWidth, top: info.padInfo.top, left: info.padInfo.left},
  };
  const partial = runProgram(backend, {
    key: 'filter gradient',
    inputs: {x, dy},
    shape: [1, splits, k * outputs],
    threads: side * side,
    groups: tilesK * tilesOut * splits,
    values: Object.fromEntries(Object.entries(numbers).map(([name, value]) => [name, int(value)])),
    declarations,
    body,
  });
  if (splits === 1) return {...partial, shape: filterShape};
  const sum = addParts(backend, partial, 0);
  backend.disposeData(partial.dataId);
  return {...sum, shape: filterShape};
}

/** In place of the backend's own; a second call changes nothing. */
export function registerFilterGradient(): void {
  const {kernelFunc: stock} = tf.getKernel(tf.Conv2DBackpropFilter, backendName);
  if (stock.name === 'ownFilterGradient') return;
  tf.unregisterKernel(tf.Conv2DBackpropFilter, backendName);
  tf.registerKernel({
    kernelName: tf.Conv2DBackpropFilter,
    backendName,
    kernelFunc: function ownFilterGradient({attrs, backend, inputs}) {
      const {x, dy} = inputs as {x: Image; dy: tf.TensorInfo};
      return filterGradient(backend as unknown as Backend, x, dy, attrs as unknown as Attributes);
    },
  });
}

/** Order of axes of stored weights: ONNX's in files, the executor's in memory. */
import type {Array32, Shape} from './graph.ts';

/** As `tf.transpose`, on plain data: axis i of the result is axis `axes[i]` of the argument. */
export function transposed({shape, data}: Array32, axes: readonly number[]): Array32 {
  if (axes.every((axis, index) => axis === index)) return {shape, data};
  const stride = new Array<number>(shape.length).fill(1);
  for (let axis = shape.length - 2; axis >= 0; axis--) stride[axis] = stride[axis + 1]! * shape[axis + 1]!;
  const sizes = axes.map((axis) => shape[axis]!);
  const steps = axes.map((axis) => stride[axis]!);
  const out = new Float32Array(data.length);
  const position = new Array<number>(sizes.length).fill(0);
  let from = 0;
  for (let to = 0; to < out.length; to++) {
    out[to] = data[from]!;
    for (let axis = sizes.length - 1; axis >= 0; axis--) {
      from += steps[axis]!;
      if (++position[axis]! < sizes[axis]!) break;
      from -= steps[axis]! * sizes[axis]!;
      position[axis] = 0;
    }
  }
  return {shape: sizes, data: out};
}

export function inverse(axes: readonly number[]): number[] {
  return axes.map((_, index) => axes.indexOf(index));
}

/** [channels, height, width] → [height, width, channels]; other ranks as they are. */
export function channelsLast(shape: Shape): number[] {
  return shape.length === 3 ? [shape[1]!, shape[2]!, shape[0]!] : [...shape];
}

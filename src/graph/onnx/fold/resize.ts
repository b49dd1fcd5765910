/** Resize of constants: tables of positions that a network brings to the size of its images. */
import {item} from '../../../lookup.ts';
import {elements} from '../../ops/operator.ts';
import {
  coordinateModes,
  interpolationWeights,
  nearestModes,
  resizeModes,
  sizingOf,
  type Interpolation,
  type Sizing,
} from '../../ops/interpolation.ts';
import {NotConstant, arrayLimit, fixed, numbers, zeros, type HostArray} from '../host-array.ts';
import {need, positive, type Attributes, type Evaluator, type Inputs} from './evaluator.ts';

function choice<T extends string>(attributes: Attributes, name: string, allowed: readonly T[], fallback: T): T {
  const given = attributes.string(name, fallback);
  const chosen = allowed.find((each) => each === given);
  if (chosen !== undefined) return chosen;
  throw new NotConstant(`its attribute "${name}" is "${given}"; ${allowed.join(', ')} are taken`);
}

function interpolationOf(attributes: Attributes): Interpolation {
  choice(attributes, 'keep_aspect_ratio_policy', ['stretch'], 'stretch');
  return {
    mode: choice(attributes, 'mode', resizeModes, 'nearest'),
    coordinates: choice(attributes, 'coordinate_transformation_mode', coordinateModes, 'half_pixel'),
    nearest: choice(attributes, 'nearest_mode', nearestModes, 'round_prefer_floor'),
    cubic: attributes.float('cubic_coeff_a', -0.75),
    excludeOutside: attributes.int('exclude_outside', 0) === 1,
    antialias: attributes.int('antialias', 0) === 1,
  };
}

/** @throws NotConstant above the limit of computed arrays */
function alongAxis(x: HostArray, axis: number, options: Interpolation, sizing: Sizing): HostArray {
  const {from, to} = sizing;
  const out = zeros(x.type, x.shape.with(axis, to));
  if (from * to > arrayLimit) throw new NotConstant(`it makes ${to} places of ${from}, too many to compute`);
  const weights = interpolationWeights(options, sizing);
  const inner = elements(x.shape.slice(axis + 1));
  const outer = elements(x.shape.slice(0, axis));
  for (let i = 0; i < to; i++) {
    const sources = Array.from({length: from}, (_, source) => source).filter(
      (source) => weights[source * to + i] !== 0,
    );
    for (let o = 0; o < outer; o++) {
      for (let k = 0; k < inner; k++) {
        let sum = 0;
        for (const source of sources)
          sum += item(weights, source * to + i) * item(x.data, (o * from + source) * inner + k);
        out.data[(o * to + i) * inner + k] = sum;
      }
    }
  }
  return out;
}

function resize(inputs: Inputs, attributes: Attributes): readonly HostArray[] {
  const x = fixed(need(inputs, 0));
  const options = interpolationOf(attributes);
  const list = (index: number): readonly number[] => (inputs[index] === undefined ? [] : numbers(inputs[index]));
  const [scales, sizes] = [list(2), list(3)];
  const kind = sizes.length > 0 ? 'sizes' : 'scales';
  const values = sizes.length > 0 ? sizes : scales;
  const axes = (attributes.ints('axes') ?? x.shape.map((_, axis) => axis)).map((axis) =>
    positive(axis, x.shape.length),
  );
  if (values.length !== axes.length || !values.every((value) => value > 0)) {
    throw new NotConstant(`its sizes or scales are [${values.join(', ')}]; it takes ${axes.length} numbers above 0`);
  }
  return [
    axes.reduce((array, axis, index) => {
      const sizing = sizingOf(item(array.shape, axis), item(values, index), kind);
      const isSame = sizing.from === sizing.to && sizing.scale === 1;
      return isSame ? array : alongAxis(array, axis, options, sizing);
    }, x),
  ];
}

export const resizing: readonly (readonly [string, Evaluator])[] = [['Resize', resize]];

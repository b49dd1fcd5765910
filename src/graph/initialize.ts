/** Weights of a network that has not been trained. */
import {normal, uniform} from '../random.ts';
import type {Array32, Graph, Parameter, Weights} from './graph.ts';
import {elements} from './ops/operator.ts';

/**
 * Each parameter from its own stream of draws, (seed, 'init', index in the graph), in ONNX layout.
 * @param wanted which parameters; left out: all
 */
export function initialWeights(
  graph: Graph,
  seed: number,
  wanted: (parameter: Parameter) => boolean = () => true,
): Weights {
  return new Map(
    graph.parameters.flatMap((parameter, index): [string, Array32][] => {
      if (!wanted(parameter)) return [];
      const {initializer, name, shape} = parameter;
      const data = new Float32Array(elements(shape));
      const draw = uniform(seed, 'init', index);
      switch (initializer.kind) {
        case 'constant':
          data.fill(initializer.value);
          break;
        case 'kaiming-normal': {
          const deviation = Math.sqrt(2 / initializer.fan);
          for (let i = 0; i < data.length; i++) data[i] = deviation * normal(draw);
          break;
        }
        case 'uniform':
          for (let i = 0; i < data.length; i++) data[i] = initializer.bound * (2 * draw() - 1);
          break;
        case 'fixed':
          data.set(initializer.values);
          break;
      }
      return [[name, {shape, data}]];
    }),
  );
}

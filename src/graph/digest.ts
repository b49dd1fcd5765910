/** A graph's identity: what a strategy file refers to. */
import {createHash} from 'node:crypto';

import type {Graph} from './graph.ts';

/**
 * SHA-256, in hex, over structure: nodes with attributes in alphabetical order, wiring, parameters with shape and role. The
 * graph's name and the initializers do not count: a network loaded from a file equals the one that was built.
 */
export function graphDigest(graph: Graph): string {
  const canonical = JSON.stringify([
    [graph.input.name, graph.input.shape],
    // One output is written as it was before there could be several.
    graph.outputs.length === 1 ? graph.outputs[0] : graph.outputs,
    graph.nodes.map(({name, op, inputs, outputs, attributes}) => [
      name,
      op,
      inputs,
      outputs,
      Object.entries(attributes).sort(([a], [b]) => (a < b ? -1 : 1)),
    ]),
    graph.parameters.map(({name, shape, role}) => [name, shape, role]),
  ]);
  return createHash('sha256').update(canonical).digest('hex');
}

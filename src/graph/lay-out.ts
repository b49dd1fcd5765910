/** Decides how each value of a graph lies in memory, and where a value has to be brought into another layout. */
import {entry} from '../lookup.ts';
import type {Graph, Node} from './graph.ts';
import {inputLayout, type Layout} from './layout.ts';
import {argumentsOf, eitherLayout, type NodeLayout, type Operand} from './ops/operator.ts';
import {operatorOf} from './shape.ts';

/** The operator of a node that copies its input into the other layout. Only the executor knows it. */
export const conversion = 'Layout';

export interface LaidOutGraph {
  /** The graph's nodes, and a `Layout` node before the first that reads a value in another layout. */
  readonly nodes: readonly Node[];
  /** The graph's outputs in ONNX's order of axes. */
  readonly outputs: readonly string[];
  /** Of every value, those of the `Layout` nodes included. */
  readonly layouts: ReadonlyMap<string, Layout>;
  /** By a node's name. */
  readonly nodeLayouts: ReadonlyMap<string, NodeLayout>;
  readonly operands: ReadonlyMap<string, Operand>;
}

const onlyPlain = ({shape, batchAxis}: Operand): boolean => shape.length < 2 || batchAxis !== undefined;

/** @param known the graph's values and parameters (`inferShapes`) */
export function layOut(graph: Graph, known: ReadonlyMap<string, Operand>): LaidOutGraph {
  const operands = new Map(known);
  const layouts = new Map<string, Layout>([[graph.input.name, inputLayout(graph.input.shape)]]);
  const nodeLayouts = new Map<string, NodeLayout>();
  const nodes: Node[] = [];
  const define = (operand: Operand, layout: Layout): void => {
    operands.set(operand.name, operand);
    layouts.set(operand.name, onlyPlain(operand) ? 'plain' : layout);
  };
  /** The value in the wanted layout: itself, or a copy. */
  const inLayout = (value: string, layout: Layout): string => {
    const operand = operands.get(value);
    if (operand === undefined || operand.parameter || onlyPlain(operand)) return value;
    if (layouts.get(value) === layout) return value;
    const copy = `${value}@${layout}`;
    if (!layouts.has(copy)) {
      nodes.push({name: copy, op: conversion, inputs: [value], outputs: [copy], attributes: {}});
      define({...operand, name: copy}, layout);
    }
    return copy;
  };
  for (const node of graph.nodes) {
    const operator = operatorOf(node);
    const inputOperands = argumentsOf(node, (name) => operands.get(name));
    const inputLayouts = argumentsOf(node, (name) => layouts.get(name) ?? 'plain');
    const chosen =
      operator.layout?.(node, inputOperands, inputLayouts) ?? eitherLayout(node, inputOperands, inputLayouts);
    const inputs = node.inputs.map((name) => inLayout(name, chosen.inputs));
    nodes.push(inputs.every((name, index) => name === node.inputs[index]) ? node : {...node, inputs});
    nodeLayouts.set(node.name, chosen);
    for (const output of node.outputs) define(entry(operands, output), chosen.output);
  }
  return {nodes, outputs: graph.outputs.map((output) => inLayout(output, 'plain')), layouts, nodeLayouts, operands};
}

/** Shape and sign of every value of a graph; on the way, whether it is a graph that sdq can run. */
import {invalidInput, type SdqError} from '../errors.ts';
import {item} from '../lookup.ts';
import {didYouMean} from '../nearest.ts';
import type {Graph, Node, Parameter, Shape} from './graph.ts';
import {operators} from './ops/index.ts';
import {nodeError, type Operand, type Operator} from './ops/operator.ts';
import {showSizes, sizesOf} from './ops/sizes.ts';

/** @throws SdqError (exit 3) with the nearest operator name */
export function operatorOf(node: Pick<Node, 'name' | 'op'>): Operator {
  const operator = operators.get(node.op);
  if (operator !== undefined) return operator;
  const known = [...operators.keys()];
  throw invalidInput('operator-unknown', `Node "${node.name}": the operator ${node.op} is not supported.`, [
    ...didYouMean(node.op, known),
    `Supported operators: ${known.join(', ')}.`,
  ]);
}

function graphError(graph: Graph, message: string): SdqError {
  return invalidInput('graph-invalid', `Graph "${graph.name}": ${message}`);
}

/**
 * The one output of a node.
 * @param known everything the node may refer to
 * @throws SdqError (exit 3) for an unknown operator, attribute or input, or shapes that do not go together
 */
export function inferNode(node: Node, known: ReadonlyMap<string, Operand>): Operand {
  const operator = operatorOf(node);
  const [least, most] = operator.inputs;
  const names = node.inputs.at(-1) === '' ? node.inputs.slice(0, -1) : node.inputs;
  if (names.length < least || names.length > most) {
    const allowed = least === most ? `${least}` : `${least} to ${most}`;
    throw nodeError(node, `it has ${names.length} inputs; it takes ${allowed}.`);
  }
  if (node.outputs.length !== 1) throw nodeError(node, `it has ${node.outputs.length} outputs; sdq supports 1.`);
  for (const attribute of Object.keys(node.attributes)) {
    if (!operator.attributes.includes(attribute)) {
      const allowed = operator.attributes.length === 0 ? 'none' : operator.attributes.join(', ');
      throw nodeError(node, `the attribute "${attribute}" is not supported. Supported: ${allowed}.`);
    }
  }
  const inputs = names.map((name) => {
    const operand = known.get(name);
    if (operand === undefined) {
      throw nodeError(
        node,
        `input "${name}" is neither a parameter, the graph's input nor the output of an earlier node.`,
      );
    }
    return operand;
  });
  return {
    name: item(node.outputs, 0),
    parameter: false,
    ...batchFirst(node, operator, inputs),
    ...operator.infer(node, inputs),
  };
}

/** For operators that want the batch first: the entries an image that their output has as well. */
function batchFirst(node: Node, {anyBatch}: Operator, inputs: readonly Operand[]): Pick<Operand, 'perImage'> {
  const values = inputs.filter(({parameter}) => !parameter);
  const [first] = values;
  if (anyBatch === true || first === undefined) return {};
  for (const value of values) {
    if (value.batchAxis !== undefined || value.perImage !== first.perImage) {
      const all = values.map((each) => `"${each.name}" ${showSizes(sizesOf(each))}`).join(' and ');
      throw nodeError(node, `its inputs are ${all}; it takes the batch as the first axis.`);
    }
  }
  return first.perImage === undefined ? {} : {perImage: first.perImage};
}

function checkShape(graph: Graph, name: string, shape: Shape): void {
  if (shape.some((size) => !Number.isSafeInteger(size) || size < 1)) {
    throw graphError(graph, `"${name}" has the shape [${shape.join(', ')}]; sizes are whole numbers from 1.`);
  }
}

/** Whether an image is one entry of the first axis: what an output must be. */
export const isBatchFirst = ({batchAxis, perImage}: Operand): boolean =>
  batchAxis === undefined && perImage === undefined;

/** @returns the graph's input as an operand: normalised pixels, so of either sign */
export function inputOperand(name: string, shape: Shape): Operand {
  return {name, shape, signed: true, parameter: false};
}

export function parameterOperand({name, shape}: Parameter): Operand {
  return {name, shape, signed: true, parameter: true};
}

/**
 * Every parameter and value by name.
 * @throws SdqError (exit 3) naming the node, what was found and what is allowed
 */
export function inferShapes(graph: Graph): ReadonlyMap<string, Operand> {
  const known = new Map<string, Operand>();
  const define = (operand: Operand): void => {
    if (operand.name === '' || known.has(operand.name)) {
      throw graphError(graph, operand.name === '' ? 'a value has no name.' : `"${operand.name}" is defined twice.`);
    }
    checkShape(graph, operand.name, operand.shape);
    known.set(operand.name, operand);
  };
  define(inputOperand(graph.input.name, graph.input.shape));
  for (const parameter of graph.parameters) define(parameterOperand(parameter));
  const names = new Set<string>();
  for (const node of graph.nodes) {
    if (names.has(node.name)) throw graphError(graph, `two nodes have the name "${node.name}".`);
    names.add(node.name);
    define(inferNode(node, known));
  }
  if (graph.outputs.length === 0) throw graphError(graph, 'it has no output.');
  for (const name of graph.outputs) {
    const output = known.get(name);
    if (output === undefined || output.parameter) {
      throw graphError(graph, `its output "${name}" is not the output of a node.`);
    }
    if (!isBatchFirst(output)) {
      throw graphError(graph, `its output "${name}" is ${showSizes(sizesOf(output))}; the batch must come first.`);
    }
  }
  return known;
}

/**
 * The weights of a darknet file. It names nothing: layer by layer, in the order of the network's file, come batch-norm's β, γ, mean
 * and variance and then the filters, or of a layer without batch-norm its biases and filters; all float32, little-endian. Before
 * them stand three int32 (major, minor and revision of the format) and the images seen, of 8 bytes from version 0.2 on, else of 4.
 */
import {invalidInput} from '../errors.ts';
import type {Array32, Graph, Node, Parameter, Weights} from './graph.ts';
import {elements} from './ops/operator.ts';
import {headParameters} from './head.ts';

/** Parameters in the order of the file. */
function inOrder({nodes, parameters}: Graph): Parameter[] {
  const byName = new Map(parameters.map((parameter) => [parameter.name, parameter]));
  const of = (node: Node, ...operands: readonly number[]): Parameter[] =>
    operands.flatMap((operand) => byName.get(node.inputs[operand] ?? '') ?? []);
  return nodes
    .filter(({op}) => op === 'Conv')
    .flatMap((conv) => {
      const norm = nodes.find(({op, inputs}) => op === 'BatchNormalization' && inputs[0] === conv.outputs[0]);
      return [...(norm === undefined ? of(conv, 2) : of(norm, 2, 1, 3, 4)), ...of(conv, 1)];
    });
}

/**
 * @param graph whose convolutions stand in the order of darknet's layers, as those of `yolov4-tiny`
 * @param bytes of the file
 * @param resetHead whether the layers before the outputs may have other numbers of channels; they are then left out of the result
 * @throws SdqError (exit 3) for a file that is too short for its header or has another size than the network's
 */
export function parseDarknet(graph: Graph, bytes: Uint8Array, file: string, resetHead: boolean): Weights {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const header = bytes.length < 16 ? 16 : 10 * view.getInt32(0, true) + view.getInt32(4, true) >= 2 ? 20 : 16;
  const order = inOrder(graph);
  const known = new Set(order.map(({name}) => name));
  const other = graph.parameters.find(({name, role}) => role !== 'constant' && !known.has(name));
  if (other !== undefined) {
    throw invalidInput(
      'darknet-network',
      `${file}: darknet's weights are read for networks of convolutions and batch-norm; ${graph.name} has "${other.name}" too.`,
    );
  }
  const head = headParameters(graph);
  const channels = order.find(({name}) => head.has(name))?.shape[0] ?? NaN;
  const scale = headScale(order, head, (bytes.length - header) / 4);
  const isOfOtherClasses = scale > 0 && scale !== 1 && Number.isInteger(scale * channels);
  const isLeftOut = ({name}: Parameter): boolean => resetHead && head.has(name);
  const sizeOf = (parameter: Parameter): number =>
    elements(parameter.shape) * (isLeftOut(parameter) && isOfOtherClasses ? scale : 1);
  const expected = header + 4 * order.reduce((sum, parameter) => sum + sizeOf(parameter), 0);
  if (bytes.length !== expected) {
    throw invalidInput(
      'darknet-size',
      `${file} has ${bytes.length} bytes; the weights of ${graph.name} take ${expected}, of which ${header} are the header.`,
      isOfOtherClasses ? ['The file is of a network with other classes: --set model.head=reset.'] : [],
    );
  }
  const weights = new Map<string, Array32>();
  let offset = header;
  for (const parameter of order) {
    const size = sizeOf(parameter);
    if (!isLeftOut(parameter)) {
      const data = new Float32Array(new Uint8Array(bytes.subarray(offset, offset + 4 * size)).buffer);
      weights.set(parameter.name, {shape: parameter.shape, data});
    }
    offset += 4 * size;
  }
  return weights;
}

/** How many times as many channels the file's heads have, by its length in numbers; all of them alike. */
function headScale(order: readonly Parameter[], head: ReadonlySet<string>, numbers: number): number {
  const count = (isHead: boolean): number =>
    order.filter(({name}) => head.has(name) === isHead).reduce((sum, {shape}) => sum + elements(shape), 0);
  return (numbers - count(false)) / count(true);
}

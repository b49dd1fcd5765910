/** Networks with several outputs: built, computed, imported, and cut down to what a task uses. ONNX Runtime is the oracle. */
import {existsSync, readFileSync} from 'node:fs';
import path from 'node:path';

import {describe, expect, test} from '@jest/globals';
import * as tf from '@tensorflow/tfjs-core';

import {graphBuilder} from '../../../src/graph/builder.ts';
import {graphDigest} from '../../../src/graph/digest.ts';
import type {Graph, Weights} from '../../../src/graph/graph.ts';
import {initialWeights} from '../../../src/graph/initialize.ts';
import {lastLayers, layerTable} from '../../../src/graph/layer-table.ts';
import {createNetwork} from '../../../src/graph/network.ts';
import {fromOnnx} from '../../../src/graph/onnx/from-onnx.ts';
import {encodeOnnx, type OnnxNode} from '../../../src/graph/onnx/proto.ts';
import {floatTensor} from '../../../src/graph/onnx/tensors.ts';
import {elements} from '../../../src/graph/ops/operator.ts';
import {inferShapes} from '../../../src/graph/shape.ts';
import {withOutputs} from '../../../src/graph/reachable.ts';
import {loadOnnxRuntime} from '../../../src/phases/onnx-runtime.ts';
import {taskGraph} from '../../../src/phases/task-graph.ts';
import {exporters} from '../../../src/plugins/exporters/index.ts';
import {tasks} from '../../../src/plugins/tasks/index.ts';
import {Registry} from '../../../src/plugin-api/registry.ts';
import {normal, uniform} from '../../../src/random.ts';
import {integerNetwork} from '../../../src/sdq/integer-network.ts';
import {useCpuBackend} from '../../helpers/cpu-backend.ts';
import {expectSameInRuntime} from '../../helpers/onnx-runtime.ts';
import {tinyGraph} from '../../helpers/tiny-network.ts';

useCpuBackend();

const registry = new Registry(['task']);
tasks.forEach((task) => registry.add(task));

/** Every value that a step would swallow is an output: a convolution and batch-norm behind it, and the Relu behind that. */
function manyOutputs(): Graph {
  const g = graphBuilder('many', [2, 6, 5]);
  const conv = g.conv('conv', g.input, {channels: 3, kernel: 3});
  const norm = g.batchNorm('bn', conv);
  const relu = g.node('Relu', 'relu', [norm]);
  const flat = g.node('Flatten', 'flatten', [g.node('GlobalAveragePool', 'pool', [relu])]);
  const boxes = g.linear('boxes', flat, {features: 4});
  g.conv('aside', conv, {channels: 7, kernel: 1});
  return g.build(g.linear('logits', flat, {features: 5}), boxes, conv, norm, relu, g.node('Identity', 'same', [boxes]));
}

const noise = (shape: readonly number[]): Float32Array => {
  const draw = uniform(9, 'bench');
  return Float32Array.from({length: elements(shape)}, () => normal(draw));
};

describe('a built graph', () => {
  test('has a last layer for each output', () => {
    const names = (graph: Graph): string[] => layerTable(graph).layers.map(({name}) => name);
    const graph = manyOutputs();
    expect(lastLayers(graph, names(graph))).toEqual(['conv', 'boxes', 'logits']);
    expect(lastLayers(graph, ['conv'])).toEqual(['conv']);
    const single = tinyGraph();
    expect(lastLayers(single, names(single))).toEqual(names(single).slice(-1));
  });

  test('has what leads to any of its outputs', () => {
    const graph = manyOutputs();
    expect(graph.outputs).toEqual(['logits', 'boxes', 'conv', 'bn', 'relu', 'same']);
    expect(graph.parameters.map(({name}) => name)).not.toContain('aside.weight');
    const {nodes, outputs, parameters} = withOutputs(graph, ['relu']);
    expect(outputs).toEqual(['relu']);
    expect(nodes.map(({name}) => name)).toEqual(['conv', 'bn', 'relu']);
    expect(parameters.map(({name}) => name)).toEqual([
      'conv.weight',
      'bn.weight',
      'bn.bias',
      'bn.running_mean',
      'bn.running_var',
    ]);
  });

  test('with one output has the digest that it had before there could be several', () => {
    expect(graphDigest(tinyGraph())).toBe('953d7494e11fa269dbca2bc57a6cce23656fc75ba48f3413231502248719a9a5');
    const graph = manyOutputs();
    expect(graphDigest(graph)).not.toBe(graphDigest({...graph, outputs: graph.outputs.toReversed()}));
  });

  test.each([
    [[], 'it has no output'],
    [['logits', 'nothing'], 'its output "nothing" is not the output of a node'],
    [['logits', 'conv.weight'], 'its output "conv.weight" is not the output of a node'],
  ])('with the outputs %j is refused', (outputs, message) => {
    expect(() => inferShapes({...manyOutputs(), outputs})).toThrow(message);
  });
});

describe('the executor', () => {
  test('gives each output as ONNX Runtime does; the first alone is `forward`', async () => {
    const graph = manyOutputs();
    const weights = new Map(initialWeights(graph, 3));
    weights.set('bn.running_mean', {shape: [3], data: Float32Array.of(0.1, -0.2, 0.3)});
    weights.set('bn.running_var', {shape: [3], data: Float32Array.of(0.5, 2, 1)});
    const network = createNetwork(graph, weights);
    const print = await exporters.find(({name}) => name === 'onnx-qdq')!.load();
    await expectSameInRuntime(network, print(await integerNetwork(network, undefined)));
    const x = tf.tensor4d(noise([2, 6, 5, 2]), [2, 6, 5, 2]);
    const before = tf.memory().numTensors;
    const all = network.outputs(x, {training: false});
    const first = network.forward(x, {training: false});
    expect(first.arraySync()).toEqual(all[0]!.arraySync());
    expect(all.map(({shape}) => shape)).toEqual([
      [2, 5],
      [2, 4],
      [2, 3, 6, 5],
      [2, 3, 6, 5],
      [2, 3, 6, 5],
      [2, 4],
    ]);
    tf.dispose([first, all]);
    expect(tf.memory().numTensors).toBe(before);
    network.dispose();
  });

  test('in training gives what networks of one output give, and gradients of every output', () => {
    const graph = manyOutputs();
    const weights = initialWeights(graph, 3);
    const network = createNetwork(graph, weights);
    const x = tf.tensor4d(noise([2, 6, 5, 2]), [2, 6, 5, 2]);
    const all = network.outputs(x, {training: true});
    for (const [index, name] of graph.outputs.entries()) {
      const alone = createNetwork(withOutputs(graph, [name]), weights);
      expect(alone.forward(x, {training: true}).dataSync()).toEqual(all[index]!.dataSync());
    }
    const sumOf = (indices: readonly number[]) => (): tf.Scalar => {
      const outputs = network.outputs(x, {training: true});
      return tf.addN<tf.Scalar>(indices.map((index) => tf.sum<tf.Scalar>(tf.square(outputs[index]!))));
    };
    const weight = network.parameters.get('conv.weight')!;
    const gradient = (...indices: number[]): Float32Array =>
      tf.variableGrads(sumOf(indices), [weight]).grads[weight.name]!.dataSync<'float32'>();
    const [both, logits, boxes] = [gradient(0, 1), gradient(0), gradient(1)];
    both.forEach((value, i) => expect(value).toBeCloseTo(logits[i]! + boxes[i]!, 4));
    network.dispose();
  });
});

const node = (op: string, inputs: string[], output: string): OnnxNode => ({
  name: `/${output}/${op}`,
  op,
  inputs,
  outputs: [output],
});
const weight = (name: string, ...shape: number[]) => floatTensor(name, {shape, data: noise(shape)});

/** A file with these outputs, of a network with two heads and what else a file may have. */
function file(
  outputs: readonly (readonly [string, ...(number | string)[]])[],
  more: readonly OnnxNode[] = [],
): Uint8Array {
  return encodeOnnx({
    irVersion: 8,
    opsets: {'': 17},
    producerVersion: '0',
    metadata: {},
    graph: {
      name: 'heads',
      inputs: [{name: 'x', shape: ['N', 2, 6, 5]}],
      outputs: outputs.map(([name, ...shape]) => ({name, shape})),
      initializers: [weight('body.weight', 3, 2, 3, 3), weight('box.weight', 3, 4), weight('classes.weight', 3, 5)],
      nodes: [
        node('Conv', ['x', 'body.weight'], 'map'),
        node('GlobalAveragePool', ['map'], 'pooled'),
        node('Flatten', ['pooled'], 'flat'),
        node('MatMul', ['flat', 'box.weight'], 'boxes'),
        node('MatMul', ['flat', 'classes.weight'], 'scores'),
        node('Softmax', ['scores'], 'probabilities'),
        ...more,
      ],
    },
  });
}

const map = ['map', 'N', 3, 4, 3] as const;
const boxes = ['boxes', 'N', 4] as const;
const scores = ['scores', 'N', 5] as const;
const probabilities = ['probabilities', 'N', 5] as const;

/** Each output of sdq and of the file in ONNX Runtime for the same images; axes in ONNX's order. */
async function inBoth(bytes: Uint8Array, graph: Graph, weights: Weights, images = 2) {
  const shape = [images, ...graph.input.shape];
  const planar = noise(shape);
  const network = createNetwork(graph, weights);
  const x = tf.transpose(tf.tensor4d(planar, shape as [number, number, number, number]), [0, 2, 3, 1]);
  const ours = network.outputs(x, {training: false}).map((y) => y.dataSync<'float32'>());
  network.dispose();
  const runtime = await (await loadOnnxRuntime()).open(bytes, 'a.onnx');
  const theirs = await runtime.run(planar, shape);
  await runtime.release();
  return {ours, theirs};
}

function expectClose(ours: Float32Array, theirs: Float32Array): void {
  expect(ours).toHaveLength(theirs.length);
  const largest = theirs.reduce((most, value) => Math.max(most, Math.abs(value)), 1);
  const error = ours.reduce((most, value, i) => Math.max(most, Math.abs(value - theirs[i]!)), 0);
  expect(error).toBeLessThan(2e-5 * largest);
}

describe('a file with several outputs', () => {
  test('keeps their names and order; layers are named as in a file with one', async () => {
    const bytes = file([map, boxes, scores]);
    const {graph, weights} = fromOnnx(bytes, 'a.onnx');
    expect(graph.outputs).toEqual(['map', 'boxes', 'scores']);
    expect(graph.refused).toBeUndefined();
    expect(layerTable(graph).layers.map(({name}) => name)).toEqual(['body', 'box', 'classes']);
    const {ours, theirs} = await inBoth(bytes, graph, weights);
    ours.forEach((values, index) => expectClose(values, theirs[index]!));
  });

  test('outputs keep their names where layers would have the same', () => {
    // The values "box" and "classes" are outputs, and so are the names of the layers of their weights.
    const more = [node('Relu', ['scores'], 'box'), node('Neg', ['box'], 'classes')];
    const {graph} = fromOnnx(file([['classes', 'N', 5], ['box', 'N', 5], boxes], more), 'a.onnx');
    expect(graph.outputs).toEqual(['classes', 'box', 'boxes']);
    expect(layerTable(graph).layers.map(({name}) => name)).toEqual(['body', 'boxes', 'scores']);
    inferShapes(graph);
  });

  test('what sdq cannot compute is left out with the reason, with what only that needs', () => {
    const more = [
      node('ArgMax', ['probabilities'], 'label'),
      node('NonMaxSuppression', ['boxes', 'scores'], 'kept'),
      node('Identity', ['body.weight'], 'constant'),
      node('Shape', ['x'], 'size'),
    ];
    const {graph} = fromOnnx(
      file(
        [['label', 'N'], scores, ['kept', 'K', 3], ['constant', 3, 2, 3, 3], ['x', 'N', 2, 6, 5], ['absent', 1]],
        more,
      ),
      'a.onnx',
    );
    expect(graph.outputs).toEqual(['scores']);
    expect(graph.nodes.map(({name}) => name)).not.toContain('box');
    expect([...graph.refused!]).toEqual([
      ['label', expect.stringContaining('(ArgMax): the operator is not supported')],
      ['kept', expect.stringContaining('(NonMaxSuppression): the operator is not supported')],
      ['constant', expect.stringContaining('its output "constant" does not depend on the image')],
      ['x', expect.stringContaining('its output "x" is its input')],
      ['absent', expect.stringContaining('its output "absent" is not the output of a node')],
    ]);
    expect(() =>
      fromOnnx(
        file(
          [
            ['label', 'N'],
            ['kept', 'K', 3],
          ],
          more,
        ),
        'a.onnx',
      ),
    ).toThrow('(ArgMax)');
  });

  test('a Softmax that ends an output is left out; logits that are an output themselves are one output', () => {
    expect(fromOnnx(file([boxes, probabilities]), 'a.onnx').graph).toMatchObject({outputs: ['boxes', 'probabilities']});
    expect(fromOnnx(file([boxes, probabilities]), 'a.onnx').graph.nodes.map(({op}) => op)).not.toContain('Softmax');
    for (const outputs of [
      [probabilities, scores],
      [scores, probabilities],
    ]) {
      expect(fromOnnx(file(outputs), 'a.onnx').graph.outputs).toEqual(['scores']);
    }
  });
});

describe('the outputs that a task uses', () => {
  const used = (graph: Graph, options: Readonly<Record<string, unknown>> = {}, classes?: number) => {
    const notices: string[] = [];
    const found = taskGraph({graph, task: {name: 'classification', options}, classes}, registry, (text) =>
      notices.push(text),
    );
    return {graph: found, notices};
  };

  test('of one output: the graph itself; another name, or another shape, is refused', () => {
    const graph = tinyGraph();
    const [output = ''] = graph.outputs;
    for (const options of [{}, {output}]) expect(used(graph, options)).toEqual({graph, notices: []});
    expect(() => used(graph, {output: 'another'})).toThrow(
      `The task learns "another" as an output [N, values]. The network has "${output}" [N, 3].`,
    );
    const imported = fromOnnx(file([map]), 'a.onnx').graph;
    expect(() => used(imported, {})).toThrow(
      'The task learns an output [N, values]. The network has "body" [N, 3, 4, 3].',
    );
  });

  test('of other classes: another last layer, but for a teacher, whose weights are not trained', () => {
    const graph = tinyGraph();
    const [output = ''] = graph.outputs;
    const {graph: changed} = used(graph, {}, 5);
    expect(inferShapes(changed).get(output)).toMatchObject({shape: [5]});
    const teacher = {graph, task: {name: 'classification', options: {}}, classes: 5, isTeacher: true};
    expect(() => taskGraph(teacher, registry, () => undefined)).toThrow(
      'has the shape [3] for one image; the data set wants [5].',
    );
  });

  test('the option is about the network that is trained: a teacher with one output has its own name', () => {
    const network = {graph: tinyGraph(), task: {name: 'classification', options: {output: 'another'}}, isTeacher: true};
    expect(taskGraph({...network, classes: 3}, registry, () => undefined)).toBe(network.graph);
    expect(() => taskGraph({...network, classes: 5}, registry, () => undefined)).toThrow('the data set wants [5]');
  });

  test('the first row of values, with a notice; or the one that the config names', async () => {
    const bytes = file([map, boxes, scores]);
    const {graph, weights} = fromOnnx(bytes, 'a.onnx');
    const first = used(graph);
    expect(first.graph.outputs).toEqual(['boxes']);
    expect(first.notices).toEqual([
      `Of the network's outputs the task learns "boxes" and leaves out "map" [N, 3, 4, 3], "scores" [N, 5]. ` +
        'To choose another: --set task.options.output=NAME.',
    ]);
    const chosen = used(graph, {output: 'scores'}, 5);
    expect(chosen.notices).toEqual([]);
    expect(chosen.graph.outputs).toEqual(['scores']);
    expect(layerTable(chosen.graph).layers.map(({name}) => name)).toEqual(['body', 'classes']);
    const {ours, theirs} = await inBoth(bytes, chosen.graph, weights);
    expectClose(ours[0]!, theirs[2]!);
    // What is exported has this output alone.
    const network = createNetwork(chosen.graph, weights);
    const print = await exporters.find(({name}) => name === 'qonnx')!.load();
    const model = print(await integerNetwork(network, undefined));
    expect(model.graph.outputs).toEqual([{name: 'scores', shape: ['N', 5]}]);
    expect(model.graph.initializers.map(({name}) => name)).not.toContain('box.weight');
    await expectSameInRuntime(network, model);
    network.dispose();
  });

  test('behind a Softmax that something else reads: the logits', () => {
    const {graph} = fromOnnx(
      file([['top', 'N', 5], probabilities], [node('Relu', ['probabilities'], 'top')]),
      'a.onnx',
    );
    const {graph: found} = used(graph, {output: 'probabilities'});
    expect(found.nodes.map(({op}) => op)).toEqual(['Conv', 'GlobalAveragePool', 'Flatten', 'MatMul']);
  });

  test.each<[Readonly<Record<string, unknown>>, number | undefined, string, string[]]>([
    [
      {output: 'score'},
      undefined,
      'The task learns "score" as an output [N, values]. The network has "map" [N, 3, 4, 3], "boxes" [N, 4], "scores" [N, 5], "label" (',
      ['--set task.options.output=boxes', '--set task.options.output=scores', 'A detector: --set task.name=detection'],
    ],
    [
      {output: 'map'},
      undefined,
      'The task learns "map" as an output [N, values].',
      ['--set task.options.output=boxes', '--set task.options.output=scores', 'A detector: --set task.name=detection'],
    ],
    [
      {output: 'label'},
      undefined,
      '(ArgMax): the operator is not supported',
      ['--set task.options.output=boxes', '--set task.options.output=scores', 'A detector: --set task.name=detection'],
    ],
    [
      {},
      5,
      'The output "boxes" of heads has the shape [4] for one image; the data set wants [5].',
      ['--set task.options.output=scores'],
    ],
  ])('%j with %s classes is refused', (options, classes, message, suggestions) => {
    const {graph} = fromOnnx(
      file([map, boxes, scores, ['label', 'N']], [node('ArgMax', ['scores'], 'label')]),
      'a.onnx',
    );
    expect(() => used(graph, options, classes)).toThrow(message);
    try {
      used(graph, options, classes);
    } catch (error) {
      expect(error).toMatchObject({oclif: {exit: 3}, suggestions});
    }
  });

  test('none that fits is refused', () => {
    const {graph} = fromOnnx(file([map, ['pooled', 'N', 3, 1, 1]]), 'a.onnx');
    expect(() => used(graph)).toThrow(
      'The task learns an output [N, values]. The network has "map" [N, 3, 4, 3], "pooled" [N, 3, 1, 1].',
    );
  });
});

test('a detector of PyTorch (test/fixtures/make_import_onnx.py): its classes are learned, its names kept', async () => {
  const bytes = readFileSync(path.join(import.meta.dirname, '../../fixtures/import/heads.onnx'));
  const {graph, weights} = fromOnnx(bytes, 'heads.onnx');
  expect(graph.outputs).toEqual(['boxes', 'classes', 'features']);
  expect(layerTable(graph).layers.map(({name}) => name)).toEqual(['backbone.0', 'backbone.3', 'box', 'classes']);
  const {ours, theirs} = await inBoth(bytes, graph, weights);
  ours.forEach((values, index) => expectClose(values, theirs[index]!));
});

const zoo = path.resolve(import.meta.dirname, '../../../../shared/zoo/onnx');

describe.each([
  ['two_heads_bbox_class.script', ['11', '12'], '12', 3],
  ['yolov4_tiny_darknet_cfg.script', ['211', '224'], undefined, undefined],
  ['yolov8n_seg.script', ['1028', '1041'], undefined, undefined],
] as const)('the zoo file %s', (name, outputs, output, classes) => {
  const file = path.join(zoo, `${name}.onnx`);
  const whereThere = existsSync(file) ? test : test.skip;
  whereThere('(exported by ../shared/zoo) has each output as ONNX Runtime computes it', async () => {
    const bytes = readFileSync(file);
    const {graph, weights} = fromOnnx(bytes, file);
    expect(graph.outputs).toEqual(outputs);
    const {ours, theirs} = await inBoth(bytes, graph, weights, 1);
    ours.forEach((values, index) => expectClose(values, theirs[index]!));
    if (output === undefined) return;
    const chosen = taskGraph(
      {graph, task: {name: 'classification', options: {output}}, classes},
      registry,
      () => undefined,
    );
    expectClose((await inBoth(bytes, chosen, weights, 1)).ours[0]!, theirs[outputs.indexOf(output)]!);
  });
});

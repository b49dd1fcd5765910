/** Weights and inputs of 1 bit: sums that cancel are 0 but for the rounding of float32, whose sign decides no level. */
import {expect, test} from '@jest/globals';
import * as tf from '@tensorflow/tfjs-core';

import {graphBuilder} from '../../../../src/graph/builder.ts';
import {initialWeights} from '../../../../src/graph/initialize.ts';
import {createNetwork, type Network} from '../../../../src/graph/network.ts';
import {encodeOnnx} from '../../../../src/graph/onnx/proto.ts';
import {loadOnnxRuntime} from '../../../../src/phases/onnx-runtime.ts';
import {exporters} from '../../../../src/plugins/exporters/index.ts';
import {lsq} from '../../../../src/plugins/quantizers/lsq.ts';
import {symmetric} from '../../../../src/plugins/quantizers/symmetric.ts';
import {normal, uniform} from '../../../../src/random.ts';
import {integerNetwork} from '../../../../src/sdq/integer-network.ts';
import {fakeQuantize} from '../../../../src/tensor/fake-quantize.ts';
import {calibrateInputs, sampleInputs} from '../../../../src/training/calibration.ts';
import {quantize, type Quantization} from '../../../../src/training/quantized-network.ts';
import {useCpuBackend} from '../../../helpers/cpu-backend.ts';

useCpuBackend();

const images = 32;

/** Three convolutions, an activation that lets negative values through behind each, and a classifier. */
function network(op: string): Network {
  const g = graphBuilder('signed', [3, 8, 8]);
  let x = g.input;
  for (const name of ['a', 'b', 'c']) {
    const y = g.conv(name, x, {channels: 6, kernel: 3, bias: true});
    x = g.node(op, `${name}.act`, [y], op === 'LeakyRelu' ? {alpha: 0.1} : {});
  }
  const graph = g.build(
    g.linear('fc', g.node('Flatten', 'flatten', [g.node('GlobalAveragePool', 'pool', [x])]), {features: 4}),
  );
  return createNetwork(graph, initialWeights(graph, 1));
}

async function oneBit(net: Network, x: tf.Tensor): Promise<Quantization> {
  const quantizers = {weights: symmetric, activations: lsq, signedActivations: lsq};
  const quantization = quantize(net, quantizers, () => ({weightBits: 1, activationBits: 1}), {learnSteps: false});
  calibrateInputs(quantization.inputs, await sampleInputs(net, quantization.inputs.keys(), x));
  return quantization;
}

const formats = exporters.filter(({roundsInputs}) => roundsInputs !== false).map(({name}) => name);
test.each(formats.flatMap((format) => ['LeakyRelu', 'HardSwish'].map((op): [string, string] => [op, format])))(
  'behind %s, %s in ONNX Runtime gives the same logits',
  async (op, format) => {
    const net = network(op);
    const draw = uniform(3, 'bench');
    const planar = Float32Array.from({length: images * 192}, () => normal(draw));
    const x = tf.transpose(tf.tensor(planar, [images, 3, 8, 8]), [0, 2, 3, 1]);
    const quantization = await oneBit(net, x);
    let residues = 0;
    const ours = net.forward(x, {
      training: false,
      ...quantization.forward,
      input(site, value) {
        const step = quantization.inputs.get(site.id)!.parameter.dataSync()[0]!;
        residues += value.dataSync().filter((each) => each !== 0 && Math.abs(each) < 1e-6 * step).length;
        return null;
      },
    });
    const logits = ours.dataSync<'float32'>();
    const print = await exporters.find(({name}) => name === format)!.load();
    const bytes = encodeOnnx({...print(await integerNetwork(net, quantization)), producerVersion: '0', metadata: {}});
    const runtime = await (await loadOnnxRuntime()).open(bytes, 'model.onnx');
    const [theirs] = await runtime.run(planar, [images, 3, 8, 8]);
    await runtime.release();
    // Without them the case would prove nothing.
    expect(residues).toBeGreaterThan(100);
    const largest = Math.max(...logits.map(Math.abs));
    expect(Math.max(...logits.map((value, i) => Math.abs(value - theirs![i]!)))).toBeLessThan(1e-5 * largest);
    quantization.dispose();
    net.dispose();
  },
);

test('what is left of a sum that cancels goes to the upper level, a true negative value to the lower', () => {
  const x = tf.tensor1d([-1e-3, -1e-6, -3e-8, -1e-12, -0, 0, 1e-9, 1e-3]);
  const rule = {input: 'clipped', scale: 'none', gradientScale: 1} as const;
  const y = fakeQuantize(x, tf.scalar(2), lsq.grid(1, true), rule);
  expect([...y.dataSync()]).toEqual([-1, 1, 1, 1, 1, 1, 1, 1]);
});

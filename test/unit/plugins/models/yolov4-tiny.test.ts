import {expect, test} from '@jest/globals';

import {initialWeights} from '../../../../src/graph/initialize.ts';
import {createNetwork} from '../../../../src/graph/network.ts';
import {exportQdq} from '../../../../src/plugins/exporters/onnx-qdq.ts';
import {yolov4Tiny} from '../../../../src/plugins/models/yolov4-tiny.ts';
import {integerNetwork} from '../../../../src/sdq/integer-network.ts';
import {useCpuBackend} from '../../../helpers/cpu-backend.ts';
import {expectSameInRuntime} from '../../../helpers/onnx-runtime.ts';
import {thorough} from '../../../helpers/thorough.ts';

useCpuBackend();

// Six million weights by tfjs' cpu backend: the slow suite.
(thorough ? test : test.skip)(
  'both heads of the exported float file are those of ONNX Runtime within 1e-5 of the largest output',
  async () => {
    const graph = yolov4Tiny.build({classes: 2, inputShape: [3, 32, 64]}, {});
    const network = createNetwork(graph, initialWeights(graph, 1));
    await expectSameInRuntime(network, exportQdq(await integerNetwork(network, undefined), 21), {share: 1e-5});
  },
);

test('other sizes are refused, and Relu may take the place of LeakyRelu', () => {
  expect(() => yolov4Tiny.build({classes: 2, inputShape: [3, 416, 400]}, {})).toThrow('has 416 × 400');
  const {nodes, outputs} = yolov4Tiny.build({classes: 2, inputShape: [3, 64, 64]}, {activation: 'relu'});
  expect(nodes.filter(({op}) => op === 'LeakyRelu')).toEqual([]);
  expect(nodes.filter(({op}) => op === 'Relu')).toHaveLength(19);
  expect(outputs).toEqual(['head0', 'head1']);
});

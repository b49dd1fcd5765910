/** The built-in formats of `sdq export`. */
import type {ExporterDefinition} from '../../plugin-api/registry.ts';

export const exporters: readonly ExporterDefinition[] = [
  {
    kind: 'exporter',
    name: 'onnx-qdq',
    summary: 'ONNX with QuantizeLinear and DequantizeLinear: opset 20, or 21 for weights of 4 or 16 bits.',
    load: async () => {
      const {exportQdq} = await import('./onnx-qdq.ts');
      return (network) => exportQdq(network, 21);
    },
  },
  {
    kind: 'exporter',
    name: 'onnx-qdq-int2',
    summary: 'The same, and opset 25 to store 1 and 2 bits in 2; few tools read it yet.',
    load: async () => {
      const {exportQdq} = await import('./onnx-qdq.ts');
      return (network) => exportQdq(network, 25);
    },
  },
  {
    kind: 'exporter',
    name: 'qonnx',
    summary: 'QONNX, for FINN and hls4ml: every bitwidth, in nodes Quant and BipolarQuant.',
    load: async () => (await import('./qonnx.ts')).exportQonnx,
  },
  {
    kind: 'exporter',
    name: 'aimet',
    summary: 'ONNX opset 20 in float, weights on their grids, for the encodings of AIMET and QNN.',
    roundsInputs: false,
    load: async () => (await import('./aimet.ts')).exportAimet,
  },
];

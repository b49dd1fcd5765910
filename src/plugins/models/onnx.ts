/** A network of an ONNX file. */
import {invalidInput} from '../../errors.ts';
import {readNetwork} from '../../network-file.ts';
import type {ModelDefinition} from '../../plugin-api/registry.ts';

export const onnx: ModelDefinition<{readonly file?: string}> = {
  kind: 'model',
  name: 'onnx',
  summary: 'The network of an ONNX file: `model.options.file`.',
  optionsSchema: {
    type: 'object',
    additionalProperties: false,
    properties: {
      file: {
        description: 'The ONNX file, in float; its weights are taken with `model.weights`, which may be the same file.',
        type: 'string',
        format: 'path',
        minLength: 1,
      },
    },
  },
  defaults: {classes: 10, inputShape: [3, 32, 32]},
  takesRows: true,
  build(context, {file}) {
    if (file === undefined) {
      throw invalidInput('config-incomplete', 'The model onnx needs the file of its network.', [
        '--set model.name=onnx --set model.options.file=network.onnx',
      ]);
    }
    const {graph} = readNetwork(file);
    // Without a data set the file alone says what it takes.
    if (context === onnx.defaults || graph.input.shape.join() === context.inputShape.join()) return graph;
    const given = `${context.inputShape.length === 1 ? 'rows' : 'images'} of [${context.inputShape.join(', ')}]`;
    throw invalidInput(
      'model-does-not-fit',
      `${file} takes [${graph.input.shape.join(', ')}]; the data set has ${given}.`,
      [
        ...sizeFor(graph.input.shape, context.inputShape),
        `Export the network for such an input: torch.zeros(1, ${context.inputShape.join(', ')}).`,
      ],
    );
  },
};

/** What gives the images of a data set with a size of its own the height and width that the network takes. */
function sizeFor(network: readonly number[], data: readonly number[]): string[] {
  const [channels, height, width] = network;
  const isSize = data.length === 3 && channels === data[0] && height !== undefined && height === width;
  return isSize ? [`Images from files: --set data.options.size=${height}.`] : [];
}

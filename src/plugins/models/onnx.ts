/** A network of an ONNX file. */
import {ExitCode, SdqError} from '../../errors.ts';
import {readFileBounded} from '../../files.ts';
import {fromOnnx} from '../../graph/onnx/from-onnx.ts';
import {inferShapes} from '../../graph/shape.ts';
import {entry} from '../../lookup.ts';
import type {ModelDefinition} from '../../plugin-api/registry.ts';

const limitBytes = 2 ** 31;

/** @throws SdqError (exit 3) for a file that is none, or of a network that sdq does not run */
export const readNetwork = (file: string): ReturnType<typeof fromOnnx> =>
  fromOnnx(readFileBounded(file, limitBytes), file);

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
  build(context, {file}) {
    if (file === undefined) {
      throw new SdqError('The model onnx needs the file of its network.', {
        code: 'config-incomplete',
        exit: ExitCode.invalidInput,
        suggestions: ['--set model.name=onnx --set model.options.file=network.onnx'],
      });
    }
    const {graph} = readNetwork(file);
    // Without a data set the file alone says what it takes.
    if (context === onnx.defaults) return graph;
    const output = entry(inferShapes(graph), graph.output).shape;
    const found = `[${graph.input.shape.join(', ')}] to [${output.join(', ')}]`;
    const wanted = `[${context.inputShape.join(', ')}] to [${context.classes}]`;
    if (found === wanted) return graph;
    throw new SdqError(`${file} maps ${found}; the data set wants ${wanted}: an image to its classes.`, {
      code: 'model-does-not-fit',
      exit: ExitCode.invalidInput,
    });
  },
};

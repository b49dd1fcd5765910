/** A network of an ONNX file. */
import {ExitCode, SdqError} from '../../errors.ts';
import {filesBeside, readFileBounded} from '../../files.ts';
import {fromOnnx} from '../../graph/onnx/from-onnx.ts';
import {inferShapes} from '../../graph/shape.ts';
import {entry} from '../../lookup.ts';
import type {ModelDefinition} from '../../plugin-api/registry.ts';

const limitBytes = 2 ** 31;

/** @throws SdqError (exit 3) for a file that is none, or of a network that sdq does not run */
export const readNetwork = (file: string): ReturnType<typeof fromOnnx> =>
  fromOnnx(readFileBounded(file, limitBytes), file, filesBeside(file));

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
      throw new SdqError('The model onnx needs the file of its network.', {
        code: 'config-incomplete',
        exit: ExitCode.invalidInput,
        suggestions: ['--set model.name=onnx --set model.options.file=network.onnx'],
      });
    }
    const {graph} = readNetwork(file);
    // Without a data set the file alone says what it takes.
    if (context === onnx.defaults) return graph;
    const shapes = inferShapes(graph);
    const outputs = graph.outputs.map((output) => `[${entry(shapes, output).shape.join(', ')}]`);
    const found = `[${graph.input.shape.join(', ')}] to ${outputs.join(' and ')}`;
    const wanted = `[${context.inputShape.join(', ')}] to [${context.classes}]`;
    // Of several outputs the task chooses, and checks that what it chose fits.
    const isChosenLater = outputs.length > 1 || graph.refused !== undefined;
    const fits = isChosenLater ? graph.input.shape.join() === context.inputShape.join() : found === wanted;
    if (fits) return graph;
    throw new SdqError(
      `${file} maps ${found}; the data set wants ${wanted}: ${context.inputShape.length === 1 ? 'a row' : 'an image'} to its classes.`,
      {
        code: 'model-does-not-fit',
        exit: ExitCode.invalidInput,
      },
    );
  },
};

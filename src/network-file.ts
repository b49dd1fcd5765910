/** The network of an ONNX file, for whoever has the file: the model `onnx`, and commands that look at one without a config. */
import {filesBeside, readFileBounded} from './files.ts';
import {fromOnnx} from './graph/onnx/from-onnx.ts';

const limitBytes = 2 ** 31;

/** @throws SdqError (exit 3) for a file that is none, or of a network that sdq does not run */
export const readNetwork = (file: string): ReturnType<typeof fromOnnx> =>
  fromOnnx(readFileBounded(file, limitBytes), file, filesBeside(file));

/** The built-in models. */
import type {ModelDefinition} from '../registry.ts';
import {cnnSmall} from './cnn-small.ts';
import {mobilenetV2} from './mobilenet-v2.ts';
import {onnx} from './onnx.ts';
import {resnetCifar} from './resnet-cifar.ts';
import {resnetImagenet} from './resnet-imagenet.ts';

export const models: readonly ModelDefinition[] = [
  ...resnetCifar,
  ...resnetImagenet,
  mobilenetV2,
  cnnSmall,
  onnx,
] as readonly ModelDefinition[];

/** The built-in models. */
import type {ModelDefinition} from '../../plugin-api/registry.ts';
import {cnnSmall} from './cnn-small.ts';
import {efficientnetB0} from './efficientnet-b0.ts';
import {mlp} from './mlp.ts';
import {mobilenetV2} from './mobilenet-v2.ts';
import {mobilenetV3Models} from './mobilenet-v3.ts';
import {onnx} from './onnx.ts';
import {resnetCifar} from './resnet-cifar.ts';
import {resnetImagenet} from './resnet-imagenet.ts';
import {vggModels} from './vgg.ts';
import {vit} from './vit.ts';
import {yolov4Tiny} from './yolov4-tiny.ts';

export const models: readonly ModelDefinition[] = [
  ...resnetCifar,
  ...resnetImagenet,
  mobilenetV2,
  ...mobilenetV3Models,
  efficientnetB0,
  ...vggModels,
  vit,
  yolov4Tiny,
  cnnSmall,
  mlp,
  onnx,
] as readonly ModelDefinition[];

import type {DatasetDefinition} from '../../plugin-api/registry.ts';
import {boxes} from './boxes.ts';
import {cifar10} from './cifar10.ts';
import {fashionMnist} from './fashion-mnist.ts';
import {imageFolder} from './image-folder.ts';
import {mnist} from './mnist.ts';
import {parquetImageFiles} from './parquet-images.ts';
import {table} from './table.ts';
import {webdataset} from './webdataset.ts';

export const datasets: readonly DatasetDefinition[] = [
  cifar10,
  mnist,
  fashionMnist,
  imageFolder,
  webdataset,
  parquetImageFiles,
  table,
  boxes,
] as readonly DatasetDefinition[];

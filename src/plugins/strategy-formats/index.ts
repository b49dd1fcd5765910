/** The files of other tools that `sdq strategy convert` reads and writes. */
import type {StrategyFormatDefinition} from '../../plugin-api/registry.ts';
import {aimet, aimet1, qnn} from './aimet.ts';
import {brevitas} from './brevitas.ts';
import {coremltools} from './coremltools.ts';
import {finn} from './finn.ts';
import {hawq} from './hawq.ts';
import {hls4ml} from './hls4ml.ts';
import {modelopt} from './modelopt.ts';
import {neuralCompressor} from './neural-compressor.ts';
import {nncf} from './nncf.ts';
import {quark} from './quark.ts';
import {torchao} from './torchao.ts';

export const strategyFormats: readonly StrategyFormatDefinition[] = [
  hawq,
  nncf,
  hls4ml,
  aimet,
  aimet1,
  qnn,
  finn,
  torchao,
  modelopt,
  brevitas,
  coremltools,
  quark,
  neuralCompressor,
];

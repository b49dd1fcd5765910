import {aimet} from './aimet.ts';
import {finn} from './finn.ts';
import {hawq} from './hawq.ts';
import {hls4ml} from './hls4ml.ts';
import {nncf} from './nncf.ts';

export const strategyFormats = [hawq, nncf, hls4ml, aimet, finn];

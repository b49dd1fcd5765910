import {interpolation} from './interpolation.ts';
import {sdq} from './sdq.ts';
import {sensitivity} from './sensitivity/index.ts';
import {uniform} from './uniform.ts';

export const searchers = [sdq, interpolation, sensitivity, uniform];

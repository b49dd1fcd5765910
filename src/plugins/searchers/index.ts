import {interpolation} from './interpolation.ts';
import {sdq} from './sdq.ts';
import {uniform} from './uniform.ts';

export const searchers = [sdq, interpolation, uniform];

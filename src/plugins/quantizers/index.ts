import {dorefa} from './dorefa.ts';
import {entropy} from './entropy.ts';
import {lsq} from './lsq.ts';
import {narrow, narrowPerTensor} from './narrow.ts';
import {pact} from './pact.ts';
import {symmetric} from './symmetric.ts';

export const weightQuantizers = [symmetric, narrow, narrowPerTensor, dorefa, entropy];
export const activationQuantizers = [pact, lsq];

/** The operators that sdq runs. Adding one touches its own file and this list. */
import {add} from './add.ts';
import {averagePool} from './average-pool.ts';
import {batchNormalization} from './batch-normalization.ts';
import {clip} from './clip.ts';
import {concat} from './concat.ts';
import {conv} from './conv.ts';
import {dropout} from './dropout.ts';
import {flatten} from './flatten.ts';
import {gemm} from './gemm.ts';
import {globalAveragePool} from './global-average-pool.ts';
import {hardSigmoid} from './hard-sigmoid.ts';
import {hardSwish} from './hard-swish.ts';
import {identity} from './identity.ts';
import {leakyRelu} from './leaky-relu.ts';
import {matMul} from './mat-mul.ts';
import {maxPool} from './max-pool.ts';
import {mul} from './mul.ts';
import type {Operator} from './operator.ts';
import {pad} from './pad.ts';
import {relu} from './relu.ts';
import {reshape} from './reshape.ts';
import {sigmoid} from './sigmoid.ts';
import {transpose} from './transpose.ts';

export const operators: ReadonlyMap<string, Operator> = new Map(
  [
    add,
    averagePool,
    batchNormalization,
    clip,
    concat,
    conv,
    dropout,
    flatten,
    gemm,
    globalAveragePool,
    hardSigmoid,
    hardSwish,
    identity,
    leakyRelu,
    matMul,
    maxPool,
    mul,
    pad,
    relu,
    reshape,
    sigmoid,
    transpose,
  ].map((operator) => [operator.op, operator]),
);

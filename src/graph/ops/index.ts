/** The operators that sdq runs. Adding one touches its own file and this list. */
import {averagePool} from './average-pool.ts';
import {batchNormalization} from './batch-normalization.ts';
import {clip} from './clip.ts';
import {concat} from './concat.ts';
import {conditions} from './conditions.ts';
import {convTranspose} from './conv-transpose.ts';
import {conv} from './conv.ts';
import {depthToSpace, spaceToDepth} from './depth-space.ts';
import {dropout} from './dropout.ts';
import {expand} from './expand.ts';
import {flatten} from './flatten.ts';
import {functions} from './functions.ts';
import {gemm} from './gemm.ts';
import {globalAveragePool, globalMaxPool} from './global-pool.ts';
import {matMul} from './mat-mul.ts';
import {maxPool} from './max-pool.ts';
import {groupNormalization, instanceNormalization, layerNormalization} from './normalization.ts';
import type {Operator} from './operator.ts';
import {pad} from './pad.ts';
import {reductions} from './reduce.ts';
import {reshape} from './reshape.ts';
import {resize} from './resize.ts';
import {gather, slice} from './slice.ts';
import {logSoftmax, softmax} from './softmax.ts';
import {squeeze, unsqueeze} from './squeeze.ts';
import {transpose} from './transpose.ts';

export const operators: ReadonlyMap<string, Operator> = new Map(
  [
    ...conditions,
    ...functions,
    ...reductions,
    averagePool,
    batchNormalization,
    clip,
    concat,
    conv,
    convTranspose,
    depthToSpace,
    dropout,
    expand,
    flatten,
    gather,
    gemm,
    globalAveragePool,
    globalMaxPool,
    groupNormalization,
    instanceNormalization,
    layerNormalization,
    logSoftmax,
    matMul,
    maxPool,
    pad,
    reshape,
    resize,
    slice,
    softmax,
    spaceToDepth,
    squeeze,
    transpose,
    unsqueeze,
  ]
    .toSorted((a, b) => (a.op < b.op ? -1 : 1))
    .map((operator) => [operator.op, operator]),
);

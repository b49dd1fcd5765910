/** The engine's kernels: one file a family. Every exported kernel is `name(task, thread, threads)`, see task.ts. */
export * from './activation';
export * from './batch-norm';
export * from './bin-regularizer';
export * from './conv';
export * from './depthwise';
export * from './elementwise';
export * from './fake-quantize';
export * from './memory';
export * from './optimizer';
export * from './panels';
export * from './peak';
export * from './pool';
export * from './reduce';
export * from './softmax';
export * from './winograd';

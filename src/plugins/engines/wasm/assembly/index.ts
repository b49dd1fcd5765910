/** The engine's kernels: one file a family. Every exported kernel is `name(task, thread, threads)`, see task.ts. */
export * from './memory';

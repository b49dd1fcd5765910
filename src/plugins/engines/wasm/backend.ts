/**
 * The tfjs backend of the wasm engine. Tensors live in one shared WebAssembly memory, where every thread's kernels and
 * JavaScript see them. It extends tfjs' cpu backend: a kernel that is not ours is the cpu backend's, and works on typed-array
 * views of the same memory.
 */
import type {Worker} from 'node:worker_threads';

import {MathBackendCPU} from '@tensorflow/tfjs-backend-cpu';
import * as tf from '@tensorflow/tfjs-core';

import {present} from '../../../lookup.ts';
import {OutOfMemoryError} from '../../../plugin-api/out-of-memory.ts';
import type {Grid} from '../../../tensor/kernels.ts';
import {Allocator} from './allocator.ts';
import {ThreadPool} from './thread-pool.ts';

export const backendName = 'sdq-wasm';

const pageBytes = 65_536;
/** The memory grows in steps of this; pages that nothing has written to cost nothing. */
const growthBytes = 16 * 2 ** 20;
/** Kernels may read this far past a tensor's last element. */
const slackBytes = 64;
/** Work (multiply-adds, or elements touched) from which waking the other threads pays: about 10 µs. */
const parallelWork = 30_000;

type DataIds<T> = Record<symbol, T | undefined>;

/** Keeps each data id's record on the id itself: tfjs' own storage is a WeakMap, which costs at every garbage collection. */
class RecordStorage<T> extends tf.DataStorage<T> {
  readonly #key = Symbol('record');
  readonly #owner: tf.KernelBackend;
  #count = 0;

  constructor(owner: tf.KernelBackend) {
    super(owner, tf.engine());
    this.#owner = owner;
  }

  override get(dataId: DataIds<T>): T {
    if (dataId[this.#key] === undefined) tf.engine().moveData(this.#owner, dataId);
    return present(dataId[this.#key], 'data of the tensor');
  }

  override set(dataId: DataIds<T>, value: T): void {
    this.#count++;
    dataId[this.#key] = value;
  }

  override has(dataId: DataIds<T>): boolean {
    return dataId[this.#key] !== undefined;
  }

  override delete(dataId: DataIds<T>): boolean {
    if (!this.has(dataId)) return false;
    this.#count--;
    dataId[this.#key] = undefined;
    return true;
  }

  override numDataIds(): number {
    return this.#count;
  }
}

/** What all values of a tensor are: scale · (q + offset), q a whole number of the grid. */
export interface Levels {
  readonly grid: Grid;
  /** One step, or one for each place on the last axis. */
  readonly scale: Float32Array;
}

/** A tensor's data in the shared memory. (Strings and complex numbers stay with the cpu backend's own records.) */
class TensorBlock {
  readonly dtype: tf.DataType;
  readonly address: number;
  readonly length: number;
  refCount: number;
  levels: Levels | null = null;
  #values: Float32Array | Int32Array | Uint8Array | undefined;
  readonly #memory: WebAssembly.Memory;

  constructor(memory: WebAssembly.Memory, dtype: tf.DataType, address: number, length: number, refCount: number) {
    this.#memory = memory;
    this.dtype = dtype;
    this.address = address;
    this.length = length;
    this.refCount = refCount;
  }

  /** A view, made when somebody asks for it: our own kernels need the address only. */
  get values(): Float32Array | Int32Array | Uint8Array {
    return (this.#values ??= this.#view());
  }

  #view(): Float32Array | Int32Array | Uint8Array {
    if (this.dtype === 'float32') return new Float32Array(this.#memory.buffer, this.address, this.length);
    if (this.dtype === 'int32') return new Int32Array(this.#memory.buffer, this.address, this.length);
    return new Uint8Array(this.#memory.buffer, this.address, this.length);
  }
}

function bytesPerElement(dtype: tf.DataType): number {
  return dtype === 'bool' ? 1 : 4;
}

export interface WasmBackendOptions {
  readonly module: WebAssembly.Module;
  /** Worker threads, the main one included. */
  readonly threads: number;
  /** Most bytes the memory may grow to. */
  readonly limitBytes: number;
  readonly graceMs?: number;
}

export class WasmBackend extends MathBackendCPU {
  /** The gradients of convolutions take dilations (src/tensor/dilations.ts). */
  readonly dilatedGradients = true;
  readonly threads: number;
  readonly limitBytes: number;
  readonly #memory: WebAssembly.Memory;
  readonly #allocator: Allocator;
  #pool: ThreadPool | null = null;

  private constructor(options: WasmBackendOptions) {
    super();
    this.data = new RecordStorage(this);
    this.threads = options.threads;
    this.limitBytes = options.limitBytes;
    const initial = 16;
    this.#memory = new WebAssembly.Memory({initial, maximum: Math.floor(options.limitBytes / pageBytes), shared: true});
    const {heapBase} = new WebAssembly.Instance(options.module, {env: {memory: this.#memory}}).exports;
    const base = Math.ceil((heapBase as () => number)() / 64) * 64;
    let top = base;
    this.#allocator = new Allocator((bytes) => {
      const end = this.#memory.buffer.byteLength;
      if (top === base && end - base >= bytes) return {start: base, end: (top = end)};
      const start = top === base ? base : end;
      const room = Math.floor(options.limitBytes / pageBytes) * pageBytes - end;
      const needed = bytes - (end - start);
      const step = Math.min(room, Math.ceil(needed / growthBytes) * growthBytes);
      if (step < needed) return null;
      this.#memory.grow(step / pageBytes);
      return {start, end: (top = end + step)};
    });
  }

  /** @throws SdqError (exit 6) when a worker cannot be started */
  static async start(options: WasmBackendOptions): Promise<WasmBackend> {
    const backend = new WasmBackend(options);
    backend.#pool = await ThreadPool.start({
      module: options.module,
      memory: backend.#memory,
      threads: options.threads,
      allocate: (bytes) => backend.allocate(bytes),
      ...(options.graceMs === undefined ? {} : {graceMs: options.graceMs}),
    });
    return backend;
  }

  /** Stops the threads. */
  async stop(): Promise<void> {
    await this.#pool?.dispose();
  }

  get workers(): readonly Worker[] {
    return present(this.#pool, 'thread pool').workers;
  }

  // ------------------------------------------------------------------------------------------------ for kernels

  /** A new tensor, contents undefined. */
  output(shape: readonly number[], dtype: tf.DataType = 'float32'): tf.TensorInfo {
    const dataId = {};
    this.#add(dataId, dtype, tf.util.sizeFromShape(shape as number[]), 1);
    return {dataId, shape: shape as number[], dtype};
  }

  /** Byte address of a tensor's first element, a multiple of 64; 64 bytes past its end may be read. */
  pointer(info: tf.TensorInfo): number {
    const block = this.#block(info.dataId);
    if (block.dtype !== info.dtype) throw new Error(`a tensor of ${block.dtype} is labelled ${info.dtype}`);
    return block.address;
  }

  /** Notes that a kernel has rounded all values of its output to a grid. @param scale [] or [C], C the last axis of `info` */
  roundedTo(info: tf.TensorInfo, grid: Grid, scale: tf.TensorInfo): void {
    this.#block(info.dataId).levels = {grid, scale: this.floats(scale).slice()};
  }

  /** The grid that a kernel has rounded these values to, null where none is known. */
  levels(info: tf.TensorInfo): Levels | null {
    return this.#block(info.dataId).levels;
  }

  /** A live view of a tensor of numbers or booleans. */
  values(info: tf.TensorInfo): Float32Array | Int32Array | Uint8Array {
    return this.#block(info.dataId).values;
  }

  /** A live view of a float tensor. */
  floats(info: tf.TensorInfo): Float32Array {
    return this.#block(info.dataId).values as Float32Array;
  }

  /**
   * Scratch memory, contents undefined, aligned to 64; to be released in the same call.
   * @throws SdqError (exit 6) when the memory limit is reached
   */
  allocate(bytes: number): number {
    const address = this.#allocator.allocate(bytes + slackBytes);
    if (address !== null) return address;
    throw new OutOfMemoryError('wasm', bytes, this.#allocator.inUse, this.limitBytes);
  }

  release(address: number): void {
    this.#allocator.release(address);
  }

  /** Threads for this much work (multiply-adds, or elements touched): 1 where waking the others would not pay. */
  threadsFor(work: number): number {
    return work < parallelWork ? 1 : this.threads;
  }

  /**
   * Runs kernel `name` of the module on `threads` threads and returns when it is done.
   * @param ints at most 48 integers and addresses, read with `int` and `pointer` in assembly/task.ts
   * @param floats at most 16, read with `float`
   * @throws SdqError (exit 6) when a worker is lost
   */
  run(name: string, ints: readonly number[], floats: readonly number[], threads: number): void {
    present(this.#pool, 'thread pool').run(name, ints, floats, threads);
  }

  /** MiB handed out now, at most so far, and taken from the operating system. */
  usage(): {readonly inUseMiB: number; readonly peakMiB: number; readonly reservedMiB: number} {
    return {
      inUseMiB: mebibytes(this.#allocator.inUse),
      peakMiB: mebibytes(this.#allocator.peak),
      reservedMiB: mebibytes(this.#memory.buffer.byteLength),
    };
  }

  // ------------------------------------------------------------------------------------- tfjs' storage interface

  override write(values: tf.backend_util.BackendValues | undefined, shape: number[], dtype: tf.DataType): object {
    const dataId = {};
    this.move(dataId, values, shape, dtype, 1);
    return dataId;
  }

  override move(
    dataId: object,
    values: tf.backend_util.BackendValues | undefined,
    shape: number[],
    dtype: tf.DataType,
    refCount: number,
  ): void {
    if (values === undefined || dtype === 'string' || dtype === 'complex64') {
      // tfjs passes no values for a complex tensor, against its own type.
      // eslint-disable-next-line @typescript-eslint/no-non-null-assertion
      super.move(dataId, values!, shape, dtype, refCount);
    } else {
      this.#add(dataId, dtype, values.length, refCount).values.set(values as Float32Array);
    }
  }

  /** A copy: the memory is used again after the tensor is disposed. */
  override readSync(dataId: object): tf.backend_util.BackendValues {
    const block = this.data.get(dataId);
    return block instanceof TensorBlock ? block.values.slice() : super.readSync(dataId);
  }

  override async read(dataId: object): Promise<tf.backend_util.BackendValues> {
    return Promise.resolve(this.readSync(dataId));
  }

  override disposeData(dataId: object, force = false): boolean {
    if (!this.data.has(dataId)) return true;
    const block: object = this.data.get(dataId);
    const gone = super.disposeData(dataId, force);
    if (gone && block instanceof TensorBlock) this.#allocator.release(block.address);
    return gone;
  }

  override memory(): {unreliable: boolean; reasons: string[]} {
    return {unreliable: false, reasons: []};
  }

  #block(dataId: object): TensorBlock {
    const block: object = this.data.get(dataId);
    if (block instanceof TensorBlock) return block;
    throw new Error('a string or complex tensor has no place in the shared memory');
  }

  #add(dataId: object, dtype: tf.DataType, length: number, refCount: number): TensorBlock {
    const address = this.allocate(length * bytesPerElement(dtype));
    const block = new TensorBlock(this.#memory, dtype, address, length, refCount);
    this.data.set(dataId, block);
    return block;
  }
}

function mebibytes(bytes: number): number {
  return Math.round((bytes / 2 ** 20) * 10) / 10;
}

// ------------------------------------------------------------------------------------------------ defining kernels

export interface KernelCall<Inputs, Attributes> {
  readonly backend: WasmBackend;
  readonly inputs: Inputs;
  readonly attrs: Attributes;
  /** The stock cpu kernel of the same name on the same inputs: for the types and shapes that ours leaves out. */
  readonly cpu: () => tf.TensorInfo | tf.TensorInfo[];
}

/** A kernel of this backend under tfjs' name (or a fused operator's, src/tensor/kernels.ts). */
export function defineKernel<Inputs, Attributes = object>(
  kernelName: string,
  run: (call: KernelCall<Inputs, Attributes>) => tf.TensorInfo | tf.TensorInfo[],
): tf.KernelConfig {
  return {
    kernelName,
    backendName,
    kernelFunc: (call) =>
      run({
        // eslint-disable-next-line @typescript-eslint/no-unsafe-class-instance-assignment -- tfjs types every backend {}
        backend: call.backend as WasmBackend,
        inputs: call.inputs as Inputs,
        attrs: (call.attrs ?? {}) as Attributes,
        cpu: () => tf.getKernel(kernelName, 'cpu').kernelFunc(call),
      }),
  };
}

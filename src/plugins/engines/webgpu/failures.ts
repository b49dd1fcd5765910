/** What a GPU does not say where it happens: a lost device, memory that ran out, a kernel that was refused. It is thrown by the next call. */
import {ExitCode, SdqError} from '../../../errors.ts';
import {OutOfMemoryError} from '../../../plugin-api/out-of-memory.ts';
import type {Backend, Device, GpuBuffer} from './gpu.ts';

interface DeviceWatch {
  /** The device is about to be destroyed: that is no failure. */
  expectEnd(): void;
}

function lost(message: string): SdqError {
  return new SdqError(`The GPU was lost: ${message.trim().replace(/\.$/, '') || 'the driver says no more'}.`, {
    code: 'device-lost',
    exit: ExitCode.notAvailable,
    suggestions: ['The run continues from its last saved state: --resume latest', 'See `sdq doctor`.'],
  });
}

/** @param device of `backend`, whose reads and kernels then throw what went wrong before */
export function watchDevice(device: Device, backend: Backend): DeviceWatch {
  let failure: SdqError | undefined;
  let isExpected = false;
  /** Bytes of the largest buffer since the last read: the likely one when memory runs out. */
  let largest = 0;

  void device.lost.then(({message, reason}) => {
    if (!isExpected) failure ??= lost(message === '' ? reason : message);
  });
  device.addEventListener('uncapturederror', ({error}) => {
    if (isExpected) return;
    if (error.constructor.name === 'GPUOutOfMemoryError' || /out of memory/i.test(error.message)) {
      const {numBytesAllocatedInGPU: inUse} = backend.memory();
      failure ??= new OutOfMemoryError('webgpu', largest, inUse, inUse);
      return;
    }
    failure ??= new SdqError(`The GPU refuses a command: ${error.message.split('\n')[0] ?? ''}`, {
      code: 'gpu-error',
      exit: ExitCode.notAvailable,
      suggestions: ['Update the driver of the GPU, or --set engine.name=wasm.'],
    });
  });

  const createBuffer = device.createBuffer.bind(device);
  const limit = Math.min(
    device.limits['maxBufferSize'] ?? Infinity,
    device.limits['maxStorageBufferBindingSize'] ?? Infinity,
  );
  device.createBuffer = (descriptor): GpuBuffer => {
    if (failure !== undefined) throw failure;
    if (descriptor.size > limit) throw new OutOfMemoryError('webgpu', descriptor.size, 0, limit);
    largest = Math.max(largest, descriptor.size);
    return createBuffer(descriptor);
  };
  const run = backend.runWebGPUProgram.bind(backend);
  backend.runWebGPUProgram = (...call) => {
    if (failure !== undefined) throw failure;
    return run(...call);
  };
  const read = backend.read.bind(backend);
  backend.read = async (dataId) => {
    try {
      const values = await read(dataId);
      if (failure !== undefined) throw failure;
      largest = 0;
      return values;
    } catch (error) {
      // A read of a lost device fails a moment before `lost` resolves.
      await new Promise((resolve) => setImmediate(resolve));
      throw failure ?? error;
    }
  };
  return {
    expectEnd: () => {
      isExpected = true;
    },
  };
}

import type {EngineDefinition} from '../../plugin-api/registry.ts';
import {cpuEngine} from './cpu/index.ts';
import {tensorflowEngine} from './tensorflow/index.ts';
import {wasmEngine} from './wasm/index.ts';
import {webgpuEngine} from './webgpu/index.ts';

export const engines: readonly EngineDefinition[] = [wasmEngine, tensorflowEngine, webgpuEngine, cpuEngine];

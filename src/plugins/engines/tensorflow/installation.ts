/** What `sdq engine install tensorflow` makes, and where. */
import {readFileSync} from 'node:fs';
import path from 'node:path';

import {engineCache} from '../../../data/cache.ts';

/** The version whose C API and headers the binding of tfjs-node 4.22.0 was tried with. */
export const tensorflowVersion = '2.21.0';

export type Variant = 'cuda' | 'cpu';

/** In this order; a later step needs the earlier ones. */
export const steps = ['library', 'cuda', 'package', 'binding', 'check'] as const;
export type Step = (typeof steps)[number];

export interface Installation {
  readonly variant: Variant;
  readonly tensorflow: string;
  readonly tfjs: string;
  /** Finished ones. */
  readonly steps: readonly Step[];
}

/** Where everything lies. */
export interface Layout {
  readonly folder: string;
  readonly manifest: string;
  /** TensorFlow's library and headers, from its wheel. */
  readonly library: string;
  /** CUDA and cuDNN, where the library looks for them: `nvidia` beside it. */
  readonly packages: string;
  /** The JavaScript half of tfjs-node. */
  readonly tfjsNode: string;
  readonly binding: string;
}

export function layout(environment: NodeJS.ProcessEnv = process.env): Layout {
  const folder = path.join(engineCache(environment), 'tensorflow');
  const packages = path.join(folder, 'packages');
  return {
    folder,
    manifest: path.join(folder, 'installation.json'),
    library: path.join(packages, 'tensorflow'),
    packages,
    tfjsNode: path.join(folder, 'node_modules', '@tensorflow', 'tfjs-node'),
    binding: path.join(folder, 'tfjs_binding.node'),
  };
}

/** Undefined where nothing is installed, or what is there was not made by this version of sdq. */
export function readInstallation({manifest}: Layout): Installation | undefined {
  try {
    const installation = JSON.parse(readFileSync(manifest, 'utf8')) as Partial<Installation>;
    return Array.isArray(installation.steps) ? (installation as Installation) : undefined;
  } catch {
    return undefined;
  }
}

export const isComplete = ({steps: finished}: Installation): boolean => finished.includes('check');

/** A checkpoint as a runtime computes it. */
import * as tf from '@tensorflow/tfjs-core';

import {invalidInput} from '../errors.ts';
import type {HardwareProfile} from '../hardware/profile.ts';
import {inputTensor} from '../graph/input-tensor.ts';
import {createNetwork, type Network} from '../graph/network.ts';
import {item} from '../lookup.ts';
import {deploy, simulation, type Deployment, type Observe, type Range, type Target} from '../sdq/deployment/deploy.ts';
import {integerNetwork} from '../sdq/integer-network.ts';
import {openSample} from './calibration.ts';
import {hardwareError, violationsOf} from './hardware-check.ts';
import {profileNames, readProfile} from './hardware-file.ts';
import type {OpenCheckpoint} from './open-checkpoint.ts';
import type {Session} from './session.ts';

/** `sdq export` without a target: ONNX as the format says. */
export const noTarget = 'onnx';

export interface NamedTarget extends Target {
  readonly profile: HardwareProfile;
}

/** Undefined where the profile is no target. */
export function targetOf(profile: HardwareProfile): NamedTarget | undefined {
  const {deployment, name} = profile;
  return deployment === undefined ? undefined : {name, rules: deployment, profile};
}

/**
 * @param reference name of a profile, or a file that ends in `.json`
 * @throws SdqError (exit 3) where there is no such profile, or it is no target
 */
export function readTarget(reference: string): NamedTarget {
  const profile = readProfile(reference);
  const target = targetOf(profile);
  if (target !== undefined) return target;
  const {name} = profile;
  const targets = profileNames().filter((other) => readProfile(other).deployment !== undefined);
  throw invalidInput('not-a-target', `The hardware profile "${name}" is no target: it has no section "deployment".`, [
    `Targets: ${[noTarget, ...targets].join(', ')}.`,
  ]);
}

/**
 * @throws SdqError (exit 3) in full precision, (exit 4) where the strategy breaks the target's rules or a grid does not fit
 */
export async function deployCheckpoint(
  session: Session,
  {network, quantization, strategy}: OpenCheckpoint,
  target: NamedTarget,
): Promise<Deployment> {
  if (quantization === undefined || strategy === undefined) {
    throw invalidInput(
      'target-in-full-precision',
      'A target takes quantized weights; the checkpoint has no strategy.',
      ['--strategy strategy.json', 'Without --target the network is written in float.'],
    );
  }
  const error = hardwareError(undefined, violationsOf(strategy, [target.profile], session.registry, network.graph));
  if (error !== undefined) throw error;
  return deploy(await integerNetwork(network, quantization), target, observeOn(session));
}

/** Batches of at most 32 images that the ranges of joined values come from. */
const observedBatches = 4;

/** Ranges over images of the calibration sample. */
function observeOn(session: Session): Observe {
  return async (values, simulated) => {
    const {graph, parameters} = simulated();
    const network = createNetwork(graph, parameters, new Set(values));
    const source = openSample(session);
    let ranges = new Map<string, Range>();
    try {
      const batches = Math.min(source.batchesPerEpoch, observedBatches);
      for (let index = 0; index < batches; index++) {
        const {images, size} = await source.batch(0, index);
        const x = inputTensor(images, size, graph.input.shape);
        const observed = await observedRanges(network, x);
        x.dispose();
        ranges = new Map([...observed].map(([value, range]) => [value, joined(range, ranges.get(value))]));
        session.reporter.update('ranges of joined values', index + 1, batches);
      }
    } finally {
      network.dispose();
      await source.close();
    }
    return ranges;
  };
}

const joined = (range: Range, other: Range = range): Range => [
  Math.min(range[0], other[0]),
  Math.max(range[1], other[1]),
];

/**
 * Least and greatest of each value that the network observes.
 * @param x [N, height, width, channels]
 */
export async function observedRanges(network: Network, x: tf.Tensor): Promise<ReadonlyMap<string, Range>> {
  const bounds = new Map<string, tf.Tensor>();
  const y = network.forward(x, {
    training: false,
    onValue(name, value) {
      bounds.set(name, tf.keep(tf.stack([tf.min(value), tf.max(value)])));
    },
  });
  try {
    const read = [...bounds].map(async ([name, pair]): Promise<[string, Range]> => {
      const values = await pair.data<'float32'>();
      return [name, [item(values, 0), item(values, 1)]];
    });
    return new Map(await Promise.all(read));
  } finally {
    tf.dispose([y, ...bounds.values()]);
  }
}

/** The deployment in sdq's own engine; the caller disposes it. */
export function simulatedNetwork(deployment: Deployment): Network {
  const {graph, parameters} = simulation(deployment);
  return createNetwork(graph, parameters);
}

/** A checkpoint as a runtime computes it. */
import * as tf from '@tensorflow/tfjs-core';

import {ExitCode, SdqError} from '../errors.ts';
import type {HardwareProfile} from '../hardware/profile.ts';
import {createNetwork, type Network} from '../graph/network.ts';
import {leadingTo} from '../graph/reachable.ts';
import {
  deploy,
  simulation,
  type Deployment,
  type Observe,
  type Range,
  type Simulation,
  type Target,
} from '../sdq/deployment/deploy.ts';
import {integerNetwork} from '../sdq/integer-network.ts';
import {openSample} from './calibration.ts';
import {hardwareError, violationsOf} from './hardware-check.ts';
import {profileNames, readProfile} from './hardware-file.ts';
import type {OpenCheckpoint} from './open-checkpoint.ts';
import type {Session} from './session.ts';

/** `sdq export` without a target: ONNX as the format says. */
export const noTarget = 'onnx';

/**
 * @param reference name of a profile, or a file that ends in `.json`
 * @throws SdqError (exit 3) where there is no such profile, or it is no target
 */
export function readTarget(reference: string): Target & {readonly profile: HardwareProfile} {
  const profile = readProfile(reference);
  const {deployment, name} = profile;
  if (deployment !== undefined) return {name, rules: deployment, profile};
  const targets = profileNames().filter((other) => readProfile(other).deployment !== undefined);
  throw new SdqError(`The hardware profile "${name}" is no target: it has no section "deployment".`, {
    code: 'not-a-target',
    exit: ExitCode.invalidInput,
    suggestions: [`Targets: ${[noTarget, ...targets].join(', ')}.`],
  });
}

/**
 * @throws SdqError (exit 3) in full precision, (exit 4) where the strategy breaks the target's rules or a grid does not fit
 */
export async function deployCheckpoint(
  session: Session,
  {network, quantization, strategy}: OpenCheckpoint,
  target: Target & {readonly profile: HardwareProfile},
): Promise<Deployment> {
  if (quantization === undefined || strategy === undefined) {
    throw new SdqError('A target takes quantized weights; the checkpoint has no strategy.', {
      code: 'target-in-full-precision',
      exit: ExitCode.invalidInput,
      suggestions: ['--strategy strategy.json', 'Without --target the network is written in float.'],
    });
  }
  const error = hardwareError(undefined, violationsOf(strategy, [target.profile], session.registry, network.graph));
  if (error !== undefined) throw error;
  return deploy(await integerNetwork(network, quantization), target, observeOn(session));
}

/** Batches of at most 32 images that the ranges of joined values come from. */
const observedBatches = 4;

/** The part of a network that leads to one value. */
function upTo({graph, parameters}: Simulation, output: string): Network {
  const nodes = leadingTo(graph.nodes, output);
  const read = new Set(nodes.flatMap(({inputs}) => inputs));
  return createNetwork(
    {...graph, nodes, output, parameters: graph.parameters.filter(({name}) => read.has(name))},
    parameters,
  );
}

/** Ranges over images of the calibration sample. */
function observeOn(session: Session): Observe {
  return async (simulated, values) => {
    const {channels, height, width} = session.dataset;
    const ranges = new Map<string, Range>(values.map((value) => [value, [0, 0]]));
    const networks = values
      .filter((value) => value !== simulated.graph.input.name)
      .map((value) => [value, upTo(simulated, value)] as const);
    const source = openSample(session);
    const widen = async (value: string, x: tf.Tensor): Promise<void> => {
      const bounds = tf.tidy(() => tf.stack([tf.min(x), tf.max(x)]));
      const [least, greatest] = await bounds.data<'float32'>();
      bounds.dispose();
      const [low, high] = ranges.get(value) ?? [0, 0];
      ranges.set(value, [Math.min(low, least ?? 0), Math.max(high, greatest ?? 0)]);
    };
    try {
      const batches = Math.min(source.batchesPerEpoch, observedBatches);
      for (let index = 0; index < batches; index++) {
        const {images, size} = await source.batch(0, index);
        const x = tf.tensor4d(images, [size, height, width, channels]);
        if (ranges.has(simulated.graph.input.name)) await widen(simulated.graph.input.name, x);
        for (const [value, network] of networks) {
          const y = network.forward(x, {training: false});
          await widen(value, y);
          y.dispose();
        }
        x.dispose();
        session.reporter.update('ranges of joined values', index + 1, batches);
      }
    } finally {
      for (const [, network] of networks) network.dispose();
      await source.close();
    }
    return ranges;
  };
}

/** The deployment in sdq's own engine; the caller disposes it. */
export function simulatedNetwork(deployment: Deployment): Network {
  const {graph, parameters} = simulation(deployment);
  return createNetwork(graph, parameters);
}

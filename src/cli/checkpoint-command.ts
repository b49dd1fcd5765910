/** What the commands that take a checkpoint share: evaluate, export, verify. */
import {existsSync} from 'node:fs';
import path from 'node:path';

import type {Source} from '../schema/settings.ts';
import {SdqError} from '../errors.ts';
import type {Kind, Registry} from '../plugin-api/registry.ts';
import type {Session} from '../phases/session.ts';
import {findRun} from '../runs/find-run.ts';
import {SdqCommand} from './base-command.ts';

/** What a checkpoint says of its model and data; undefined where it says nothing. */
async function ownSettings(checkpoint: string): Promise<Source | undefined> {
  const file = path.resolve(checkpoint);
  const folder = path.dirname(file);
  if (existsSync(path.join(folder, 'run.json'))) {
    const {config} = findRun('', folder).record;
    return {name: path.join(folder, 'run.json'), base: folder, values: config as Source['values']};
  }
  const {readModelFile} = await import('../phases/model-file.ts');
  const {strategy} = readModelFile(file);
  const {model} = (strategy ?? {}) as {readonly model?: {readonly name?: string}};
  return model?.name === undefined ? undefined : {name: file, base: folder, values: {model: {name: model.name}}};
}

/** What a quantized network is made of. */
const kinds: readonly Kind[] = ['engine', 'dataset', 'model', 'task', 'weight-quantizer', 'activation-quantizer'];

export abstract class CheckpointCommand extends SdqCommand {
  /**
   * The config's model and data set, opened until the command ends. Where the config names none: those of the run whose folder
   * the checkpoint is in, else the model that its strategy names.
   * @param options.kinds looked up beside those of a network
   * @param options.check throws for what is wrong already, before the engine starts
   */
  protected async openSession(
    checkpoint: string,
    options: {readonly kinds?: readonly Kind[]; readonly check?: (registry: Registry) => void} = {},
  ): Promise<Session> {
    const request = {require: ['model', 'data'] as const, kinds: [...kinds, ...(options.kinds ?? [])]};
    const {config, registry} = await this.settings(request).catch(async (error: unknown) => {
      const isIncomplete = error instanceof SdqError && error.code === 'config-incomplete';
      const fallback = isIncomplete ? await ownSettings(checkpoint) : undefined;
      if (fallback === undefined) throw error;
      return this.settings({...request, fallback});
    });
    options.check?.(registry);
    const {openSession} = await import('../phases/session.ts');
    const session = await openSession(config, registry, this.progress());
    this.defer(async () => session.close());
    return session;
  }
}

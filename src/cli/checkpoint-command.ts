/** What the commands that take a checkpoint share: evaluate, export, verify. */
import type {Kind, Registry} from '../plugins/registry.ts';
import type {Session} from '../phases/session.ts';
import {SdqCommand} from './base-command.ts';

/** What a quantized network is made of. */
const kinds: readonly Kind[] = ['engine', 'dataset', 'model', 'weight-quantizer', 'activation-quantizer'];

export abstract class CheckpointCommand extends SdqCommand {
  /**
   * The config's model and data set, opened until the command ends.
   * @param options.kinds looked up beside those of a network
   * @param options.check throws for what is wrong already, before the engine starts
   */
  protected async openSession(
    options: {readonly kinds?: readonly Kind[]; readonly check?: (registry: Registry) => void} = {},
  ): Promise<Session> {
    const {config, registry} = await this.settings({
      require: ['model', 'data'],
      kinds: [...kinds, ...(options.kinds ?? [])],
    });
    options.check?.(registry);
    const {openSession} = await import('../phases/session.ts');
    const session = await openSession(config, registry, this.progress());
    this.defer(async () => session.close());
    return session;
  }
}

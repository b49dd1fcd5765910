/** The process of transport `sdk`: passes what it is sent to `@wandb/sdk`. */
import {pathToFileURL} from 'node:url';

import type {SdkMessage} from './sdk.ts';

interface Sdk {
  init(options: Readonly<Record<string, unknown>>): Promise<unknown>;
  log(row: unknown): void;
  finish(): Promise<void>;
}

let sdk: Sdk | undefined;

async function take(message: SdkMessage): Promise<void> {
  if (message.kind === 'init') {
    const loaded = (await import(pathToFileURL(message.module).href)) as {readonly default?: unknown};
    sdk = ('init' in loaded ? loaded : loaded.default) as Sdk;
    await sdk.init(message.options);
  } else if (message.kind === 'log') {
    for (const row of message.rows) sdk?.log(JSON.parse(row.replaceAll(/:(NaN|-?Infinity)(?=[,}])/g, ':"$1"')));
  } else {
    await sdk?.finish();
    process.exit(0);
  }
}

let queue = Promise.resolve();
process.on('message', (message) => {
  queue = queue.then(() => take(message as SdkMessage));
});
process.on('disconnect', () => process.exit(1));

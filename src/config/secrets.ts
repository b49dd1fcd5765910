/** A config is stored and shown, so keys and passwords must not be in it: they come from the environment. */
import {invalidInput} from '../errors.ts';
import {redactUrls, secretName} from '../redact.ts';
import {isMapping} from '../mapping.ts';
import type {Source} from '../schema/settings.ts';

/** @throws SdqError (exit 3) for a key of `tracking` that names a secret, and for an address with a user name, a password or a token anywhere */
export function refuseSecrets(sources: readonly Source[]): void {
  for (const {name, values} of sources) {
    const visit = (node: unknown, place: readonly string[]): void => {
      if (typeof node === 'string' && redactUrls(node) !== node)
        refuse(name, place, 'holds an address with a user name, a password or a token');
      if (!isMapping(node) && !Array.isArray(node)) return;
      for (const [key, child] of Object.entries(node)) {
        const keys = [...place, key];
        if (keys[0] === 'tracking' && !Array.isArray(node) && secretName.test(key))
          refuse(name, keys, 'is for a secret');
        visit(child, keys);
      }
    };
    visit(values, []);
  }
}

function refuse(source: string, place: readonly string[], what: string): never {
  // Of `--set key=value` only the key: the value is the secret.
  throw invalidInput(
    'secret-in-config',
    `${source.replace(/^(--set [^=]*)=.*$/s, '$1')}: /${place.join('/')} ${what}.`,
    ['The config is stored with every run: give secrets by the environment, as docs/tracking.md says.'],
  );
}

/** Keeps passwords and keys out of everything that is shown or stored. */

/** Names of settings and variables that hold a secret: apiKey, WANDB_API_KEY, password, token, clientSecret. */
export const secretName = /api[-_]?key|token|password|passwd|secret|credential/i;

const placeholder = '***';

/** `https://user:password@host` → `https://***@host`. */
export function redactUrls(text: string): string {
  return text.replaceAll(/(\b[a-z][a-z0-9+.-]*:\/\/)[^\s/@]*:[^\s/@]*@/gi, `$1${placeholder}@`);
}

/** A function that takes out of a text the passwords of URLs and the values of the secret variables of `env`. */
export function redactor(env: Readonly<Record<string, string | undefined>>): (text: string) => string {
  const secrets = Object.entries(env).flatMap(([name, value]) =>
    secretName.test(name) && value !== undefined && value.length >= 4 ? [value] : [],
  );
  return (text) => secrets.reduce((clean, secret) => clean.replaceAll(secret, placeholder), redactUrls(text));
}
